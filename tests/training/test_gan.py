"""Trainings of two players, and a program that runs one in a process of its own (``python -m``)."""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from skindiff.corpora.image_table import ImageTable
from skindiff.errors import ConfigError, TrainingError
from skindiff.generators.dcgan import DCGANDiscriminator, SNDCGANPipeline
from skindiff.seeding import numpy_generator
from skindiff.training import adversarial_loop, gan
from skindiff.training.checkpoints import newest_checkpoint
from skindiff.training.gan import (
    AttentionGANConfig,
    DCGANConfig,
    FullyConnectedGANConfig,
    GANConfig,
    SNDCGANConfig,
    drawn_loss,
    generator_loss,
    real_loss,
    train_gan,
)
from skindiff.training.gan_diversity import DiversityGauge, collapsed_classes, settle_statistics
from skindiff.training.generator_data import generator_table
from skindiff.training.loop_config import LoopConfig
from tests.conftest import REPOSITORY
from tests.generators.gan_checks import draw, seeded

CLASSES = ("dark", "light")
LOOP = LoopConfig(
    steps=6,
    batch_size=4,
    learning_rate=2e-3,
    optimiser="adam",
    weight_decay=0.0,
    max_grad_norm=0.0,
    checkpoint_every=2,
    validate_every=3,
    log_every=2,
)
COMMON = {"latent_size": 8, "diversity_images": 4, "loop": LOOP}
CONFIGS: dict[str, GANConfig] = {
    "dcgan": DCGANConfig(image_size=28, width=4, **COMMON),
    "sn_dcgan": SNDCGANConfig(image_size=28, width=4, augment="flip", **COMMON),
    "attention_gan": AttentionGANConfig(image_size=28, width=16, dropout=0.2, **COMMON),
    "fc_gan": FullyConnectedGANConfig(channels=3, width=16, balance="class", **COMMON),
}
SEED = 3


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def table(rows: int = 24, *, grey: bool = False, size: int = 28) -> ImageTable:
    random = numpy_generator("gan table")
    labels = np.arange(rows) % 2
    pixels = random.normal(60, 25, (rows, 4, 4, 3)) + 120 * labels[:, None, None, None]
    if grey:
        pixels[:] = pixels[..., :1]
    pixels = pixels.clip(0, 255).astype(np.uint8).repeat(size // 4, 1).repeat(size // 4, 2)
    return ImageTable(pixels, labels.astype(np.int64), (None,) * rows, CLASSES)


class Crash(Exception):
    pass


def crash_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    original = gan._Task.generator_loss

    def loss(self, batch):
        if batch.step == step:
            raise Crash
        return original(self, batch)

    monkeypatch.setattr(gan._Task, "generator_loss", loss)


def outcome(folder: Path) -> dict[str, bytes]:
    parts = ("pipeline", "discriminator", "training_log.json", "diversity.json")
    files = [path for part in parts for path in (folder / part, *sorted((folder / part).rglob("*")))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.is_file()}


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_interrupted_equals_uninterrupted(accelerator, tmp_path, monkeypatch, family, ema_decay):
    loop = replace(LOOP, ema_decay=ema_decay, lr_schedule="linear")
    config = replace(CONFIGS[family], loop=loop, discriminator_steps=2)
    train_gan(accelerator, config, table(), tmp_path / "whole", SEED)
    with monkeypatch.context() as patch:
        crash_at(patch, 5)
        with pytest.raises(Crash):
            train_gan(accelerator, config, table(), tmp_path / "cut", SEED)
    assert newest_checkpoint(tmp_path / "cut").name == "checkpoint-4"
    torch.rand(3)  # the global generator decides nothing
    train_gan(accelerator, config, table(), tmp_path / "cut", SEED)
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")
    # A finished training is not repeated.
    with monkeypatch.context() as patch:
        crash_at(patch, 5)
        train_gan(accelerator, config, table(), tmp_path / "cut", SEED)
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


@pytest.mark.parametrize("family", CONFIGS)
def test_every_weight_of_both_players_moves(accelerator, tmp_path, monkeypatch, family):
    players, starts = [], []
    original = type(CONFIGS[family]).networks

    def networks(self, classes):
        players.extend(original(self, classes))
        starts.extend({n: p.detach().clone() for n, p in m.named_parameters()} for m in players)
        return players

    monkeypatch.setattr(type(CONFIGS[family]), "networks", networks)
    pipeline = train_gan(accelerator, CONFIGS[family], table(), tmp_path, SEED)
    assert pipeline.family == family
    for module, start in zip(players, starts, strict=True):
        for name, parameter in module.named_parameters():
            assert not torch.equal(parameter, start[name]), name
            assert parameter.requires_grad


def test_the_log_holds_both_players_curves(accelerator, tmp_path):
    train_gan(accelerator, CONFIGS["attention_gan"], table(), tmp_path, SEED)
    log = json.loads((tmp_path / "training_log.json").read_text())
    assert [row["step"] for row in log] == [1, 2, 3, 4, 5, 6]
    for row in log:
        for player in ("discriminator", "generator"):
            assert row[f"{player}_grad_norm"] > 0
            assert {f"{player}_loss", f"{player}_class_loss"} <= row.keys()
        assert 0 < row["discriminator_real"] < 1
        assert 0 < row["discriminator_drawn"] < 1
    measured = [row["step"] for row in log if "collapsed" in row]
    assert measured == [3, 6]
    assert {"diversity_dark", "diversity_light"} <= log[2].keys()
    record = json.loads((tmp_path / "diversity.json").read_text())
    assert set(record["of_real"]) == set(CLASSES)


def test_classes_are_learnt(accelerator, tmp_path):
    loop = replace(LOOP, steps=100, batch_size=16, validate_every=0, checkpoint_every=0, log_every=50)
    config = replace(CONFIGS["dcgan"], width=8, loop=loop)
    pipeline = train_gan(accelerator, config, table(), tmp_path, SEED)
    dark, light = (draw(pipeline, [name] * 8, range(8)).mean() for name in CLASSES)
    # The real ones are at 0.24 and 0.70.
    assert light - dark > 0.2


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["step", "save"])
def test_killed_and_resumed_equals_uninterrupted(accelerator, tmp_path, moment):
    command = [sys.executable, "-m", "tests.training.test_gan", str(tmp_path / "cut"), moment]
    finished = subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, timeout=300
    )
    assert finished.returncode == -signal.SIGKILL, finished.stderr.decode()
    assert newest_checkpoint(tmp_path / "cut").name == "checkpoint-2"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name in ("cut", "whole"):
            train_gan(accelerator, CONFIGS["sn_dcgan"], table(), tmp_path / name, SEED)
    finally:
        torch.set_num_threads(threads)
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


def test_a_divergence_is_named_and_the_last_good_checkpoint_stays(accelerator, tmp_path, monkeypatch):
    original = gan._Task.generator_loss

    def loss(self, batch):
        values = original(self, batch)
        return values | {"loss": values["loss"] * float("nan")} if batch.step >= 3 else values

    monkeypatch.setattr(gan._Task, "generator_loss", loss)
    with pytest.raises(
        TrainingError, match=r"fc_gan has diverged: generator_loss is nan at step 4 of 6.*checkpoint-2"
    ):
        train_gan(accelerator, CONFIGS["fc_gan"], table(), tmp_path, SEED)
    assert newest_checkpoint(tmp_path).name == "checkpoint-2"
    record = json.loads((tmp_path / "diverged.json").read_text())
    assert record["step"] == 4
    assert [row["step"] for row in record["log"]] == [1, 2, 3]
    assert not (tmp_path / "pipeline").exists()


def test_a_collapse_is_recorded_and_warned_of(accelerator, tmp_path, monkeypatch, caplog):
    class OnePicture(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.shade = torch.nn.Parameter(torch.zeros(()))

        def forward(self, noise, labels):
            return self.shade + torch.zeros(len(labels), 3, 28, 28)

    real = generator_table(table(), 28, 3)
    assert set(DiversityGauge(real, 4, 0)(OnePicture(), 8).values()) == {0.0}
    monkeypatch.setattr(
        gan, "DiversityGauge", lambda *_: lambda *_: {"diversity_dark": 0.1, "diversity_light": 1}
    )
    with caplog.at_level("WARNING"):
        train_gan(accelerator, CONFIGS["fc_gan"], table(), tmp_path, SEED)
    assert "fc_gan has collapsed on dark (0.10)" in caplog.text
    record = json.loads((tmp_path / "diversity.json").read_text())
    assert record["collapsed"] == ["dark"]
    assert collapsed_classes({"diversity_dark": 0.31}, CLASSES, 0.3) == []


def test_draws_as_diverse_as_the_real_images_have_a_ratio_of_one():
    real = generator_table(table(64), 28, 3)

    class Memory(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, noise, labels):
            rows = np.flatnonzero(real.labels == int(labels[0]))[: len(labels)]
            return torch.from_numpy(real.pixels[rows]).permute(0, 3, 1, 2).float() / 127.5 - 1

    ratios = DiversityGauge(real, 24, 0)(Memory(), 8)
    assert list(ratios.values()) == pytest.approx([1, 1], abs=0.1)


def test_settled_statistics_are_those_of_the_weights():
    generator, _ = seeded(CONFIGS["dcgan"].networks, 2)
    labels, noise = np.array([0, 1, 1]), torch.randn(256, 8, generator=torch.Generator().manual_seed(1))
    settle_statistics(generator, 8, labels, 0)
    assert not generator.training
    codes = torch.from_numpy(np.resize(labels, 256))
    settled = generator(noise, codes)
    generator.train()
    torch.testing.assert_close(settled, generator(noise, codes), rtol=0, atol=0.05)
    momenta = {part.momentum for part in generator.modules() if isinstance(part, torch.nn.BatchNorm2d)}
    assert list(momenta) == pytest.approx([0.1])


def test_objectives_are_the_textbook_ones():
    scores = torch.tensor([-1.5, 0.3])
    sure = scores.sigmoid()
    for objective in ("non_saturating", "minimax"):
        torch.testing.assert_close(real_loss(objective, scores), -sure.log().mean())
        torch.testing.assert_close(drawn_loss(objective, scores), -(1 - sure).log().mean())
    torch.testing.assert_close(generator_loss("non_saturating", scores), -sure.log().mean())
    torch.testing.assert_close(generator_loss("minimax", scores), (1 - sure).log().mean())
    torch.testing.assert_close(real_loss("hinge", scores), (2.5 + torch.tensor(0.7)) / 2)
    torch.testing.assert_close(drawn_loss("hinge", scores), torch.tensor(0.65))
    torch.testing.assert_close(generator_loss("hinge", scores), torch.tensor(0.6))


def test_the_penalty_is_zero_for_a_slope_of_one(accelerator):
    config = replace(CONFIGS["sn_dcgan"], gradient_penalty=10.0)
    real = generator_table(table(), 28, 3)
    weight = torch.randn(3 * 28 * 28, generator=torch.Generator().manual_seed(0))

    class Slope(torch.nn.Module):
        def __init__(self, steepness):
            super().__init__()
            self.weight = steepness * weight / weight.norm()

        def forward(self, images, labels):
            return gan.Verdict(images.flatten(1) @ self.weight)

    batch = adversarial_loop.MicroBatch(0, torch.arange(4), torch.arange(4))
    for steepness, expected in ((1.0, 0.0), (3.0, 4.0)):
        task = gan._Task(config, real, torch.nn.Identity(), Slope(steepness), accelerator.device)
        images = torch.zeros(4, 3, 28, 28)
        found = task._penalty(batch, images, images + 0.5, torch.zeros(4, dtype=torch.int64))
        assert float(found) == pytest.approx(expected, abs=1e-4)


def test_settings_and_corpora_that_do_not_fit_are_named(accelerator, tmp_path):
    config = CONFIGS["fc_gan"]
    with pytest.raises(ConfigError, match=r"channels is 3, but the corpus is grey: set it to 1"):
        train_gan(accelerator, config, table(grey=True), tmp_path, SEED)
    with pytest.raises(ConfigError, match=r"channels is 1, but the corpus is in colour"):
        train_gan(accelerator, replace(config, channels=1), table(), tmp_path, SEED)
    one_class = table().select(np.flatnonzero(table().labels == 0))
    with pytest.raises(TrainingError, match="no training image of light"):
        train_gan(accelerator, config, one_class, tmp_path, SEED)
    for change, message in (
        ({"discriminator_steps": 0}, r"gan\.discriminator_steps is 0"),
        ({"adam_beta1": 1.0}, r"gan\.adam_beta1 is 1.0"),
        ({"gradient_penalty": -1.0}, r"gan\.gradient_penalty is -1.0"),
        ({"dropout": 1.0}, r"gan\.dropout is 1.0"),
        ({"channels": 2}, r"gan\.channels is 2"),
        ({"loop": replace(LOOP, steps=0)}, r"gan\.loop\.steps is 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            replace(config, **change).validate("gan.")
    with pytest.raises(ConfigError, match=r"gan\.image_size is 30"):
        replace(CONFIGS["dcgan"], image_size=30).validate("gan.")


def test_published_settings_are_the_defaults():
    for config in (DCGANConfig(), SNDCGANConfig(), AttentionGANConfig(), FullyConnectedGANConfig()):
        config.validate()
    assert (DCGANConfig().image_size, DCGANConfig().latent_size, DCGANConfig().objective) == (
        128,
        100,
        "non_saturating",
    )
    assert (DCGANConfig().loop.learning_rate, DCGANConfig().adam_beta1, DCGANConfig().adam_beta2) == (
        2e-4,
        0.5,
        0.999,
    )
    assert SNDCGANConfig().gradient_penalty == 10
    assert (FullyConnectedGANConfig().loop.learning_rate, FullyConnectedGANConfig().loop.batch_size) == (
        1e-4,
        128,
    )


def test_a_checkpoint_of_other_settings_or_data_is_refused(accelerator, tmp_path):
    train_gan(accelerator, CONFIGS["fc_gan"], table(), tmp_path, SEED)
    for change in ({"latent_size": 9}, {"discriminator_steps": 2}, {"adam_beta1": 0.0}):
        with pytest.raises(TrainingError, match="was written with"):
            train_gan(accelerator, replace(CONFIGS["fc_gan"], **change), table(), tmp_path, SEED)
    with pytest.raises(TrainingError, match="was written with context"):
        train_gan(accelerator, CONFIGS["fc_gan"], table(22), tmp_path, SEED)


def test_the_pipeline_carries_the_averaged_weights_and_the_discriminator_is_kept(accelerator, tmp_path):
    config = CONFIGS["sn_dcgan"]
    averaged = replace(config, loop=replace(LOOP, ema_decay=0.9))
    plain = train_gan(accelerator, config, table(), tmp_path / "plain", SEED)
    smooth = train_gan(accelerator, averaged, table(), tmp_path / "smooth", SEED)
    assert isinstance(plain, SNDCGANPipeline)
    assert not torch.equal(plain.generator.input.weight, smooth.generator.input.weight)
    curves = [json.loads((tmp_path / name / "training_log.json").read_text()) for name in ("plain", "smooth")]
    assert [row["generator_loss"] for row in curves[0]] == [row["generator_loss"] for row in curves[1]]
    kept = [
        DCGANDiscriminator.from_pretrained(tmp_path / name / "discriminator") for name in ("plain", "smooth")
    ]
    assert all(torch.equal(a, b) for a, b in zip(*(module.parameters() for module in kept), strict=True))


def main() -> None:
    """Train until the second checkpoint is half written, or the fourth step has begun, and be killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("moment", choices=["step", "save"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    loss, replace_file = gan._Task.discriminator_loss, os.replace

    def killing_loss(self, batch):
        if args.moment == "step" and batch.step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(self, batch)

    def killing_replace(source, target):
        if Path(target).name == "checkpoint-4":
            os.kill(os.getpid(), signal.SIGKILL)
        replace_file(source, target)

    gan._Task.discriminator_loss = killing_loss
    os.replace = killing_replace
    train_gan(Accelerator(cpu=True), CONFIGS["sn_dcgan"], table(), args.folder, SEED)


if __name__ == "__main__":
    main()


@pytest.mark.parametrize(("rows", "steps"), [(89_996, 140_619), (7_007, 10_949), (546, 854)])
def test_epochs_fit_the_corpus(rows: int, steps: int) -> None:
    """PathMNIST, DermaMNIST and BreastMNIST: 140,700 steps for all were 1,285 epochs of DermaMNIST."""
    config = AttentionGANConfig(epochs=100).settled(rows, 3, 1)
    assert (config.loop.steps, config.loop.seed) == (steps, 3)
    twice = replace(AttentionGANConfig(epochs=100), discriminator_steps=2).settled(rows, 3, 2)
    assert twice.loop.steps == math.ceil(100 * rows / 256)
    assert AttentionGANConfig().settled(rows, 3, 1).loop.steps == AttentionGANConfig().loop.steps
