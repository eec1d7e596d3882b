"""The report of a run as one page: its own ``report.html``, or its Markdown in the same look."""

from importlib.resources import files
from pathlib import Path

from skindiff.errors import RunFolderError
from skindiff.files import lies_in
from skindiff.foreign import Malformed, read_text

PAGE, REPORT = "report.html", "report.md"
EXAMPLE = Path(str(files("skindiff").joinpath("assets", "phantom_study")))
"""The report of the default study, on phantom images, which a demo without runs shows."""
EXAMPLE_NAME = "example: the default study, on computed images"
_MOST = 2**28
"""Bytes of a report; pages hold their pictures."""


def report_page(folder: Path) -> str:
    """Return the report of a run as a page of HTML that needs no other file.

    It is the run's ``report.html``. A run without one, as in a Space or from the Hub, has the page made again
    from its ``report.md``, ``report.json`` and the PNGs of its folder; HTML inside is shown as text. Whoever
    wrote it may be a stranger: a browser is to run no script of it, and to give it no origin.

    Raises:
        RunFolderError: there is no report, or it is a link to one.
    """
    name = PAGE if (folder / PAGE).exists() else REPORT
    try:
        if not lies_in(folder / name, folder):
            raise Malformed("it is a link that leads out of the folder")
        text = read_text(folder / name, _MOST)
    except Malformed as error:
        raise RunFolderError(
            f"run {folder.name!r} has no readable {name} of its own ({error}); finish it, or choose another"
        ) from error
    if name == PAGE:
        return text
    from skindiff.report.from_markdown import page_from_markdown  # with all networks and plots

    return page_from_markdown(folder, text)
