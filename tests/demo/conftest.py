import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skindiff.corpora.phantom import render_phantom
from skindiff.demo.app import DemoApp, launch_demo
from skindiff.demo.config import DemoConfig
from tests.tiny import save_tiny_pipeline, tiny_sdxl
from tests.tiny_generators import tiny_ddpm

SMALL_MB = 0.2
"""What the demo of the tests takes, so that a file beyond it is quickly made."""


def files_in(folder: Path) -> set[Path]:
    """What a folder holds by now. Folders may go while they are read: earlier sessions end when they like."""
    return {Path(at) / name for at, folders, names in os.walk(folder) for name in (*folders, *names)}


def write_run(folder: Path) -> Path:
    (folder / "pictures").mkdir(parents=True)
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(folder / "pictures" / "samples.png")
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(folder.parent / "outside.png")
    text = (
        "# A made-up run\n\n<script>alert(1)</script>\n\n"
        "## Scores\n\n| arm | F1 |\n| --- | ---: |\n| real | 41.2 |\n\n"
        "![Samples.](pictures/samples.png)\n\n![Not its own.](../outside.png)\n"
    )
    (folder / "report.md").write_text(text)
    return folder


@pytest.fixture(scope="session")
def generators(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Folders of a Stable Diffusion and a Stable Diffusion XL pipeline and of one from-scratch generator."""
    folder = tmp_path_factory.mktemp("generators")
    save_tiny_pipeline(folder / "tiny")
    save_tiny_pipeline(folder / "other", seed=1, build=tiny_sdxl)
    tiny_ddpm().save_pretrained(folder / "ddpm")
    return [str(folder / name) for name in ("tiny", "other", "ddpm")]


@pytest.fixture(scope="session")
def demo(generators: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoApp]:
    """A demo of tiny generators, served on loopback."""
    config = DemoConfig(
        generators=generators,
        open_choice=False,
        conditions=["red lesion", "eczema"],
        runs=[str(write_run(tmp_path_factory.mktemp("runs") / "made_up"))],
        port=None,
        max_upload_mb=SMALL_MB,
        max_pixels=1_000_000,
        max_images=48,
        batch_size=2,
        tone_draws=2,
        tone_subject="skin",
        queue_size=16,
        threads=1,
    )
    app = launch_demo(config, wait=False)
    yield app
    app.close(verbose=False)
    assert not app.folder.exists()


def phantom(skin_type: str = "II", size: int = 96) -> np.ndarray:
    return render_phantom(skin_type, "ring", size, "demo tests").pixels


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """A JPEG of a phantom that carries a place and a camera, as telephones write them."""
    path = tmp_path / "IMG_of_patient_Smith.jpg"
    image = Image.fromarray(phantom())
    exif = image.getexif()
    exif[0x010F] = "SECRETCAMERA"
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}
    image.save(path, quality=95, exif=exif, comment=b"SECRETCOMMENT")
    return path


@pytest.fixture
def corrupt(tmp_path: Path) -> Path:
    path = tmp_path / "torn.jpg"
    file = io.BytesIO()
    Image.fromarray(phantom(size=128)).save(file, "JPEG")
    path.write_bytes(file.getvalue()[:900])
    return path


@pytest.fixture
def oversized(tmp_path: Path) -> Path:
    path = tmp_path / "huge.png"
    noise = np.random.default_rng(0).integers(0, 255, (400, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    assert path.stat().st_size > SMALL_MB * 1e6
    return path
