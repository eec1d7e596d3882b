"""An adapter and its base model as they lie in a folder, in a run, and in the cache of the Hub's client."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub.constants
import pytest
import yaml

from tests.generators.test_adapter import train_both
from tests.tiny import save_tiny_pipeline

BASE = "owner/model"
RECORDED, NEWEST = "0123abc" + "0" * 33, "f" * 40
"""Commits of the base: the adapter was trained on the first, and another followed."""


@dataclass(frozen=True)
class Made:
    """Folders of an adapter, of a run that holds it, and of its base model; and the client's cache."""

    adapter: Path
    run: Path
    base: Path
    cache: Path

    def use_cache(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the client of this process know this cache alone."""
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(self.cache))


def make_adapter(folder: Path) -> Made:
    """Train an adapter, and record that it was trained on an older commit of a model of the Hub."""
    train_both(folder, vectors=1, text_encoder=False)
    run, cache = folder / "lora", folder / "cache"
    record_base(run / "adapter", f"{BASE}@{RECORDED}")
    (run / "trained_on.json").write_text('{"corpus": "", "image_ids": ["secret-photograph"]}')
    cache_repository(cache, BASE, RECORDED, save_tiny_pipeline)
    cache_repository(cache, BASE, NEWEST, lambda place: save_tiny_pipeline(place, seed=1))
    cache_repository(cache, "me/adapter", NEWEST, lambda place: shutil.copytree(run / "adapter", place))
    adapter = shutil.copytree(run / "adapter", folder / "alone")
    return Made(adapter, run, save_tiny_pipeline(folder / "base"), cache)


def record_base(adapter: Path, base_model: str) -> None:
    """Write into an adapter what it was trained on."""
    settings = yaml.safe_load((adapter / "config.yaml").read_text())
    (adapter / "config.yaml").write_text(yaml.safe_dump({**settings, "base_model": base_model}))


def cache_repository(cache: Path, repo_id: str, commit: str, write: Callable[[Path], object]) -> None:
    """Lay a commit down as the client does after a download; ``main`` is the last that came."""
    place = cache / f"models--{repo_id.replace('/', '--')}"
    write(place / "snapshots" / commit)
    (place / "refs").mkdir(exist_ok=True)
    (place / "refs" / "main").write_text(commit)
