"""The report of a run as one page: its own ``report.html``, or its Markdown in the same look."""

import base64
import re
from importlib.resources import files
from pathlib import Path

from markdown_it import MarkdownIt

from skindiff.errors import HubError, RunFolderError
from skindiff.files import real_path
from skindiff.hub.staging import read_own

PAGE, REPORT = "report.html", "report.md"
EXAMPLE = Path(str(files("skindiff").joinpath("assets", "phantom_study")))
"""The report of the default study, on phantom images, which a demo without runs shows."""
EXAMPLE_NAME = "example: the default study, on computed images"
_IMAGE = re.compile(r'<img src="([^"]*)"')
_TITLE = re.compile(r"\A# (.*)\n")


def report_page(folder: Path) -> str:
    """Return the report of a run as a page of HTML that needs no other file.

    It is the run's ``report.html``. A run without one, as in a Space, has its Markdown in the same look: HTML
    inside of it is shown as text, and a picture is shown if it is a PNG that lies inside the folder. Whoever
    wrote it may be a stranger: a browser is to run no script of it, and to give it no origin.

    Raises:
        RunFolderError: there is no report, or it is a link to one.
    """
    name = PAGE if (folder / PAGE).exists() else REPORT
    try:
        text = read_own(folder, name).decode("utf-8")
    except (OSError, UnicodeDecodeError, HubError) as error:
        raise RunFolderError(
            f"run {folder.name!r} has no readable {name} of its own; finish it, or choose another"
        ) from error
    return text if name == PAGE else _from_markdown(folder, text)


def _from_markdown(folder: Path, text: str) -> str:
    from skindiff.report.page import fill_page  # with all networks and plots, and few runs need it

    title = _TITLE.match(text)
    page = MarkdownIt("commonmark", {"html": False}).enable("table").render(_TITLE.sub("", text))
    page = _IMAGE.sub(lambda found: f'<img loading="lazy" src="{_inlined(folder, found[1])}"', page)
    page = page.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    return fill_page(title[1] if title else folder.name, [], folder, kicker="skindiff", answer=page)


def _inlined(folder: Path, target: str) -> str:
    path = real_path(folder / target)
    if path.suffix != ".png" or not path.is_relative_to(real_path(folder)) or not path.is_file():
        return ""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
