"""Reading the report of a finished run back: one place that says what is wrong with it."""

import json
from pathlib import Path
from typing import cast

from skindiff.errors import RunFolderError
from skindiff.renamed import with_new_names
from skindiff.report.content import ReportContent

REPORT_FILE = "report.json"
_NEEDED = ("recipe", "title", "config", "corpus", "splits", "summary", "results", "verdicts", "notes")


def read_report(folder: Path) -> ReportContent:
    """Return the content of a run's ``report.json`` under the names of now.

    Raises:
        RunFolderError: there is no report, or what is there is none.
    """
    path = folder / REPORT_FILE
    if not path.is_file():
        begun = (folder / "config.yaml").is_file()
        way_out = "finish the run by --resume" if begun else "give the output_dir of a finished run"
        raise RunFolderError(f"run: {folder} holds no {REPORT_FILE}; {way_out}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        missing = [name for name in _NEEDED if name not in content]
    except (ValueError, TypeError) as error:
        raise RunFolderError(
            f"run: {path} is no report of a run ({error}); run it again by --resume"
        ) from error
    if missing:
        raise RunFolderError(f"run: {path} is no report of a run (no {missing[0]}); run it again by --resume")
    return cast(ReportContent, with_new_names(content, str(path)))
