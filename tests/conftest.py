import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
# Workers share the cores: with a thread each they do not wait for one another.
os.environ["OMP_NUM_THREADS"] = "1"
# Threads of the processes that tests start would spin while they wait, at the cost of the other workers.
os.environ["OMP_WAIT_POLICY"] = "passive"

REPOSITORY = Path(__file__).resolve().parents[1]


def _absent(reason: str) -> None:
    if os.environ.get("SKINDIFF_REQUIRE_REAL_DATA") == "1":
        pytest.fail(f"SKINDIFF_REQUIRE_REAL_DATA=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photographs beside the checkout."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        _absent("the folder ../shared/data is missing")
    return folder


@pytest.fixture(scope="session")
def real_model() -> Path:
    """The tiny Stable Diffusion pipeline that was pre-trained on real photographs."""
    folder = REPOSITORY.parent / "shared" / "models" / "fitz-tiny-sd"
    if not folder.is_dir():
        _absent("the folder ../shared/models/fitz-tiny-sd is missing")
    return folder
