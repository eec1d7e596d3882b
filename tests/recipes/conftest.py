from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from recipes.fitz_lora import FitzLoraConfig, main
from tests.recipes.tiny_study import tiny_study
from tests.tiny import save_tiny_pipeline


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pipeline of tests/tiny.py."""
    return save_tiny_pipeline(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory, model: Path) -> FitzLoraConfig:
    """The config of a tiny study that has run from beginning to end; nobody may write into its folder."""
    config = tiny_study(tmp_path_factory.mktemp("study") / "run", model)
    before = torch.get_num_threads()
    main(config)
    torch.set_num_threads(before)
    return config


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
