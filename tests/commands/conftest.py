import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from skindiff.cli import main
from skindiff.commands.launching import IN_PROCESS
from tests.tiny import save_tiny_pipeline

CORPUS = [
    *("--corpus.image_size", "32"),
    *("--corpus.phantom.classes", '["nodule", "ring"]'),
    *("--corpus.phantom.images_per_class", '{"I": 8, "V": 8}'),
    *("--corpus.phantom.repeat_share", "0"),
]
"""32 drawings of two classes."""


def tiny_loop(prefix: str) -> list[str]:
    return [f"--{prefix}.loop.steps", "2", f"--{prefix}.loop.batch_size", "4"]


Run = Callable[..., str]


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all runs of this session go into."""
    return tmp_path_factory.mktemp("commands")


@pytest.fixture(scope="session")
def tiny_model(work: Path) -> Path:
    return save_tiny_pipeline(work / "tiny")


@pytest.fixture(scope="session")
def run_command() -> Iterator[Run]:
    """Runs a command in this process and returns what it said on its standard output."""
    patch = pytest.MonkeyPatch()
    patch.setenv(IN_PROCESS, "1")
    before = torch.get_num_threads()

    def run(*words: str | Path, status: int = 0) -> str:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            assert main([str(word) for word in words]) == status
        return said.getvalue()

    yield run
    torch.set_num_threads(before)
    patch.undo()


@pytest.fixture(scope="session")
def words_run(work: Path, tiny_model: Path, run_command: Run) -> tuple[Path, str]:
    """A run of textual inversion and what it said."""
    said = run_command(
        "train", "textual-inversion", "--threads", "1", "--output_dir", work / "ti", "--model", tiny_model,
        *CORPUS, *tiny_loop("textual_inversion"), "--textual_inversion.validation_examples", "2",
    )  # fmt: skip
    return work / "ti", said


@pytest.fixture(scope="session")
def lora_run(work: Path, tiny_model: Path, words_run: tuple[Path, str], run_command: Run) -> tuple[Path, str]:
    """A run of LoRA on those words, over the same corpus and split, and what it said."""
    ti = words_run[0]
    said = run_command(
        "train", "lora", "--threads", "1", "--output_dir", work / "lora", "--model", tiny_model,
        "--words", ti, "--corpus", ti / "corpus.yaml", "--split", ti / "split.yaml",
        *tiny_loop("lora"), "--lora.validation_examples", "2",
    )  # fmt: skip
    return work / "lora", said


@pytest.fixture(scope="session")
def transfer_run(
    work: Path, tiny_model: Path, lora_run: tuple[Path, str], run_command: Run
) -> tuple[Path, str]:
    """A transfer of the training images by that adapter, and what it said."""
    lora = lora_run[0]
    said = run_command(
        "sample", "--threads", "1", "--output_dir", work / "transfer", "--generator", lora,
        "--base_model", tiny_model, "--mode", "transfer", "--images", "1",
        "--corpus", lora / "corpus.yaml", "--split", lora / "split.yaml",
        "--synthesis.steps", "4", "--synthesis.batch_size", "8", "--synthesis.tone", "none",
    )  # fmt: skip
    return work / "transfer", said
