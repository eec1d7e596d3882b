"""A disk that is full while something is written: one line, status 2, the same files once there is room."""

import contextlib
import hashlib
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from skindiff.cli import main
from tests.commands.conftest import CORPUS, Run, tiny_loop


@contextlib.contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes, for which the system says EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def hashes(folder: Path) -> dict[str, str]:
    files = [path for kind in ("*.safetensors", "tokens.json") for path in sorted(folder.rglob(kind))]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


ALL = pytest.param(range(2_000, 400_000, 25_000), marks=pytest.mark.slow)


@pytest.mark.parametrize("limits", [(20_000, 60_000), ALL])
def test_a_training_ends_in_one_line_and_goes_on_once_there_is_room(
    tmp_path: Path,
    tiny_model: Path,
    run_command: Run,
    capsys: pytest.CaptureFixture[str],
    limits: Sequence[int],
) -> None:
    words = ["train", "lora", "--threads", "1", "--model", str(tiny_model), *CORPUS, *tiny_loop("lora")]
    words += ["--lora.validation_examples", "0", "--lora.rank", "16"]
    run_command(*words, "--output_dir", tmp_path / "whole")
    capsys.readouterr()
    statuses = []
    for limit in limits:
        begun = (tmp_path / "full" / "config.yaml").is_file()
        with files_at_most(limit):
            status = main([*words, "--output_dir", str(tmp_path / "full"), *(["--resume"] if begun else [])])
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert status in (0, 2)
        assert len(said) == (status == 2)
        statuses.append(status)
    assert 2 in statuses
    begun = (tmp_path / "full" / "config.yaml").is_file()
    run_command(*words, "--output_dir", tmp_path / "full", *(["--resume"] if begun else []))
    assert hashes(tmp_path / "full" / "adapter") == hashes(tmp_path / "whole" / "adapter")
    assert not list((tmp_path / "full").rglob("*.partial"))
