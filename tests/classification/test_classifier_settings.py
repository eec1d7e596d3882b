"""Epochs, selection, grey images, oversampling, watched tests, and keys that old runs keep."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from skindiff.classification.classifier_config import (
    ClassifierConfig,
    epoch_settings,
    pass_sizes,
)
from skindiff.classification.fine_tuning import (
    _classification_loss,
    _loss_weights,
    _network,
    _sampler,
    train_classifier,
)
from skindiff.classification.synthetic_use import SyntheticUse
from skindiff.corpora.image_table import ImageTable
from skindiff.training.loop import MicroBatch
from skindiff.training.loop_config import LoopConfig
from tests.classification.test_fine_tuning import CLASSES, SEED, table

SHORT = ClassifierConfig(
    architecture="lesion_detector",
    image_size=32,
    augment="none",
    balance="none",
    epochs=2,
    loop=LoopConfig(steps=1, batch_size=8, learning_rate=1e-3),
)


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def grey(images: ImageTable) -> ImageTable:
    return replace(images, pixels=np.repeat(images.pixels[..., :1], 3, axis=-1))


def log_of(folder) -> list[dict[str, float]]:
    return json.loads((folder / "training_log.json").read_text())


def test_epochs_are_passes_over_the_images_judged_after_each(accelerator, tmp_path) -> None:
    train_classifier(accelerator, SHORT, table((9, 5, 3)), table((2, 2, 2), 50), CLASSES, tmp_path, SEED)
    log = log_of(tmp_path)
    # 17 images in batches of 8 and 9, twice: there is batch norm, and a single image would have no spread.
    assert [row["step"] for row in log] == [1, 2, 3, 4]
    assert [row["step"] for row in log if "validation_loss" in row] == [2, 4]
    two = epoch_settings(replace(SHORT, loop=replace(SHORT.loop, warmup_steps=9)), rows=21, processes=2)
    assert (two.loop.steps, two.loop.validate_every, two.loop.warmup_steps) == (4, 2, 4)
    assert pass_sizes(SHORT, 21, 2) == [16, 5]
    assert pass_sizes(SHORT, 19, 2) == [19]
    plain = replace(SHORT, architecture="test_vit", image_size=160)
    assert pass_sizes(plain, 17, 1) == [8, 8, 1]
    assert epoch_settings(replace(SHORT, epochs=None), 17, 1) == replace(SHORT, epochs=None)


@pytest.mark.parametrize("balance", ["none", "class", "class_and_attribute", "oversample"])
def test_added_rows_have_their_share_of_the_loss_however_often_they_are_drawn(balance: str) -> None:
    config = replace(SHORT, balance=balance, loop=replace(SHORT.loop, steps=1, batch_size=50, seed=SEED))
    images, real = table((19, 8, 26)), 30
    images = replace(images, values=tuple("ab"[row % 3 == 0] for row in range(len(images))))
    order = np.random.default_rng(0).permutation(len(images))  # all classes among real and added rows
    images, use = images.select(order), SyntheticUse(share=0.2, real=real)
    weights = _loss_weights(config, images, use)
    sampler = _sampler(config, images, use, 1)
    drawn = np.concatenate([sampler(step) for step in range(3000)])
    counted = np.bincount(drawn, weights[drawn]) / len(drawn)
    assert counted.sum() == pytest.approx(1, abs=0.01)
    assert counted[real:].sum() == pytest.approx(0.2, abs=0.005)
    if balance != "none":  # which the classes keep, as without weights
        assert np.bincount(images.labels, counted) == pytest.approx(1 / 3, abs=0.01)


def test_images_of_no_weight_have_no_gradient() -> None:
    config = replace(SHORT, architecture="test_vit", image_size=160)  # no batch norm, which mixes rows
    images = table((4, 3, 3)).resized(160)
    model = _network(config, CLASSES).train()
    batch = torch.arange(10)

    def gradients(rows: torch.Tensor, share: float | None) -> list[torch.Tensor]:
        model.zero_grad()
        use = SyntheticUse(share=share, real=6)
        loss = _classification_loss(config, images, torch.device("cpu"), use)
        loss(model, MicroBatch(0, rows, rows)).backward()
        return [weight.grad.clone() for weight in model.parameters()]

    for whole, real in zip(gradients(batch, 0.0), gradients(batch[:6], None), strict=True):
        torch.testing.assert_close(whole, real, rtol=1e-4, atol=1e-6)
    shares = gradients(batch, 0.3)
    parts = (gradients(batch[:6], None), gradients(batch[6:], None))
    for whole, real, added in zip(shares, *parts, strict=True):
        torch.testing.assert_close(whole, 0.7 * real + 0.3 * added, rtol=1e-4, atol=1e-6)
