"""The report that the demo opens on is one of the default study, and of nobody's photographs."""

from pathlib import Path

import pytest

from skindiff.errors import ConfigError
from tests.demo.conftest import write_run
from tests.test_scripts import load_script

script = load_script("keep_phantom_study")


@pytest.mark.parametrize(
    ("corpus", "settings"),
    [
        ("ham10000", {"name": "smoke", "changed": False}),
        ("phantom", {"name": "smoke", "changed": True}),
        ("phantom", None),
    ],
)
def test_another_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus: str, settings: dict[str, object] | None
) -> None:
    monkeypatch.setattr(script, "EXAMPLE", tmp_path / "kept")
    monkeypatch.setattr(script, "read_report", lambda run: {"corpus": {"name": corpus}, "settings": settings})
    with pytest.raises(ConfigError, match="is not the default study on phantom"):
        script.main(str(write_run(tmp_path / "run")))
    assert not (tmp_path / "kept").exists()


def test_what_is_kept_says_what_it_is() -> None:
    page = (script.EXAMPLE / script.PAGE).read_text(encoding="utf-8")
    assert len(page) <= script.LARGEST_BYTES
    assert "<script" not in page
    assert "images computed by a program, of no patient" in page
