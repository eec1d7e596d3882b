"""Reports of older versions, as they are read."""

import json
from pathlib import Path

from skindiff.report.judgement import judged, verdict_text
from skindiff.report.read import SCHEMA, read_report
from skindiff.report.tables import score_tables

KEY = {
    "scenario": "iii", "test_group": "dark", "generator": None, "strategy": None, "ratio": None,
    "architecture": "resnet18", "preset": "grouped", "metric": "accuracy",
}  # fmt: skip
MEAN = {"mean": 0.5, "ci_low": 0.4, "ci_high": 0.6, "cells": 3, "images": 9, "groups": 9, "caution": None}


def difference(delta: float | None, corrected: float | None) -> dict[str, float | None]:
    low, high = (None, None) if delta is None else (delta - 0.01, delta + 0.01)
    found = {"delta": delta, "delta_ci_low": low, "delta_ci_high": high, "delta_p_corrected": corrected}
    return {**found, "delta_ci_low_corrected": low, "delta_ci_high_corrected": high, "minimum_effect": 0.03}


def test_a_report_of_schema_1_has_a_row_for_each_reference(tmp_path: Path) -> None:
    real = {
        **KEY,
        **MEAN,
        "arm": "real",
        **difference(None, None),
        "against": {"real+duplicates": difference(0.1, None)},
    }
    syn = {**KEY, **MEAN, "arm": "syn", **difference(0.2, 0.01)}
    syn["against"] = {"real+duplicates": difference(0.15, 0.02)}
    verdict = {
        **KEY,
        "arm": "syn",
        "reference": "real+duplicates",
        "verdict": "helps",
        "sentence": "It helps.",
    }
    content = {"recipe": "fitz_lora", "title": "Old", "config": {}, "corpus": {}}
    content |= {"splits": [], "results": [], "notes": [], "summary": [real, syn], "verdicts": [verdict]}
    (tmp_path / "report.json").write_text(json.dumps(content))
    read = read_report(tmp_path)
    rows = [(row["arm"], row["reference"], row["delta"], row["role"]) for row in read["summary"]]
    assert rows == [
        ("real", "real", None, None),
        ("real", "real+duplicates", 0.1, None),
        ("syn", "real", 0.2, "exploratory"),
        ("syn", "real+duplicates", 0.15, "exploratory"),
    ]
    assert judged(read, verdict)["delta"] == 0.15
    assert "| syn - real+duplicates |  | helps | +15.0 [+14.0, +16.0] | 3.0 |" in verdict_text(read)[1]
    assert "| real | 50.0 [40.0, 60.0] |" in score_tables(read["summary"])[1]
    assert SCHEMA == 2
