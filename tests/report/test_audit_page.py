"""The page of an audit."""

from pathlib import Path

import pytest
from PIL import Image

from skindiff.corpora.audit import AuditRow
from skindiff.report.audit_page import render_audit

HOSTILE = "<script>alert(1)<_script> **b** | [c](http://x)"


@pytest.fixture
def rows() -> list[AuditRow]:
    return [
        AuditRow("a.png", "duplicate", "a.png", "exact copy of b.png"),
        AuditRow("b.png", "duplicate", "a.png", "exact copy of a.png"),
        AuditRow(HOSTILE, "undecodable", HOSTILE, "cannot be decoded"),
        AuditRow("c.png", "ok", "c.png", "").flagged({"blurred": "blur 0.50, more than 0.47"}),
        AuditRow("d.png", "ok", "d.png", "").flagged({"label": "labelled nv (1%), looks like mel (90%)"}),
        AuditRow("e.png", "ok", "e.png", "").flagged({"label": "labelled bcc (0%), looks like nv (80%)"}),
    ]


def test_groups_flags_and_doubts_are_shown_and_names_are_no_markup(rows: list[AuditRow]) -> None:
    page = render_audit(rows, first=["e.png", "d.png"])
    for title in ("Groups to look at", "Labels to look at", "Blurred images", "Images that cannot be used"):
        assert title in page
    assert "<script>alert" not in page
    assert "http://x" in page
    assert 'href="http://x"' not in page
    assert "<img" not in page
    assert page.index("labelled bcc") < page.index("labelled nv")


def test_thumbnails_are_there_when_they_are_asked_for(rows: list[AuditRow], tmp_path: Path) -> None:
    paths = {}
    for name in ("a.png", "b.png", "c.png", "d.png", "e.png"):
        paths[name] = tmp_path / name
        Image.new("RGB", (40, 30), "pink").save(paths[name])
    assert render_audit(rows, paths).count('<img src="data:image/webp;base64,') == 3
