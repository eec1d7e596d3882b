"""Reading the report of a finished run back: one place that says what is wrong with it."""

import json
from pathlib import Path
from typing import Any, cast

from skindiff.classification.cells import REAL
from skindiff.errors import RunFolderError
from skindiff.manifest import refuse_damaged
from skindiff.renamed import with_new_names
from skindiff.report.content import ReportContent

REPORT_FILE = "report.json"
SCHEMA = 2
"""Of report.json: 1 had a row of `summary` for each series, 2 has one for each series and reference."""
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
    refuse_damaged(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        missing = [name for name in _NEEDED if name not in content]
    except (ValueError, TypeError) as error:
        raise RunFolderError(
            f"run: {path} is no report of a run ({error}); run it again by --resume"
        ) from error
    if missing:
        raise RunFolderError(f"run: {path} is no report of a run (no {missing[0]}); run it again by --resume")
    return current(with_new_names(content, str(path)))


def current(content: dict[str, Any]) -> ReportContent:
    """Return the content of an older report with a row of `summary` for each reference, and roles."""
    if content.get("schema", 1) >= SCHEMA:
        return cast(ReportContent, content)
    nothing = dict.fromkeys(("chance", "above_chance", "reference_above_chance", "groups_differing"))
    nothing |= dict.fromkeys(("delta_parts", "delta_units", "half_widths"))
    rows = []
    for old in content.get("summary", ()):
        own = {name: value for name, value in old.items() if name != "against"}
        for reference, found in {REAL: {}, **old.get("against", {})}.items():
            row = {**own, **found, **nothing, "reference": reference}
            judged = row.get("delta_p_corrected") is not None
            row |= {"role": "exploratory" if judged else None}
            rows += [row] if row.get("delta") is not None or reference == REAL else []
    return cast(ReportContent, {**content, "schema": SCHEMA, "summary": rows})
