"""Fine-tuning on pictures of several shapes: what a batch holds, and that a resume changes nothing."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from skindiff.training import loop as loop_module
from skindiff.training.encoding import encode_tables
from skindiff.training.latents import BucketedMoments
from skindiff.training.loop import micro_batches
from skindiff.training.loop_config import LoopConfig
from skindiff.training.lora import LoRAConfig, train_lora
from skindiff.training.samplers import one_shape_batches, shuffled_batches
from skindiff.training.textual_inversion import (
    TextualInversionConfig,
    balanced_batches,
    train_textual_inversion,
)
from tests.tiny import TINY_SIZE, bucketed_corpus, tiny_pipeline

SHAPES = ["1:1", "3:2", "2:3"]
BUCKETS = tuple(SHAPES[number] for number in (0, 1, 1, 2, 1, 0, 1, 1, 2, 1))
"""Ten images: two squares, six lying and two standing."""


def test_every_batch_has_one_shape_and_every_image_comes_once_a_pass() -> None:
    generator = np.random.default_rng(0)
    shapes = [SHAPES[number] for number in generator.integers(0, 3, size=47)]
    sample = one_shape_batches(shuffled_batches(47, 47, "key"), shapes, 4, "key")
    steps = sum(-(-shapes.count(shape) // 4) for shape in SHAPES)
    orders = []
    for number in range(3):
        batches = [sample(number * steps + step) for step in range(steps)]
        for batch in batches:
            assert len({shapes[row] for row in batch}) == 1
        rows = np.concatenate(batches).tolist()
        assert sorted(rows) == list(range(47))
        # Only the last batch of a shape is short.
        sizes = [len(batch) for batch in batches if len(batch) < 4]
        assert sorted(sizes) == sorted(shapes.count(shape) % 4 for shape in SHAPES if shapes.count(shape) % 4)
        orders.append(rows)
    assert orders[0] != orders[1] != orders[2]
    kinds = [shapes[sample(step)[0]] for step in range(steps)]
    assert sum(before != after for before, after in pairwise(kinds)) > 2  # shapes are mixed


def test_a_batch_is_a_function_of_key_and_step_alone() -> None:
    shapes = BUCKETS * 3

    def sampler(key: str = "key"):
        return one_shape_batches(shuffled_batches(30, 30, key), shapes, 4, key)

    ahead = sampler()
    later = [ahead(step).tolist() for step in (25, 3, 11, 0)]
    assert later == [sampler()(step).tolist() for step in (25, 3, 11, 0)]
    assert any(ahead(step).tolist() != sampler("other")(step).tolist() for step in range(4))


def test_words_take_turns_over_a_pass() -> None:
    labels = np.array([0] * 4 + [1] * 12)
    shapes = [SHAPES[row % 3] for row in range(16)]
    sample = one_shape_batches(balanced_batches(labels, 24, "key"), shapes, 4, "key")
    seen: list[int] = []
    step = 0
    while len(seen) < 24:
        batch = sample(step)
        assert len({shapes[row] for row in batch}) == 1
        seen += batch.tolist()
        step += 1
    assert len(seen) == 24
    counts = np.bincount(seen, minlength=16)
    assert counts[:4].tolist() == [3] * 4
    assert counts[4:].tolist() == [1] * 12


def test_processes_share_a_batch_of_one_shape() -> None:
    config = LoopConfig(steps=9, batch_size=2)
    sample = one_shape_batches(shuffled_batches(10, 10, "key"), BUCKETS, 4, "key")
    for step in range(9):
        two = [
            part
            for process in range(2)
            for part in micro_batches(
                SimpleNamespace(num_processes=2, process_index=process), config, sample, step, "any"
            )
        ]
        whole = sample(step).tolist()
        seen = {
            int(position): int(row)
            for part in two
            for position, row in zip(part.positions, part.indices, strict=True)
        }
        assert [seen[place] for place in range(len(whole))] == whole
        assert len({BUCKETS[row] for part in two for row in part.indices.tolist()}) == 1


def test_moments_of_each_shape_are_those_of_the_autoencoder(tmp_path: Path) -> None:
    pipeline, dataset = tiny_pipeline(), bucketed_corpus(*BUCKETS)
    accelerator = Accelerator(cpu=True)

    def encode(table):
        return encode_tables(accelerator, pipeline, [table], tmp_path, size=TINY_SIZE, flip=True)[0]

    found = encode(dataset)
    assert isinstance(found, BucketedMoments)
    assert sorted(part.shape for part in found.parts) == [(4, 6, 10), (4, 8, 8), (4, 10, 6)]
    for row in range(len(BUCKETS)):
        moments, places = found.of(torch.tensor([row]))
        image = dataset[row]["bucketed"]
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 127.5 - 1
        mean = pipeline.vae.encode(pixels).latent_dist.mean * pipeline.vae.config.scaling_factor
        torch.testing.assert_close(moments.mean[places, 0], mean, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="unpack"):
        found.of(torch.tensor([0, 1]))
    assert {tuple(rows.tolist()) for rows in found.split(torch.tensor([0, 1, 5, 3]))} == {(0, 2), (1,), (3,)}
    again = encode(dataset.select(range(9, -1, -1)))
    assert again.key != found.key


def lora(folder: Path, dataset, batch_size: int = 4, accumulation: int = 1, **settings):
    loop = LoopConfig(
        steps=6,
        batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
        learning_rate=0.02,
        checkpoint_every=2,
    )
    config = LoRAConfig(loop=loop, rank=2, validation_examples=16, noise_offset=0.1, **settings)
    return train_lora(Accelerator(cpu=True), tiny_pipeline(), config, dataset, folder)


def test_a_killed_training_on_buckets_goes_on_bitwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = bucketed_corpus(*BUCKETS)
    whole = lora(tmp_path / "whole", dataset)
    save = loop_module.save_checkpoint

    def killed(*arguments, **keywords):
        save(*arguments, **keywords)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop_module, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        lora(tmp_path / "killed", dataset)
    monkeypatch.undo()
    resumed = lora(tmp_path / "killed", dataset)
    assert resumed.log == whole.log
    for path in sorted(whole.folder.rglob("*.safetensors")):
        assert path.read_bytes() == (resumed.folder / path.relative_to(whole.folder)).read_bytes()


def test_smaller_micro_batches_trace_the_same_loss(tmp_path: Path) -> None:
    dataset = bucketed_corpus(*BUCKETS)
    whole, cut = lora(tmp_path / "whole", dataset), lora(tmp_path / "cut", dataset, 2, 2)
    for key in ("loss", "grad_norm"):
        assert [row[key] for row in cut.log] == pytest.approx([row[key] for row in whole.log], rel=1e-4)


def test_the_network_sees_one_shape_at_a_time_in_both_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = bucketed_corpus(*BUCKETS)
    shapes: list[tuple[int, ...]] = []
    forward = type(tiny_pipeline().unet).forward

    def watched(self, sample, *arguments, **keywords):
        shapes.append(tuple(sample.shape))
        return forward(self, sample, *arguments, **keywords)

    monkeypatch.setattr(type(tiny_pipeline().unet), "forward", watched)
    loop = LoopConfig(steps=3, batch_size=4, learning_rate=0.05)
    config = TextualInversionConfig(loop=loop, validation_examples=4)
    train_textual_inversion(Accelerator(cpu=True), tiny_pipeline(), config, dataset, tmp_path / "words")
    assert {shape[1:] for shape in shapes} == {(4, 8, 8), (4, 6, 10), (4, 10, 6)}
    assert all(shape[0] <= 4 for shape in shapes)
    adapter = lora(tmp_path / "lora", dataset)
    assert [row["step"] for row in adapter.log] == [1, 2, 3, 4, 5, 6]
    assert all(np.isfinite(row["loss"]) for row in adapter.log)
