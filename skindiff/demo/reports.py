"""The report of a run as a page: its Markdown as HTML with its pictures, and nothing else of the folder."""

import base64
import re
from pathlib import Path

from markdown_it import MarkdownIt

from skindiff.errors import HubError, RunFolderError
from skindiff.files import real_path
from skindiff.hub.staging import read_own

REPORT = "report.md"
_IMAGE = re.compile(r'<img src="([^"]*)"')


def report_page(folder: Path) -> str:
    """Return the report of a run as HTML that needs no other file.

    HTML inside the report is shown as text. A picture is shown if it is a PNG that lies inside the folder.

    Raises:
        RunFolderError: there is no report, or it is a link to one.
    """
    try:
        text = read_own(folder, REPORT).decode("utf-8")
    except (OSError, UnicodeDecodeError, HubError) as error:
        raise RunFolderError(
            f"run {folder.name!r} has no readable {REPORT} of its own; finish it, or choose another"
        ) from error
    page = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    page = _IMAGE.sub(lambda found: f'<img loading="lazy" src="{_inlined(folder, found[1])}"', page)
    page = page.replace("<table>", '<div class="sd-scroll"><table>').replace("</table>", "</table></div>")
    return f'<article class="sd-report">{page}</article>'


def _inlined(folder: Path, target: str) -> str:
    path = real_path(folder / target)
    if path.suffix != ".png" or not path.is_relative_to(real_path(folder)) or not path.is_file():
        return ""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
