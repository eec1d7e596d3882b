import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

import skindiff
from skindiff.corpora.image_table import ImageTable
from skindiff.errors import ConfigError, TrainingError
from skindiff.generators.class_conditional import ClassConditionalPipeline
from skindiff.generators.vae_parts import Reconstruction
from skindiff.training import vae
from skindiff.training.loop import Loss, MicroBatch
from skindiff.training.loop_config import LoopConfig
from skindiff.training.samplers import epoch_sizes
from skindiff.training.vae import train_vae, vae_loss
from skindiff.training.vae_config import (
    CvaeConvConfig,
    CvaeResNetConfig,
    FcAutoencoderConfig,
    FcCvaeConfig,
    JointVAEConfig,
    VAEConfig,
)


def loop(steps: int = 4, **settings: object) -> LoopConfig:
    return LoopConfig(
        steps=steps, batch_size=4, learning_rate=1e-2, optimiser="adam", weight_decay=0.0, **settings
    )


def families(**settings: object) -> list[VAEConfig]:
    shared = {"image_size": 16, "channels": 3, "loop": loop()} | settings
    return [
        FcAutoencoderConfig(**shared, latent_dim=3, widths=[8, 4]),
        FcCvaeConfig(**shared, latent_dim=3, widths=[8]),
        CvaeConvConfig(**shared, latent_dim=3, widths=[4, 8, 8]),
        JointVAEConfig(**shared, continuous_dim=3, discrete_dim=3, widths=[4, 8, 8]),
        CvaeResNetConfig(**shared, latent_dim=3, decoder_width=16),
    ]


each_family = pytest.mark.parametrize("config", families(), ids=lambda config: config.family)


def table(rows: int = 10, *, grey: bool = False, size: int = 16) -> ImageTable:
    """Two classes: dark to the left, and dark to the right."""
    random = np.random.default_rng(0)
    labels = np.arange(rows) % 2
    pixels = random.integers(0, 40, (rows, size, size, 1 if grey else 3), dtype=np.uint8)
    for row, label in enumerate(labels):
        pixels[row, :, size // 2 :] += np.uint8(180 * (label == 0))
        pixels[row, :, : size // 2] += np.uint8(180 * (label == 1))
    return ImageTable(np.repeat(pixels, 3, -1) if grey else pixels, labels, (None,) * rows, ("a", "b"))


def run(config: VAEConfig, folder: Path, seed: int = 0, **options: ImageTable) -> ClassConditionalPipeline:
    images = options.pop("table", table())
    return train_vae(Accelerator(cpu=True), config, images, folder, seed, **options)


def weights(pipeline: ClassConditionalPipeline) -> dict[str, torch.Tensor]:
    return pipeline.vae.state_dict()


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


class Killed(Exception):
    pass


def kill_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    make = vae._loss

    def killing(*arguments: object) -> Loss:
        loss = make(*arguments)

        def stop(module: nn.Module, batch: MicroBatch) -> torch.Tensor:
            if batch.step == step:
                raise Killed
            return loss(module, batch)

        return stop

    monkeypatch.setattr(vae, "_loss", killing)


@each_family
def test_interrupted_is_uninterrupted_and_what_is_saved_draws_the_same(
    config: VAEConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, augment="geometric", balance="class", loop=loop(4, checkpoint_every=2))
    whole = run(config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        kill_at(3, patch)
        with pytest.raises(Killed):
            run(config, tmp_path / "killed")
    assert (tmp_path / "killed" / "checkpoint-2").is_dir()
    resumed = run(config, tmp_path / "killed")
    assert_same(weights(resumed), weights(whole))
    logs = [json.loads((tmp_path / name / "training_log.json").read_text()) for name in ("whole", "killed")]
    assert logs[0] == logs[1]
    assert [row["step"] for row in logs[0]] == [1, 2, 3, 4]
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["pipeline", "training_log.json"]
    loaded = type(whole).from_pretrained(tmp_path / "killed" / "pipeline")
    assert_same(weights(loaded), weights(whole))
    shown = {"images": torch.zeros(1, 3, 16, 16)} if whole.needs_images else {}
    draws = [
        pipeline("b", generator=torch.Generator().manual_seed(1), output_type="pt", **shown).images
        for pipeline in (whole, loaded)
    ]
    assert torch.equal(*draws)


def test_the_seed_decides(tmp_path: Path) -> None:
    config = families()[1]
    first, again, other = (run(config, tmp_path / str(n), seed) for n, seed in enumerate((1, 1, 2)))
    assert_same(weights(first), weights(again))
    assert not torch.equal(weights(first)["encoder.0.weight"], weights(other)["encoder.0.weight"])


def test_a_cvae_learns_which_side_a_class_is_dark_on(tmp_path: Path) -> None:
    config = FcCvaeConfig(image_size=16, channels=1, latent_dim=2, widths=[32], kl_weight=2.0, loop=loop(150))
    pipeline = run(config, tmp_path, table=table(40, grey=True))
    drawn = pipeline(
        ["a"] * 8 + ["b"] * 8, generator=torch.Generator().manual_seed(0), output_type="pt"
    ).images
    assert drawn.shape == (16, 1, 16, 16)
    left_minus_right = drawn[..., :8].mean((1, 2, 3)) - drawn[..., 8:].mean((1, 2, 3))
    assert (left_minus_right[:8] < -0.3).all()
    assert (left_minus_right[8:] > 0.3).all()
    log = json.loads((tmp_path / "training_log.json").read_text())
    assert log[-1]["loss"] < 0.2 * log[0]["loss"]


def test_a_re_drawn_image_looks_like_the_one_shown(tmp_path: Path) -> None:
    config = FcAutoencoderConfig(image_size=16, latent_dim=2, widths=[32], loop=loop(150))
    images = table(20, grey=True)
    pipeline = run(config, tmp_path, table=images)
    shown = torch.from_numpy(images.pixels[:2, ..., :1]).permute(0, 3, 1, 2) / 127.5 - 1
    redrawn = pipeline([0, 1], images=shown, output_type="pt").images * 2 - 1
    assert (redrawn - shown).square().mean() < 0.1 * (redrawn.flip(0) - shown).square().mean()


def test_the_loss_of_a_cvae_is_squared_error_and_weighted_divergence() -> None:
    images = torch.zeros(2, 1, 2, 2)
    found = Reconstruction(images + 0.5, torch.tensor([[1.0], [3.0]]))
    loss = vae_loss(FcCvaeConfig(kl_weight=0.25), found, images, 0)
    assert loss.item() == pytest.approx((4 * 0.25 + 0.25 * 2.0) / 4)


def test_the_joint_vae_leads_both_divergences_to_rising_capacities() -> None:
    config = JointVAEConfig(
        discrete_dim=10,
        continuous_capacity=20.0,
        discrete_capacity=5.0,
        capacity_rise=0.5,
        continuous_weight=2.0,
        discrete_weight=3.0,
        loop=LoopConfig(steps=100),
    )
    assert config.capacities(0) == (0.0, 0.0)
    assert config.capacities(20) == (8.0, 2.0)
    assert config.capacities(50) == config.capacities(99) == (20.0, math.log(10)), "log K bounds the discrete"
    assert replace(config, capacity_rise=0.0).capacities(0)[0] == 20.0
    images = torch.zeros(2, 3, 4, 4)
    found = Reconstruction(images, torch.tensor([[9.0, 1.0], [11.0, 1.0]]))
    assert vae_loss(config, found, images, 20).item() == pytest.approx((2 * 2.0 + 3 * 1.0) / 48)


def test_epochs_overrule_steps(tmp_path: Path) -> None:
    run(replace(families()[1], epochs=2), tmp_path)
    assert len(json.loads((tmp_path / "training_log.json").read_text())) == 2 * math.ceil(10 / 4)


def test_a_study_stops_early_by_its_validation_images(tmp_path: Path) -> None:
    corpus = skindiff.load_corpus("phantom", images_per_class={"I": 6}, image_size=28)
    split = skindiff.make_split(corpus, validation_fraction=0.3, test_fraction=0.2)
    settings = {"channels": 3, "epochs": 3, "batch_size": 8, "early_stopping": True}
    skindiff.train_generator(corpus, split, "fc_cvae", output_dir=tmp_path, **settings)
    log = json.loads(next(tmp_path.rglob("training_log.json")).read_text())
    per_epoch = len(epoch_sizes(len(split.train), 8, least=2))
    looked = [row["step"] for row in log if "validation_loss" in row]
    assert looked == [per_epoch, 2 * per_epoch, 3 * per_epoch]
    whole = skindiff.make_split(corpus, validation_fraction=0.0, test_fraction=0.2)
    with pytest.raises(ConfigError, match="early_stopping is true, and the split has no validation images"):
        skindiff.train_generator(corpus, whole, "fc_cvae", **settings)


def test_the_weights_with_the_lowest_held_out_loss_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(families()[2], loop=loop(4, validate_every=1, checkpoint_every=1))
    falling = {1: 3.0, 2: 1.0, 3: 2.0, 4: 1.5}
    seen: list[torch.Tensor] = []

    def scores(*arguments: object) -> dict[str, float]:
        seen.append(arguments[2].state_dict()["encoder.0.weight"].clone())
        return {"validation_loss": falling[len(seen)]}

    monkeypatch.setattr(vae, "_scores", scores)
    with monkeypatch.context() as patch:
        kill_at(3, patch)
        with pytest.raises(Killed):
            run(config, tmp_path, validation=table(4))
    pipeline = run(config, tmp_path, validation=table(4))
    assert len(seen) == 4
    assert torch.equal(weights(pipeline)["encoder.0.weight"], seen[1])


def test_held_out_images_are_scored(tmp_path: Path) -> None:
    run(families()[3], tmp_path, validation=table(7))
    row = json.loads((tmp_path / "training_log.json").read_text())[-1]
    assert row["validation_squared_error"] > 0
    assert row["validation_nats"] >= 0
    assert math.isfinite(row["validation_loss"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CvaeConvConfig(image_size=30), "vae.image_size is 30: a decoder of 5 widths makes multiples of 16"),
        (JointVAEConfig(image_size=20), "vae.image_size is 20: a decoder of 5 widths"),
        (CvaeResNetConfig(image_size=100, latent_dim=0), "vae.latent_dim is 0: set it to at least 1"),
        (CvaeResNetConfig(image_size=90), "vae.image_size is 90: this decoder doubles a grid of 4 to 7"),
        (FcCvaeConfig(image_size=0), "vae.image_size is 0: set it to at least 1"),
        (FcCvaeConfig(channels=2), "vae.channels is 2: set it to 1 \\(grey\\) or 3"),
        (FcCvaeConfig(kl_weight=-1.0), "vae.kl_weight is -1.0: set it to at least 0"),
        (FcAutoencoderConfig(widths=[]), "vae.widths is \\[\\]: give at least one"),
        (JointVAEConfig(discrete_dim=1), "vae.discrete_dim is 1: set it to at least 2"),
        (JointVAEConfig(temperature=0.0), "vae.temperature is 0.0: set it above 0"),
        (JointVAEConfig(capacity_rise=1.5), "vae.capacity_rise is 1.5: set it from 0 to 1"),
        (CvaeConvConfig(loop=LoopConfig(batch_size=1)), "vae.loop.batch_size is 1: batch norm needs"),
        (CvaeConvConfig(loop=LoopConfig(steps=0)), "vae.loop.steps is 0"),
        (CvaeConvConfig(epochs=-1), "vae.epochs is -1"),
    ],
)
def test_settings_that_cannot_work_are_named(config: VAEConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.validate("vae.")


@pytest.mark.parametrize(("grey", "channels"), [(True, 3), (False, 1)])
def test_a_grey_corpus_for_an_rgb_model_and_back_are_refused(
    grey: bool, channels: int, tmp_path: Path
) -> None:
    right = 1 if grey else 3
    with pytest.raises(ConfigError, match=f"channels is {channels}, but the corpus is .*: set it to {right}"):
        run(replace(families()[1], channels=channels), tmp_path, table=table(grey=grey))


def test_a_class_without_images_is_refused_where_it_would_be_drawn(tmp_path: Path) -> None:
    one_class = table().select([0, 2, 4])
    with pytest.raises(TrainingError, match="no training image of b: a generator cannot learn"):
        run(families()[1], tmp_path, table=one_class)
    assert run(families()[0], tmp_path, table=one_class).needs_images
    with pytest.raises(TrainingError, match="training set is empty"):
        run(families()[1], tmp_path, table=table().select([]))


def test_a_checkpoint_of_other_images_or_settings_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(families()[1], loop=loop(checkpoint_every=1))
    with monkeypatch.context() as patch:
        kill_at(2, patch)
        with pytest.raises(Killed):
            run(config, tmp_path)
    with pytest.raises(TrainingError, match="was written with context="):
        run(config, tmp_path, table=table(9))
    with pytest.raises(TrainingError, match="was written with context="):
        run(replace(config, kl_weight=0.5), tmp_path)


def test_a_loss_that_is_not_finite_names_the_way_out(tmp_path: Path) -> None:
    config = replace(families()[1], loop=replace(loop(40), learning_rate=1e6, max_grad_norm=0.0))
    with pytest.raises(TrainingError, match=r"is (nan|inf) at step .*: lower learning_rate"):
        run(config, tmp_path)


def test_validation_images_of_other_classes_are_refused(tmp_path: Path) -> None:
    other = replace(table(), class_names=("a", "c"))
    with pytest.raises(TrainingError, match="build both from one sequence of classes"):
        run(families()[1], tmp_path, validation=other)
