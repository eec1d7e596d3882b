"""``audit.html``: the groups, doubted labels and flags of an audit, as a page that needs no other file."""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from skindiff.corpora.audit import AuditRow
from skindiff.corpora.pixel_reader import read_pixels
from skindiff.corpora.table import KEPT_STATUSES
from skindiff.escaping import markdown
from skindiff.report.page import fill_page
from skindiff.report.text import Section

TITLE = "What the audit found"
MOST = 100
"""Groups, or images with a flag, that are shown of each kind; the table has all."""
_SIDE, _IN_A_ROW = 120, 8
_KINDS = {
    "label": "Labels to look at",
    "off_topic": "Images unlike the others",
    "blurred": "Blurred images",
    "dark": "Dark images",
    "border": "Borders",
    "ruler": "Rulers",
}
"""Title of the section of every flag."""


def render_audit(
    rows: Sequence[AuditRow], paths: Mapping[str, Path] | None = None, first: Sequence[str] = ()
) -> str:
    """Return the text of the page.

    Args:
        rows: of the audit.
        paths: files of the images by id, of which thumbnails are put into the page; none without them.
        first: ids of images that stand before others with the same flag, in this order.
    """
    place = {image_id: number for number, image_id in enumerate(first)}
    by_doubt = sorted(rows, key=lambda row: place.get(row.image_id, len(place)))
    with tempfile.TemporaryDirectory() as name:
        pictures = _Pictures(Path(name), paths)
        sections = [_summary(rows), *_groups(rows, pictures), *_flagged(by_doubt, pictures), *_unfit(rows)]
        return fill_page(TITLE, sections, Path(name), kicker="skindiff · audit", lead=_lead(rows))


class _Pictures:
    """Strips of thumbnails, as Markdown."""

    def __init__(self, folder: Path, paths: Mapping[str, Path] | None) -> None:
        self.folder, self.paths, self.count = folder, paths, 0

    def strip(self, image_ids: Sequence[str]) -> str:
        if self.paths is None:
            return ""
        shown = image_ids[:_IN_A_ROW]
        sheet = Image.new("RGBA", (len(shown) * _SIDE, _SIDE))  # clear between images, on any theme
        for place, image_id in enumerate(shown):
            small = read_pixels(self.paths[image_id]).image
            small.thumbnail((_SIDE - 4, _SIDE - 4))
            sheet.paste(small, (place * _SIDE, 0))
        name = f"{self.count}.png"
        self.count += 1
        sheet.save(self.folder / name)
        return f"![{len(shown)} images, in the order of the table]({name})\n\n"


def _lead(rows: Sequence[AuditRow]) -> str:
    unfit = sum(row.status not in KEPT_STATUSES for row in rows)
    return f"{len(rows)} images, {unfit} of which cannot be used; flags take no image out."


def _summary(rows: Sequence[AuditRow]) -> Section:
    flags = Counter(flag for row in rows for flag in row.flags.split())
    lines = [
        ("status " + status, count) for status, count in sorted(Counter(row.status for row in rows).items())
    ]
    lines += [(f"flag {flag}", flags[flag]) for flag in _KINDS if flags[flag]]
    return Section("Counts", _table(("what", "images"), [(name, str(count)) for name, count in lines]))


def _groups(rows: Sequence[AuditRow], pictures: _Pictures) -> list[Section]:
    members: defaultdict[str, list[AuditRow]] = defaultdict(list)
    for row in rows:
        members[row.group_id].append(row)
    groups = sorted(
        (one for one in members.values() if len(one) > 1), key=lambda one: (-len(one), one[0].group_id)
    )
    if not groups:
        return []
    parts = [
        f"{len(groups)} group{'s' * (len(groups) > 1)} of images that show the same thing, the largest "
        f"first{_rest(len(groups))}."
    ]
    for group in groups[:MOST]:
        strip = pictures.strip([row.image_id for row in group])
        table = _table(("image", "why"), [(markdown(row.image_id), markdown(row.reason)) for row in group])
        parts.append(f"### {len(group)} images\n\n{strip}{table}")
    return [Section("Groups to look at", "\n\n".join(parts))]


def _flagged(rows: Sequence[AuditRow], pictures: _Pictures) -> list[Section]:
    sections = []
    for flag, title in _KINDS.items():
        found = [row for row in rows if flag in row.flags.split()]
        if found:
            shown = found[:MOST]
            strips = "".join(
                pictures.strip([row.image_id for row in shown[start : start + _IN_A_ROW]])
                for start in range(0, len(shown), _IN_A_ROW)
            )
            table = _table(
                ("image", "why"), [(markdown(row.image_id), markdown(row.remarks)) for row in shown]
            )
            sections.append(Section(title, f"{len(found)} images{_rest(len(found))}.\n\n{strips}{table}"))
    return sections


def _unfit(rows: Sequence[AuditRow]) -> list[Section]:
    found = [row for row in rows if row.status not in KEPT_STATUSES]
    if not found:
        return []
    lines = [(markdown(row.image_id), row.status, markdown(row.reason)) for row in found[:MOST]]
    return [Section("Images that cannot be used", _table(("image", "status", "why"), lines))]


def _rest(count: int) -> str:
    return f" (the first {MOST} of them are shown; the table has all)" if count > MOST else ""


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
