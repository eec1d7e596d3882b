"""What a run has written is believed only while it is what was written."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from skindiff.classification.feature_store import FeatureStore
from skindiff.corpora.cache import pixels, resize_to_cache
from skindiff.corpora.image_table import ImageTable
from skindiff.corpora.phantom import PhantomConfig, load_phantom
from skindiff.errors import RunFolderError
from skindiff.manifest import DONE, MANIFEST, changed, hashes_of, record, refuse_damaged
from skindiff.measures.backbones import load_backbone
from skindiff.runs import RunFolder
from skindiff.study import RunConfig
from skindiff.training.checkpoints import Progress, newest_checkpoint, save_checkpoint


def flip(path: Path) -> None:
    """Change one byte in the middle, the size stays."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def gone(path: Path) -> None:
    path.unlink()


def fold(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [flip, cut, empty, gone]


def claim(folder: Path, **flags: bool) -> RunFolder:
    given = {"resume": False, "overwrite": False} | flags
    return RunFolder(str(folder), RunConfig(), Accelerator(cpu=True), **given)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["weights.bin", "deep/log.json", DONE])
def test_a_damaged_stage_is_made_again(tmp_path: Path, damage: Callable, name: str, caplog) -> None:
    run = claim(tmp_path)
    stage = run.stage("lora", rank=2)
    (stage.folder / "deep").mkdir()
    for own in ("weights.bin", "deep/log.json"):
        (stage.folder / own).write_text(f"content of {own}")
    stage.finish()
    run.end()
    resumed = claim(tmp_path, resume=True)
    assert resumed.stage("lora", rank=2).done
    resumed.end()
    damage(stage.folder / name)
    resumed = claim(tmp_path, resume=True)
    again = resumed.stage("lora", rank=2)
    assert not again.done
    if name != DONE:
        assert not (stage.folder / name).exists()  # nobody builds on it
        assert "is not what this run wrote, or is gone; it is made again" in caplog.text
    other = {"weights.bin", "deep/log.json"} - {name}
    assert all((stage.folder / own).is_file() for own in other)
    resumed.end()


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_lies_at_the_top_of_a_run_is_checked_where_it_is_read(tmp_path: Path, damage: Callable) -> None:
    run = claim(tmp_path)
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "lora.safetensors").write_text("weights")
    (tmp_path / "report.json").write_text("{}")
    record(tmp_path, "adapter", "report.json")
    run.end()
    for place in ("adapter", "report.json", "."):
        refuse_damaged(tmp_path / place)
    damage(tmp_path / "adapter" / "lora.safetensors")
    refuse_damaged(tmp_path / "report.json")  # each for itself
    for place in ("adapter", "."):
        with pytest.raises(RunFolderError, match=r"lora.safetensors is not what its run wrote"):
            refuse_damaged(tmp_path / place)
    claim(tmp_path, resume=True).end()
    assert not (tmp_path / "adapter" / "lora.safetensors").exists()
    assert (tmp_path / "report.json").exists()


@pytest.mark.parametrize("damage", [cut, empty, lambda path: path.write_text('{"report.json": 3}')])
def test_a_damaged_list_is_not_believed(tmp_path: Path, damage: Callable) -> None:
    run = claim(tmp_path)
    (tmp_path / "report.json").write_text("{}")
    record(tmp_path, "report.json")
    run.end()
    damage(tmp_path / MANIFEST)
    with pytest.raises(RunFolderError, match=r"files.json is damaged; --resume makes it again"):
        refuse_damaged(tmp_path / "report.json")
    claim(tmp_path, resume=True).end()
    refuse_damaged(tmp_path / "report.json")


def test_files_of_others_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('["a", "dataset", "of", "somebody"]')
    (tmp_path / DONE).write_text("yes")
    (tmp_path / "model.safetensors").write_text("weights")
    refuse_damaged(tmp_path)
    refuse_damaged(tmp_path / "model.safetensors")


def test_a_list_goes_by_size_first_and_then_by_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    listed = hashes_of(tmp_path)
    assert list(listed) == ["a"]
    assert changed(tmp_path, listed) == []
    (tmp_path / "a").write_text("two")
    assert changed(tmp_path, listed) == ["a"]
    fold(tmp_path / "a")
    assert changed(tmp_path, listed) == ["a"]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["weights.safetensors", "optimiser.pt", "state.json", DONE])
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, damage: Callable, name: str) -> None:
    model = nn.Linear(2, 2)
    save_checkpoint(tmp_path, Progress(3, {}, []), model, {"step": torch.tensor(3)})
    checkpoint = newest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert set(json.loads((checkpoint / DONE).read_text())["files"]) == {
        "weights.safetensors",
        "optimiser.pt",
        "state.json",
    }
    damage(checkpoint / name)
    assert newest_checkpoint(tmp_path) is None


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["data-00000-of-00001.arrow", "dataset_info.json", "state.json", DONE])
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: Callable, name: str) -> None:
    table = load_phantom(PhantomConfig(3, 32, ["nodule"], {"I": 2}, repeat_share=0.0))
    cached = resize_to_cache(table, 16, tmp_path)
    before, folder = pixels(cached.dataset), tmp_path / cached.fingerprint
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    damage(folder / name)
    again = resize_to_cache(table, 16, tmp_path)
    assert np.array_equal(pixels(again.dataset), before)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_features_are_computed_again(tmp_path: Path, damage: Callable) -> None:
    backbone = load_backbone("lite0", image_size=32)
    shapes = np.arange(2 * 32 * 32 * 3, dtype=np.uint8).reshape(2, 32, 32, 3)
    table = ImageTable(shapes, np.array([0, 0]), ("I", "I"), ("a",))
    before = FeatureStore(tmp_path, backbone)(table)
    for file in tmp_path.rglob("*.npz"):
        damage(file)
    assert np.array_equal(FeatureStore(tmp_path, backbone)(table), before)
    assert np.array_equal(FeatureStore(tmp_path, backbone)(table), before)
