import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

import skindiff
from skindiff.errors import ConfigError, CorpusError, RunFolderError
from skindiff.files import write_atomically
from skindiff.run_lock import LOCK_FILE
from skindiff.runs import RunFolder


@dataclass
class Config:
    name: str = "a"


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def claim(folder: Path, accelerator: Accelerator, **flags: Any) -> RunFolder:
    return RunFolder(str(folder), Config(), accelerator, **({"resume": False, "overwrite": False} | flags))


def names(folder: Path) -> list[str]:
    """What a run has written; its lock is there while it lives."""
    return sorted({path.name for path in folder.iterdir()} - {LOCK_FILE})


def finished(folder: Path, accelerator: Accelerator) -> RunFolder:
    run = claim(folder, accelerator)
    run.stage("lora", rank=2).finish()
    for name in ("report.json", "report.md", "report.html", "audit.csv", "missing.txt", "quarantined.csv"):
        (folder / name).write_text("ours")
    for name in ("cache", "pictures", "logs"):
        (folder / name).mkdir()
    return run


def test_a_new_and_an_empty_folder_are_claimed(tmp_path: Path, accelerator: Accelerator) -> None:
    claim(tmp_path / "deep" / "new", accelerator)
    assert names(tmp_path / "deep" / "new") == [
        "config.yaml",
        "stages",
        "version.txt",
    ]
    (tmp_path / "empty").mkdir()
    claim(tmp_path / "empty", accelerator)
    assert (tmp_path / "empty" / "config.yaml").read_text() == "name: a\n"


def test_a_run_is_refused_without_resume_or_overwrite(tmp_path: Path, accelerator: Accelerator) -> None:
    finished(tmp_path, accelerator)
    with pytest.raises(
        RunFolderError, match=r"output_dir: .* already holds a run; .*--resume.*--overwrite"
    ) as caught:
        claim(tmp_path, accelerator)
    assert "\n" not in str(caught.value)
    assert claim(tmp_path, accelerator, resume=True).stage("lora", rank=2).done
    with pytest.raises(ConfigError, match="resume and overwrite are both true"):
        claim(tmp_path, accelerator, resume=True, overwrite=True)


def test_overwrite_deletes_what_a_run_writes_and_nothing_else(
    tmp_path: Path, accelerator: Accelerator
) -> None:
    finished(tmp_path, accelerator)
    (tmp_path / "notes.md").write_text("mine")
    (tmp_path / "figures").mkdir()
    run = claim(tmp_path, accelerator, overwrite=True)
    assert names(tmp_path) == [
        "config.yaml",
        "figures",
        "notes.md",
        "stages",
        "version.txt",
    ]
    assert not run.stage("lora", rank=2).done


def test_an_overwrite_that_is_cut_off_can_be_repeated(
    tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(tmp_path, accelerator)
    with monkeypatch.context() as patch:

        def cut(path: Path, **arguments: bool) -> None:
            raise KeyboardInterrupt

        patch.setattr(Path, "unlink", cut)
        with pytest.raises(KeyboardInterrupt):
            claim(tmp_path, accelerator, overwrite=True)
    claim(tmp_path, accelerator, overwrite=True)
    assert names(tmp_path) == ["config.yaml", "stages", "version.txt"]


def test_a_run_of_before_is_gone_on_with_by_its_own_version(tmp_path: Path, accelerator: Accelerator) -> None:
    finished(tmp_path, accelerator)
    for made_by in ("0.1.0", None):
        (tmp_path / "version.txt").unlink() if made_by is None else (tmp_path / "version.txt").write_text(
            made_by
        )
        with pytest.raises(
            RunFolderError, match=r"was made by skindiff 0\.1\.0, .*; go on with it by that version"
        ):
            claim(tmp_path, accelerator, resume=True)
    claim(tmp_path, accelerator, overwrite=True)
    (tmp_path / "version.txt").write_text(skindiff.__version__.rpartition(".")[0] + ".99\n")
    claim(tmp_path, accelerator, resume=True)


@pytest.mark.parametrize("flag", ["resume", "overwrite"])
def test_foreign_files_are_never_touched(tmp_path: Path, accelerator: Accelerator, flag: str) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunFolderError, match=r"output_dir: .* holds files that are no run; name an empty"):
        claim(tmp_path, accelerator, **{flag: True})
    with pytest.raises(RunFolderError, match=r"output_dir: .* holds files that are no run"):
        claim(tmp_path / "thesis.tex", accelerator)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, accelerator: Accelerator) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFolderError, match=r"output_dir: .* cannot be written to .*; name another folder"):
        claim(tmp_path / "file" / "run", accelerator)


def test_a_kill_while_the_folder_is_claimed_leaves_it_free(tmp_path: Path, accelerator: Accelerator) -> None:
    (tmp_path / ".config.yaml.partial").write_text("na")
    claim(tmp_path, accelerator)
    assert names(tmp_path) == ["config.yaml", "stages", "version.txt"]


def test_an_error_of_the_user_gives_a_new_folder_back(tmp_path: Path, accelerator: Accelerator) -> None:
    def fail(run: RunFolder) -> None:
        (run.path / "missing.txt").write_text("ours")
        with pytest.raises(CorpusError), run.withdrawn_on_error():
            raise CorpusError("data_dir: no such folder")

    fail(claim(tmp_path / "new", accelerator))
    assert not (tmp_path / "new").exists()
    run = claim(tmp_path / "new", accelerator, products=("corpus.yaml", "data"))
    (run.path / "corpus.yaml").write_text("name: phantom\n")
    (run.path / "data").mkdir()
    fail(run)  # what one kind of run puts there goes too, so that the same command can be given again
    assert not (tmp_path / "new").exists()
    (tmp_path / "cached" / "cache").mkdir(parents=True)
    fail(claim(tmp_path / "cached", accelerator))  # what was computed for the corpus may be used again
    assert [path.name for path in (tmp_path / "cached").iterdir()] == ["cache"]
    finished(tmp_path / "old", accelerator)
    before = sorted((tmp_path / "old").rglob("*"))
    fail(claim(tmp_path / "old", accelerator, resume=True))
    assert sorted((tmp_path / "old").rglob("*")) == before


def test_an_error_of_the_user_costs_no_stage_that_was_finished(
    tmp_path: Path, accelerator: Accelerator
) -> None:
    run = claim(tmp_path / "new", accelerator)
    trained = run.stage("lora", steps=1)
    (trained.folder / "weights").write_text("hours")
    trained.finish()
    with pytest.raises(CorpusError), run.withdrawn_on_error():
        raise CorpusError("experiment.external.clinic: no such folder")
    assert (trained.folder / "weights").read_text() == "hours"


def test_a_stage_is_found_again_by_its_inputs(tmp_path: Path, accelerator: Accelerator) -> None:
    run = claim(tmp_path, accelerator)
    stage = run.stage("lora", rank=2, rows=["a", "b"])
    assert not stage.done
    stage.finish()
    assert run.stage("lora", rows=["a", "b"], rank=2) == stage
    assert run.stage("lora", rank=2, rows=["a", "b"]).done
    assert not run.stage("lora", rank=3, rows=["a", "b"]).done
    assert not run.stage("textual-inversion", rank=2, rows=["a", "b"]).done
    assert not run.stage("lora", rank=2, rows=["b", "a"]).done


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "report.md"
    write_atomically(file, "old")

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(file, "new")
    assert file.read_text() == "old"
    write_atomically(file, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]
    assert file.read_text() == "new"
