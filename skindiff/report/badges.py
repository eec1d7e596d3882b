"""What stands under the title of a report: what the images are, and how large a study this is."""

from dataclasses import dataclass

from skindiff.corpora.registry import shows_patients
from skindiff.report.content import ReportContent

_SIZES = {
    "smoke": "Smoke settings: minutes, to show that everything works",
    "paper": "The published settings",
}
"""What a reader is told of settings that many recipes have; others are named."""


@dataclass(frozen=True)
class Badge:
    """A few words; ``mood`` is ``bad`` where they limit what may be concluded, else ``open``."""

    text: str
    mood: str = "open"


def badges(content: ReportContent) -> list[Badge]:
    """Return the badges of a report: its corpus, and the size of its settings, as far as they are known.

    Args:
        content: of ``report.json``.
    """
    found = []
    name = content["corpus"].get("name")
    if name is not None:
        if shows_patients(name):
            found.append(Badge(f"Corpus: {name}"))
        else:
            found.append(Badge(f"Corpus: {name}, images computed by a program, of no patient", "bad"))
    settings = content.get("settings")
    if settings:
        known = _SIZES.get(settings["name"], f"Settings: {settings['name']}")
        changed = ", some changed" if settings["changed"] else ""
        found.append(Badge(known + changed, "bad" if settings["name"] == "smoke" else "open"))
    if content["splits"]:
        count = len(content["splits"])
        found.append(Badge(f"{count} split{'s' * (count > 1)}"))
    return found
