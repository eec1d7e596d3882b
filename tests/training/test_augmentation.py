from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from skindiff.classification import fine_tuning
from skindiff.classification.classifier_config import ClassifierConfig
from skindiff.classification.synthetic_use import ALIKE
from skindiff.seeding import numpy_generator
from skindiff.training.augmentation import CROP_TRIES, Augmenter, centre_images, crop_boxes, working_size
from skindiff.training.balancing import balancing_weights, drawing_rates
from skindiff.training.loop import LoopConfig
from tests.classification.test_fine_tuning import SEED, SIZE, table


def test_balancing():
    images = table((6, 3, 1))
    by_class = balancing_weights(images, "class")
    assert np.bincount(images.labels, weights=by_class) == pytest.approx([1, 1, 1])
    by_both = balancing_weights(images, "class_and_attribute")
    groups = {(label, tone) for label, tone in zip(images.labels, images.values, strict=True)}
    assert by_both.sum() == pytest.approx(len(groups))
    assert balancing_weights(images, "none") is None


@pytest.mark.parametrize("balance", ["none", "class", "class_and_attribute", "oversample"])
def test_drawing_rates_are_what_a_sampler_shows(balance):
    images = table((6, 3, 1))
    config = ClassifierConfig(architecture="lite0", balance=balance, loop=LoopConfig(steps=1, batch_size=4))
    sampler = fine_tuning._sampler(config, images, ALIKE, 1)
    shown = np.bincount(np.concatenate([sampler(step) for step in range(3000)]), minlength=len(images))
    rates = drawing_rates(images, balance, config.loop.seed)
    assert shown / shown.sum() == pytest.approx(rates / rates.sum(), abs=0.01)


def smooth(size: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    return torch.stack([x, y, 0.5 + 0.4 * torch.sin(5 * x + 3 * y)])[None]


@pytest.mark.parametrize("augment", ["geometric", "published", "flip"])
def test_views_depend_on_their_own_key_only(augment):
    augmenter = Augmenter(augment, SIZE, 0.2, SEED)
    images = smooth(working_size(SIZE, augment)).expand(8, -1, -1, -1)
    together = augmenter(images, 3, torch.arange(8))
    assert together.shape == (8, 3, SIZE, SIZE)
    assert together.min() >= 0
    assert together.max() <= 1
    assert torch.equal(augmenter(images[:4], 3, torch.arange(4, 8)), together[4:])
    assert not torch.equal(augmenter(images, 4, torch.arange(8)), together)
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(replace(augmenter, seed=8)(images, 3, torch.arange(8)), together)


def test_randaugment_is_keyed_by_row_and_step() -> None:
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    augmenter = Augmenter("randaugment", 32, 0.0, 7)
    whole = augmenter(images, 3, torch.arange(6))
    assert whole.shape == images.shape
    assert whole.min() >= 0
    assert whole.max() <= 1
    assert torch.equal(whole[2:4], augmenter(images[2:4], 3, torch.arange(2, 4)))
    assert not torch.equal(whole, augmenter(images, 4, torch.arange(6)))
    state = torch.get_rng_state()
    augmenter(images, 5, torch.arange(6))
    assert torch.equal(state, torch.get_rng_state())


def test_no_augmentation_changes_nothing():
    images = smooth(SIZE)
    assert torch.equal(Augmenter("none", SIZE, 0.0, SEED)(images, 0, torch.arange(1)), images)


@pytest.mark.parametrize("position", [2, 4, 5, 7])  # of which 4 and 7 are mirrored
def test_the_paper_view_is_torchvisions(position):
    """Crop, resize, rotate, flip and cut one after the other, with the same random numbers."""
    size, step = 56, 2
    width = working_size(size, "published")  # 64
    view = Augmenter("published", size, 0.0, SEED)(smooth(width), step, torch.tensor([position]))[0]
    draws = numpy_generator("augment", SEED, step, position).random(2 * CROP_TRIES + 8)
    centre, half = crop_boxes(torch.from_numpy(draws[None]))
    left, top = ((centre - half)[0] + 1) / 2 * width
    grid = [float(left), float(top), *(float(part) * width for part in half[0])]
    # Resampling a smooth picture at fractional boxes: shift and scale as an affine map by hand.
    x = (torch.arange(width) + 0.5) / width * grid[2] + grid[0]
    y = (torch.arange(width) + 0.5) / width * grid[3] + grid[1]
    u, v = (x - 0.5) / (width - 1), (y - 0.5) / (width - 1)
    v, u = torch.meshgrid(v, u, indexing="ij")
    frame = torch.stack([u, v, 0.5 + 0.4 * torch.sin(5 * u + 3 * v)])
    # The angle that turns the sampling grid turns the picture the other way, as torchvision counts.
    angle = 15 * (2 * draws[-6] - 1)
    frame = v2.functional.rotate(frame, angle, interpolation=v2.InterpolationMode.BILINEAR)
    if draws[-5] < 0.5:
        frame = v2.functional.horizontal_flip(frame)
    expected = v2.functional.center_crop(frame, [size, size])
    inside = (expected > 0).all(0) & (view > 0).all(0)
    assert inside.float().mean() > 0.9
    error = (expected - view)[:, inside].abs()
    assert error.mean() < 0.01


def test_crop_boxes_are_distributed_as_torchvisions():
    draws = torch.from_numpy(np.random.default_rng(0).random((4000, 2 * CROP_TRIES + 2)))
    centre, half = crop_boxes(draws)
    assert ((centre.abs() + half) <= 1 + 1e-9).all()
    torch.manual_seed(0)
    transform = v2.RandomResizedCrop(256, scale=(0.8, 1.0))
    reference = [transform.make_params([torch.zeros(3, 512, 512)]) for _ in range(2000)]
    heights = np.array([row["height"] for row in reference]) / 512
    widths = np.array([row["width"] for row in reference]) / 512
    assert float(half[:, 0].mean()) == pytest.approx(widths.mean(), abs=0.005)
    assert float(half.prod(1).mean()) == pytest.approx((heights * widths).mean(), abs=0.005)
    assert float(half.prod(1).std()) == pytest.approx((heights * widths).std(), abs=0.005)
    tops = np.array([row["top"] for row in reference]) / 512
    mine = (centre[:, 1] - half[:, 1] + 1) / 2
    assert float(mine.mean()) == pytest.approx(tops.mean(), abs=0.005)


def test_what_lies_outside_is_black_for_the_paper_and_mirrored_by_default():
    white = torch.ones(64, 3, SIZE, SIZE)
    positions = torch.arange(64)
    assert Augmenter("geometric", SIZE, 0.0, 0)(white, 0, positions).min() > 0.999
    width = working_size(SIZE, "published")
    views = Augmenter("published", SIZE, 0.0, 0)(torch.ones(64, 3, width, width), 0, positions)
    assert views.min() == 0
    assert (views == 1).float().mean() > 0.95


def test_testing_sees_the_centre_that_the_paper_keeps():
    assert working_size(224, "published") == 256
    assert working_size(224, "geometric") == 224
    images = torch.rand(2, 3, 256, 256)
    assert torch.equal(centre_images(images, 224, "published"), v2.functional.center_crop(images, [224, 224]))
    assert torch.equal(centre_images(images, 256, "none"), images)
