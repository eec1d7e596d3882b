"""The corpus by which the growth of the audit is measured."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from skindiff.corpora.audit import AuditRow
from skindiff.errors import ConfigError
from tests.corpora.test_audit import photograph
from tests.test_scripts import load_script


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    return load_script("bench_audit_scale")


def test_a_corpus_is_made_once_and_judged_by_what_it_is_made_of(bench: ModuleType, tmp_path: Path) -> None:
    photographs = []
    for number in range(3):
        photographs.append(tmp_path / f"photograph-{number}.png")
        photograph(number, (260, 240)).save(photographs[-1])
    made = bench.make_corpus(40, photographs, tmp_path / "corpus")
    files = {file.stem: file for file in (tmp_path / "corpus").iterdir()}
    assert files.keys() == made.keys()
    assert len(made) == 40
    kinds = [one.kind for one in made.values()]
    assert [kinds.count(kind) for kind in ("single", "copy", "recompressed", "crop", "flip")] == [
        28,
        1,
        3,
        5,
        3,
    ]
    with Image.open(files["000000"]) as image:
        assert image.size == (bench.SIDE, bench.SIDE)
        assert np.asarray(image).std() > 2
    before = {name: file.stat().st_mtime_ns for name, file in files.items()}
    assert bench.make_corpus(40, photographs, tmp_path / "corpus") == made
    assert before == {name: file.stat().st_mtime_ns for name, file in files.items()}

    right = [AuditRow(name, "ok", one.of or name, "") for name, one in made.items()]
    found = bench.judged(made, right)
    assert found["recall_of_all"] == 1
    assert found["singles_joined_across_photographs"] == found["singles_joined_within_a_photograph"] == 0
    joined = bench.judged(made, [AuditRow(name, "ok", "000000", "") for name in made])
    assert joined["singles_joined_across_photographs"] == 2
    assert joined["singles_joined_within_a_photograph"] == 25
    assert joined["largest_group"] == 40
    with pytest.raises(ConfigError, match="images: 100 need 70 singles, and there are 48"):
        bench.make_corpus(100, photographs, tmp_path / "more")
