import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset, load_dataset
from diffusers import StableDiffusionPipeline

from skindiff.errors import SynthesisError
from skindiff.peers import Peers
from skindiff.synthesis import writer
from skindiff.synthesis.draw import redraw
from skindiff.synthesis.plan import make_plan, synthetic_features
from skindiff.synthesis.tone import estimate_prototypes
from skindiff.synthesis.writer import load_prototypes, load_synthetic, write_synthetic
from tests.synthesis.drawing import CONFIG, ROWS_PER_SHARD, SOURCES, plan
from tests.tiny import TINY_CLASSES, tiny_pipeline

REPOSITORY = Path(__file__).resolve().parents[2]
# Two processes on a CPU: `--cpu --num_processes 2` starts one only, --multi_gpu starts two.
TWO_PROCESSES = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")
TWO_PROCESSES += ("--num_machines", "1", "--main_process_port", "0", "--mixed_precision", "no")
TWO_PROCESSES += ("--dynamo_backend", "no")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _write(folder: Path, rows: Dataset | None = None, accelerator: Accelerator | None = None) -> dict:
    return write_synthetic(
        accelerator or Accelerator(cpu=True),
        plan() if rows is None else rows,
        tiny_pipeline(),
        SOURCES,
        folder,
        rows_per_shard=ROWS_PER_SHARD,
    )


def _shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


def _run(folder: Path, *options: str, launcher: tuple[str, ...] = ()) -> int:
    command = [sys.executable, *launcher, "-m", "tests.synthesis.drawing", str(folder), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, check=False
    ).returncode


def test_a_plan_becomes_shards_that_any_reader_of_parquet_takes_for_images(tmp_path: Path) -> None:
    summary = _write(tmp_path / "syn")

    assert len(_shards(tmp_path / "syn")) == summary["shards"] == 3
    assert (summary["planned"], summary["drawn"], summary["refused_counts"]) == (12, 12, {})
    assert summary["denoising_steps"] == {"img2img, dpmsolver++, 4 steps, strength 0.3": 1}
    assert summary["timings"]["images_per_second"] > 0
    assert json.loads((tmp_path / "syn" / "summary.json").read_text()) == summary
    read = load_dataset(
        "parquet",
        data_files=str(tmp_path / "syn" / "*.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    ours = load_synthetic(tmp_path / "syn")
    assert read.features == ours.features == synthetic_features(TINY_CLASSES)
    assert ours["image_id"] == read["image_id"] == plan()["image_id"]
    assert np.array_equal(np.asarray(read[5]["image"]), np.asarray(ours[5]["image"]))
    assert ours[5]["image"].size == (32, 32)


def test_a_row_of_the_data_set_is_drawn_again_from_its_own_columns(tmp_path: Path) -> None:
    _write(tmp_path)

    row = load_synthetic(tmp_path)[7]

    again = redraw(row, tiny_pipeline(), SOURCES, load_prototypes(tmp_path))
    assert np.array_equal(np.asarray(again), np.asarray(row["image"]))


def test_the_tones_are_asked_of_the_generator_as_it_was_before_it_learnt(tmp_path: Path) -> None:
    loaded = []

    def load_base() -> StableDiffusionPipeline:
        loaded.append(tiny_pipeline(seed=1))
        return loaded[-1]

    for _ in range(2):
        write_synthetic(
            Accelerator(cpu=True), plan(), tiny_pipeline(), SOURCES, tmp_path, load_base=load_base
        )

    assert len(loaded) == 1
    prototypes = load_prototypes(tmp_path)
    assert prototypes is not None
    expected = estimate_prototypes(tiny_pipeline(seed=1), ["I", "II", "V", "VI"], ["skin lesion"])
    assert all(torch.equal(prototypes.means[name], mean) for name, mean in expected.means.items())


def test_finished_shards_are_kept_and_missing_ones_come_out_the_same(tmp_path: Path) -> None:
    _write(tmp_path)
    before = _shards(tmp_path)
    second = tmp_path / list(before)[1]
    second.unlink()
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}

    with pytest.raises(SynthesisError, match="2 of 3 shards: run the synthesis again"):
        load_synthetic(tmp_path)
    summary = _write(tmp_path)

    assert _shards(tmp_path) == before
    assert summary["timings"]["images"] == 4
    assert all((tmp_path / name).stat().st_mtime_ns == time for name, time in kept.items())


def test_processes_share_the_shards_without_changing_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path / "one")
    accelerator = Accelerator(cpu=True)
    with monkeypatch.context() as patch:
        patch.setattr(Accelerator, "num_processes", 2)
        patch.setattr(Peers, "of", lambda *_: SimpleNamespace(meet=lambda doing: None))  # they take turns
        patch.setattr(Accelerator, "process_index", 1)
        patch.setattr(writer, "_summarise", lambda shards, timings: {"planned": 1, "drawn": 1})
        _write(tmp_path / "two", accelerator=accelerator)
        assert [name[:15] for name in _shards(tmp_path / "two")] == ["synthetic-00001"]
        patch.setattr(Accelerator, "process_index", 0)
        _write(tmp_path / "two", accelerator=accelerator)

    assert _shards(tmp_path / "two") == _shards(tmp_path / "one")


@pytest.mark.slow  # tests/recipes/test_fitz_lora_killed.py kills a synthesis, too
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    assert _run(tmp_path / "cut", "--kill_at_shard", "1") == -9
    assert len(_shards(tmp_path / "cut")) == 1

    _write(tmp_path / "cut")
    _write(tmp_path / "whole")

    assert _shards(tmp_path / "cut") == _shards(tmp_path / "whole")
    assert not list((tmp_path / "cut").glob(".*.partial"))


@pytest.mark.slow
def test_two_real_processes_write_what_one_writes(tmp_path: Path) -> None:
    assert _run(tmp_path / "two", launcher=TWO_PROCESSES) == 0
    _write(tmp_path / "one")

    assert _shards(tmp_path / "two") == _shards(tmp_path / "one")
    assert json.loads((tmp_path / "two" / "summary.json").read_text())["timings"]["images"] == 12


def test_a_full_disk_leaves_finished_shards_and_no_other_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path / "whole")
    fsync, calls = os.fsync, []

    def full_at_the_second_shard(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 4:  # after the plan, the prototypes and one shard
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_at_the_second_shard)
        with pytest.raises(
            SynthesisError, match=r"folder .*cut is full: synthetic-00001.* needs 0\.\d+ MiB .*--resume"
        ):
            _write(tmp_path / "cut")

    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == [
        "plan.json",
        "synthetic-00000-of-00003.parquet",
        "tone_prototypes.safetensors",
    ]
    _write(tmp_path / "cut")
    assert _shards(tmp_path / "cut") == _shards(tmp_path / "whole")


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    size = ["-o", "size=40k"]
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", *size, "tmpfs", str(tmp_path)], capture_output=True, check=False
    ) if sys.platform == "linux" else None  # fmt: skip
    if mounted is None or mounted.returncode != 0:
        pytest.skip("mounting a small tmpfs needs Linux and the right to mount")
    try:
        with pytest.raises(SynthesisError, match=r"is full: .* free some space"):
            _write(tmp_path / "syn")
        assert not list((tmp_path / "syn").glob(".*.partial"))
        for name in _shards(tmp_path / "syn"):
            Dataset.from_parquet(str(tmp_path / "syn" / name), keep_in_memory=True)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(SynthesisError, match=r"cannot be written to .* choose another output folder"):
        _write(tmp_path / "file" / "syn")


def test_refused_images_are_counted_by_reason_and_absent(tmp_path: Path) -> None:
    rows = plan().to_list()
    for number in (1, 6):
        rows[number] |= {"tone": "offset_noise", "tone_strength": float("inf")}
    spoilt = Dataset.from_list(rows, features=plan().features)

    summary = _write(tmp_path, spoilt)

    names = [rows[number]["image_id"] for number in (1, 6)]
    assert (summary["planned"], summary["drawn"]) == (12, 10)
    assert summary["refused"] == dict.fromkeys(names, "not finite")
    assert summary["refused_counts"] == {"not finite": 2}
    assert not set(names) & set(load_synthetic(tmp_path)["image_id"])
    assert _write(tmp_path, spoilt)["refused"] == summary["refused"]


def test_a_data_set_without_a_single_fit_image_is_an_error(tmp_path: Path) -> None:
    rows = [{**row, "tone": "offset_noise", "tone_strength": float("inf")} for row in plan().to_list()]

    with pytest.raises(SynthesisError, match=r"all 12 images were refused \(\{'not finite': 12\}\)"):
        _write(tmp_path, Dataset.from_list(rows, features=plan().features))


def test_a_folder_belongs_to_one_plan(tmp_path: Path) -> None:
    _write(tmp_path)
    other = make_plan(SOURCES, replace(CONFIG, strength=0.6), seed=1, generator="tiny@0")

    with pytest.raises(SynthesisError, match="holds images of another plan: choose an empty folder"):
        _write(tmp_path, other)


def test_nothing_to_draw_or_to_load_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SynthesisError, match="the plan has no rows"):
        _write(tmp_path, plan().select([]))
    with pytest.raises(SynthesisError, match="holds no synthetic images"):
        load_synthetic(tmp_path)
