"""What is a near-duplicate is kept in a file, so that one study has the same groups on every machine."""

from pathlib import Path

import pytest

from scripts.keep_cells import keep_pairs
from skindiff.corpora import audit, local_features
from skindiff.corpora.audit import AuditConfig, audit_images, audit_with_pairs
from skindiff.corpora.known_pairs import KnownPairs
from skindiff.corpora.near_duplicates import NearDuplicateConfig
from skindiff.corpora.registry import PAIRS_FILE
from skindiff.errors import ConfigError, CorpusError, RunFolderError
from tests.corpora.test_audit import photograph


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Four images and copies of two of them in another compression."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(4):
        photograph(number).save(folder / f"{number}.png")
    for number in range(2):
        photograph(number).save(folder / f"{number}-copy.jpg", quality=80)
    return {path.stem: path for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def found(paths: dict[str, Path]) -> KnownPairs:
    rows, pairs = audit_with_pairs(paths, AuditConfig(), None)
    assert pairs is not None
    assert [row.group_id for row in rows if row.status == "duplicate"] == ["0", "0", "1", "1"]
    return pairs


def kept(pairs: KnownPairs, folder: Path) -> Path:
    pairs.write(folder / pairs.name)
    assert KnownPairs.read(folder / pairs.name) == pairs
    return folder


def unsearched(monkeypatch: pytest.MonkeyPatch) -> None:
    def searched(*_: object) -> None:
        raise AssertionError("near-duplicates were searched for")

    monkeypatch.setattr(audit, "find_matches", searched)


def test_kept_pairs_make_the_groups_and_none_are_searched_for(
    paths: dict[str, Path], found: KnownPairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = audit_images(paths, AuditConfig(), None)
    unsearched(monkeypatch)
    assert audit_with_pairs(paths, AuditConfig(), None, kept(found, tmp_path)) == (rows, found)
    # Another machine may have found fewer: its groups are those of the study there, and here too.
    fewer = KnownPairs(found.key, found.matches[:1])
    rows, pairs = audit_with_pairs(paths, AuditConfig(), tmp_path / "cache", kept(fewer, tmp_path))
    assert len({row.group_id for row in rows}) == 5
    assert pairs == fewer


def test_kept_pairs_need_no_opencv(
    paths: dict[str, Path], found: KnownPairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> None:
        raise ConfigError("OpenCV cannot be imported")

    kept(found, tmp_path)
    monkeypatch.setattr(local_features, "opencv", absent)
    rows, _ = audit_with_pairs(paths, AuditConfig(), None, tmp_path)
    assert len({row.group_id for row in rows}) == 4
    with pytest.raises(ConfigError, match="OpenCV"):
        audit_with_pairs(paths, AuditConfig(), None, tmp_path / "empty")


def test_pairs_of_other_files_are_not_taken(
    paths: dict[str, Path], found: KnownPairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(found, tmp_path)
    unsearched(monkeypatch)
    strict = AuditConfig(near_duplicates=NearDuplicateConfig(min_inliers=500, min_agreement=1.0))
    rows, _ = audit_with_pairs(paths, strict, None, tmp_path)  # thresholds are applied to what is known
    assert len({row.group_id for row in rows if row.status == "ok"}) >= 4
    fewer = dict(list(paths.items())[:-1])
    for images, config in ((fewer, AuditConfig()), (paths, AuditConfig(bit_depth=12))):
        with pytest.raises(AssertionError, match="searched"):
            audit_with_pairs(images, config, None, tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"key": "a", "matches": [{"first": "b"}]}'])
def test_a_damaged_file_is_named(
    text: str, paths: dict[str, Path], found: KnownPairs, tmp_path: Path
) -> None:
    (tmp_path / found.name).write_text(text)
    with pytest.raises(CorpusError, match=rf"{found.name} holds no near-duplicates .*restore or delete"):
        audit_with_pairs(paths, AuditConfig(), None, tmp_path)


def test_a_run_of_other_groups_is_not_kept(found: KnownPairs, tmp_path: Path) -> None:
    run, results = tmp_path / "run", tmp_path / "results"
    run.mkdir()
    keep_pairs(run, results)  # a corpus that is not audited
    assert not results.exists()
    found.write(run / PAIRS_FILE)
    for _ in range(2):
        keep_pairs(run, results)
    assert KnownPairs.read(results / found.name) == found
    KnownPairs(found.key, found.matches[:1]).write(run / PAIRS_FILE)
    with pytest.raises(RunFolderError, match=r"other groups than .*--recorded take"):
        keep_pairs(run, results)
