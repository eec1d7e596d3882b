"""Epochs, selection, grey images, oversampling, watched tests, and keys that old runs keep."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torchvision.transforms import v2

from skindiff.classification import fine_tuning
from skindiff.classification.classifier_config import (
    ClassifierConfig,
    epoch_settings,
    pass_sizes,
    settings_of,
)
from skindiff.classification.fine_tuning import (
    _classification_loss,
    _loss_weights,
    _network,
    _sampler,
    train_classifier,
)
from skindiff.classification.prediction import predict
from skindiff.classification.synthetic_use import ALIKE, SyntheticUse
from skindiff.corpora.image_table import ImageTable
from skindiff.errors import ConfigError
from skindiff.seeding import numpy_generator
from skindiff.training.augmentation import HUE, SHARPNESS, Augmenter
from skindiff.training.balancing import oversampled_rows
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


@pytest.mark.parametrize("balance", ["none", "class", "oversample"])
def test_an_epoch_shows_every_image_once_and_a_hundred_a_hundred_times(balance) -> None:
    images = table((9, 5, 4))
    config = epoch_settings(
        replace(SHORT, balance=balance, epochs=100), 27 if balance == "oversample" else 18, 1
    )
    sampler = _sampler(config, images, ALIKE, 1)
    shown = np.concatenate([sampler(step) for step in range(config.loop.steps)])
    assert len(shown) == 100 * (27 if balance == "oversample" else 18)
    counts = np.bincount(shown, minlength=18)
    if balance == "none":
        assert set(counts) == {100}
    else:
        by_class = [counts[images.labels == code].sum() / len(shown) for code in range(3)]
        assert by_class == pytest.approx([1 / 3] * 3, abs=0.05)


def test_watched_tests_are_scored_and_change_nothing(accelerator, tmp_path) -> None:
    sets = (table((9, 5, 3)), table((2, 2, 2), 50))
    watched = {"all": table((4, 4, 4), 90), "one class": table((3, 0, 0), 190)}
    plain = train_classifier(accelerator, SHORT, *sets, CLASSES, tmp_path / "a", SEED)
    seen = train_classifier(accelerator, SHORT, *sets, CLASSES, tmp_path / "b", SEED, watched)
    assert np.array_equal(*(predict(accelerator, model, watched["all"]) for model in (plain, seen)))
    log = log_of(tmp_path / "b")
    assert [row["step"] for row in log if "test_all_accuracy" in row] == [2, 4]
    assert 0 <= log[-1]["test_all_auroc"] <= 1
    assert "test_one class_accuracy" in log[-1]
    assert "test_one class_auroc" not in log[-1]
    stripped = [{name: row[name] for name in row if not name.startswith("test_")} for row in log]
    assert stripped == log_of(tmp_path / "a")
    train_classifier(accelerator, SHORT, sets[0], None, CLASSES, tmp_path / "c", SEED, watched)
    assert "test_all_accuracy" in log_of(tmp_path / "c")[-1]


@pytest.mark.parametrize(("selection", "best"), [("accuracy", 1), ("balanced_accuracy", 0), ("loss", 2)])
def test_weights_are_kept_by_the_score_that_is_asked_for(
    accelerator, tmp_path, monkeypatch, selection, best
) -> None:
    accuracy, balanced, loss = (0.1, 0.9, 0.2), (0.8, 0.1, 0.2), (3.0, 2.0, 1.0)
    weights: list[torch.Tensor] = []

    def scored(_accelerator, model, _judged):
        weights.append(model.network.head.weight.detach().clone())
        turn = len(weights) - 1
        return {
            "validation_loss": loss[turn],
            "validation_accuracy": accuracy[turn],
            "validation_balanced_accuracy": balanced[turn],
        }

    monkeypatch.setattr(fine_tuning, "validation_scores", scored)
    config = replace(SHORT, selection=selection, epochs=3)
    sets = (table((4, 2, 2)), table((1, 1, 1), 50))
    model = train_classifier(accelerator, config, *sets, CLASSES, tmp_path, SEED)
    assert torch.equal(model.network.head.weight, weights[best])


def test_oversampling_repeats_every_row_of_a_class_alike(accelerator, tmp_path) -> None:
    labels = np.array([0] * 7 + [1] * 3 + [2])
    rows = oversampled_rows(labels, 1)
    assert np.bincount(labels[rows]).tolist() == [7, 7, 7]
    counts = np.bincount(rows, minlength=11)
    assert set(counts[:7]) == {1}
    assert sorted(counts[7:10]) == [2, 2, 3]
    assert np.array_equal(rows, oversampled_rows(labels, 1))
    config = replace(SHORT, balance="oversample", epochs=1)
    train_classifier(accelerator, config, table((7, 3, 1)), None, CLASSES, tmp_path, SEED)
    assert len(log_of(tmp_path)) == 3  # 21 rows in batches of 8
    sampler = fine_tuning._sampler(config, table((7, 3, 1)), ALIKE, 1)
    drawn = np.concatenate([sampler(step) for step in range(21)])
    assert np.bincount(labels[drawn]).tolist() == [49, 49, 49]  # seven passes of 8, 8 and 5 rows


def test_one_channel_is_for_grey_images(accelerator, tmp_path) -> None:
    config = replace(SHORT, channels=1, epochs=1)
    colour = table((3, 3, 3))
    assert grey(colour).grey
    model = train_classifier(accelerator, config, grey(colour), None, CLASSES, tmp_path / "grey", SEED)
    assert model.network.blocks[0][0].in_channels == 1
    assert np.array_equal(predict(accelerator, model, colour), predict(accelerator, model, grey(colour)))
    with pytest.raises(ConfigError, match="channels is 1, and the training images are in colour"):
        train_classifier(accelerator, config, colour, None, CLASSES, tmp_path / "colour", SEED)


def test_settings_that_came_later_key_nothing_while_they_are_not_used() -> None:
    usual = settings_of(ClassifierConfig())
    assert {"channels", "epochs", "selection"} == set(asdict(ClassifierConfig())) - set(usual)
    assert list(usual) == [
        "preset", "architecture", "pretrained", "weights", "image_size", "augment", "colour_jitter",
        "balance", "head", "dropout", "trainable", "published_epochs", "keep_weights", "loop",
    ]  # fmt: skip
    assert settings_of(ClassifierConfig(epochs=3))["epochs"] == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, r"c\.epochs is 0: set it to at least 1, or to null"),
        ({"channels": 2}, r"c\.channels is 2: set it to 1 \(grey\) or 3"),
        ({"pretrained": True}, r"c\.pretrained is true, and there are no weights of lesion_detector"),
    ],
)
def test_settings_that_cannot_work_are_named(change, message) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SHORT, **change).validate("c.")


@pytest.mark.parametrize("position", range(6))
def test_the_view_of_s3_is_torchvisions(position: int) -> None:
    """Sharpness, autocontrast and mirroring with probability one half each, then the hue."""
    image = torch.from_numpy(table((1, 0, 0), start=position).pixels).permute(0, 3, 1, 2).float() / 255
    view = Augmenter("medmnist", 32, 0.0, SEED)(image, 5, torch.tensor([position]))
    sharpen, stretch, mirror, hue = numpy_generator("augment", SEED, 5, position).random(28)[:4]
    wanted = v2.functional.adjust_sharpness(image, SHARPNESS) if sharpen < 0.5 else image
    wanted = v2.functional.autocontrast(wanted) if stretch < 0.5 else wanted
    wanted = wanted.flip(-1) if mirror < 0.5 else wanted
    wanted = v2.functional.adjust_hue(wanted, HUE * (2 * hue - 1))
    torch.testing.assert_close(view, wanted, atol=2e-5, rtol=0)


def test_the_view_of_s3_leaves_grey_images_grey() -> None:
    images = torch.rand(8, 1, 16, 16).expand(-1, 3, -1, -1)
    view = Augmenter("medmnist", 16, 0.0, SEED)(images, 0, torch.arange(8))
    assert torch.equal(view[:, 0], view[:, 1])
    assert not torch.equal(view, images)


@pytest.mark.parametrize("changes", [{"epochs": 2}, {"epochs": None}, {"balance": "class"}])
def test_equal_exposure_shows_the_batches_of_real_and_as_many_added_images(
    changes, accelerator, tmp_path
) -> None:
    config = replace(SHORT, loop=replace(SHORT.loop, steps=4, batch_size=8, seed=SEED), **changes)
    real, more = table((9, 5, 3)), table((9, 5, 3, 12, 2))
    images = replace(more, labels=more.labels % 3, class_names=tuple(CLASSES))
    use = SyntheticUse(equal_exposure=True, real=len(real))
    own, both = _sampler(config, real, ALIKE, 1), _sampler(config, images, use, 1)
    shown = []
    for step in range(6):
        rows = both(step)
        assert np.array_equal(rows[rows < len(real)], own(step))
        assert (rows >= len(real)).sum() == min(len(own(step)), 8)  # 9 where a last row joined
        shown += rows[rows >= len(real)].tolist()
    assert len(set(shown)) > 8
    folders = [tmp_path / name for name in ("real", "both")]
    train_classifier(accelerator, config, real, None, CLASSES, folders[0], SEED)
    train_classifier(accelerator, config, images, None, CLASSES, folders[1], SEED, use=use)
    assert len(log_of(folders[0])) == len(log_of(folders[1]))  # as many steps, whatever is added


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
