"""The comparison of the two searches for near-duplicates."""

import json
from pathlib import Path
from types import ModuleType

import pytest

from skindiff.errors import ConfigError
from tests.corpora.test_audit import photograph
from tests.test_scripts import load_script


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("compare_audit_searches")


def test_pairs_that_one_search_alone_finds_are_counted_and_drawn(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for number in range(3):
        photograph(number, (260, 240)).save(photographs / f"{number}.png")
    photograph(0, (260, 240)).crop((10, 10, 240, 220)).save(photographs / "crop.png")
    found = script.candidate_pairs
    # A search for large corpora which proposes nothing.
    monkeypatch.setattr(
        script, "candidate_pairs", lambda *given, exhaustive: found(*given) if exhaustive > 4 else []
    )
    monkeypatch.setattr("skindiff.corpora.near_duplicates._whole", lambda *_: [])

    script.main(script.Comparison(str(photographs), str(tmp_path / "work"), as_images=40_000))

    said = json.loads((tmp_path / "work" / "searches.json").read_text())
    assert (said["exhaustive"], said["large"], said["both"]) == (1, 0, 0)
    assert (said["exhaustive alone"], said["large alone"]) == (1, 0)
    assert [page.name for page in (tmp_path / "work" / "pages").iterdir()] == ["exhaustive-00.png"]


def test_pages_of_patients_stay_out_of_a_checkout(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(ConfigError, match="lies in the git checkout"):
        script.main(script.Comparison(str(tmp_path), str(tmp_path / "work")))
