"""A download of many GB is refused where the disk has no room for it, before it begins."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from diffusers import FluxPipeline

from skindiff.errors import GeneratorError
from skindiff.generators import foreign_folder
from skindiff.generators.models import INDEX

MODEL, COMMIT = "owner/model", "0123abc" + "0" * 33
FILES = {
    INDEX: 500,
    "flux1-dev.safetensors": 23_800,
    "transformer/diffusion_pytorch_model-00001-of-00002.safetensors": 10_000,
    "transformer/diffusion_pytorch_model-00002-of-00002.safetensors": 13_800,
    "transformer/diffusion_pytorch_model.fp16.safetensors": 12_000,
    "text_encoder/model.safetensors": 250,
    "text_encoder/pytorch_model.bin": 250,
    "text_encoder_2/model.safetensors": 9_500,
    "vae/diffusion_pytorch_model.safetensors": 170,
    "image_encoder/model.safetensors": 5_000,
}
"""Megabytes."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """The Hub's list of files, the cache's disk, and what is downloaded."""
    state = SimpleNamespace(free=10**9, fetched=[])
    files = [SimpleNamespace(rfilename=name, size=size * 10**6) for name, size in FILES.items()]
    info = SimpleNamespace(siblings=files, sha=COMMIT)
    monkeypatch.setattr(foreign_folder, "model_info", lambda *_, **__: info)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "not" / "there"))

    def disk_usage(place: Path) -> SimpleNamespace:
        assert place == tmp_path
        return SimpleNamespace(free=state.free)

    def download(model: str, **_: Any) -> str:
        state.fetched.append(model)
        raise OSError("no network in this test")

    monkeypatch.setattr(foreign_folder.shutil, "disk_usage", disk_usage)
    monkeypatch.setattr(FluxPipeline, "download", download)
    return state


def load() -> None:
    foreign_folder.load_checked(FluxPipeline, MODEL, None, image_encoder=None, feature_extractor=None)


def test_it_names_what_is_needed_and_what_is_free(hub: SimpleNamespace) -> None:
    hub.free = 33_719_999_999
    with pytest.raises(GeneratorError) as refused:
        load()
    assert str(refused.value).startswith("model 'owner/model' is a download of 33.7 GB, and 33.7 GB are free")
    assert "or set HF_HOME to a folder on another disk" in str(refused.value)
    assert hub.fetched == []
    hub.free = 33_720_000_000  # two shards, CLIP, T5 and the autoencoder
    with pytest.raises(GeneratorError, match="no network in this test"):
        load()
    assert hub.fetched == [MODEL]


def test_what_the_cache_has_is_not_counted(hub: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def cached(model: str, name: str, revision: str) -> str | None:
        assert (model, revision) == (MODEL, COMMIT)
        return name if name.startswith("transformer/") else None

    monkeypatch.setattr(foreign_folder, "try_to_load_from_cache", cached)
    hub.free = 9_919_999_999
    with pytest.raises(GeneratorError, match=r"is a download of 9\.9 GB, and 9\.9 GB are free"):
        load()
