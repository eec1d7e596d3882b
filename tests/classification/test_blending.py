"""Images that are part real and part synthetic."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch.nn import functional

from skindiff.classification.blending import Blending, Drawn
from skindiff.classification.fine_tuning import _classification_loss, _network
from skindiff.classification.probe import ProbeConfig, ProbeRows, _parts, fit_probe
from skindiff.classification.probing import BLENDS, _blended, feature_store
from skindiff.classification.synthetic_use import SyntheticUse
from skindiff.corpora.image_table import ImageTable
from skindiff.training.loop import MicroBatch
from tests.classification.engine import PLAIN, SMALL, drawn_from, make_corpus, make_experiment, make_split
from tests.classification.test_fine_tuning import CLASSES, table


def test_partners_are_of_the_other_kind_and_follow_from_the_key() -> None:
    blending = Blending("mixup", 0.4, real=6, count=10)
    rows = np.tile(np.arange(10), 200)
    drawn = blending.draw(rows, np.arange(2000), "key", 3)
    assert set(drawn.rows[rows < 6]) == {6, 7, 8, 9}
    assert set(drawn.rows[rows >= 6]) == set(range(6))
    assert drawn.shares.mean() == pytest.approx(0.5, abs=0.03)
    assert np.mean((drawn.shares < 0.1) | (drawn.shares > 0.9)) > 0.4  # a small alpha draws mostly one
    again = blending.draw(rows[5:9], np.arange(5, 9), "key", 3)
    assert np.array_equal(again.rows, drawn.rows[5:9])
    assert np.array_equal(again.shares, drawn.shares[5:9])
    assert not np.array_equal(blending.draw(rows, np.arange(2000), "key", 4).shares, drawn.shares)


def test_mixup_adds_pixels_and_cutmix_pastes_a_box_of_the_share_it_says() -> None:
    images, others = torch.zeros(3, 3, 40, 60), torch.ones(3, 3, 40, 60)
    drawn = Drawn(np.arange(3), np.array([0.75, 0.0, 1.0]), np.array([[0.5, 0.5], [0.5, 0.5], [0.1, 0.9]]))
    mixed, shares = Blending("mixup", 1.0, 3, 6).blend(images, others, drawn)
    assert mixed.mean((1, 2, 3)) == pytest.approx(torch.tensor([0.25, 1.0, 0.0]))
    assert shares.tolist() == [0.75, 0.0, 1.0]
    pasted, shares = Blending("cutmix", 1.0, 3, 6).blend(images, others, drawn)
    assert pasted[0, :, 10:30, 15:45].min() == 1
    assert pasted[0].sum() == 3 * 20 * 30
    assert 1 - pasted.mean((1, 2, 3)) == pytest.approx(shares)
    assert shares.tolist() == [0.75, 0.0, 1.0]
    rim = Drawn(np.arange(1), np.array([0.75]), np.array([[0.0, 0.0]]))
    pasted, shares = Blending("cutmix", 1.0, 1, 2).blend(images[:1], others[:1], rim)
    assert shares.item() == pytest.approx(1 - 0.25 / 4)  # a quarter of the box lies inside
    assert pasted[0].mean() == pytest.approx(0.25 / 4)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_network_learns_both_labels_by_their_shares(kind: str) -> None:
    config = replace(PLAIN, architecture="test_vit", image_size=160)
    images, rows = table((4, 3, 3)).resized(160), torch.arange(10)
    blending = Blending(kind, 1.0, 6, 10)  # type: ignore[arg-type]
    model = _network(config, CLASSES).eval()
    loss = _classification_loss(config, images, torch.device("cpu"), SyntheticUse(blending=blending, real=6))
    found = loss(model, MicroBatch(2, rows, rows))
    drawn = blending.draw(rows.numpy(), rows.numpy(), "classifier", config.loop.seed, 2)
    pixels = torch.from_numpy(images.pixels).permute(0, 3, 1, 2).float() / 255
    seen, shares = blending.blend(pixels, pixels[drawn.rows], drawn)
    labels = torch.from_numpy(images.labels)
    soft = shares[:, None] * functional.one_hot(labels, 3)
    soft += (1 - shares[:, None]) * functional.one_hot(labels[drawn.rows], 3)
    assert found.item() == pytest.approx(functional.cross_entropy(model(seen), soft).item(), rel=1e-4)


def test_a_probe_is_fitted_on_blends_and_judged_by_plain_images(tmp_path: Path) -> None:
    corpus = make_corpus()
    split = make_split(corpus)
    study = make_experiment(tmp_path, Accelerator(cpu=True), SMALL, corpus, split).study
    real, added = study.train, drawn_from(corpus, split.train, tmp_path).dataset
    images = ImageTable.from_dataset(real)
    count = len(real)
    both = ImageTable(
        np.concatenate([images.pixels, ImageTable.from_dataset(added).pixels]),
        np.concatenate([images.labels, np.array(added["label"])]),
        images.values * 2,
        images.class_names,
    )
    config = ProbeConfig(image_size=32)
    store = feature_store(study, "probe:lite0", config)
    groups = [*real["group_id"], *added["group_id"]]
    judges = np.repeat([1.0, 0.0], [count, count])
    plain = ProbeRows(store(both), both.labels, groups, np.ones(2 * count), judges, float(count))
    rows = _blended(store, both, plain, Blending("mixup", 1.0, count, 2 * count), 0)
    assert len(rows.labels) == 2 * count * (1 + 2 * BLENDS)
    assert rows.weights[: 2 * count].sum() == 0
    assert rows.weights.sum() == pytest.approx(2 * count)  # each row once, whatever it is blended with
    assert rows.judges[2 * count :].sum() == 0
    for kept, left in _parts(config, rows, 0):
        gone = {rows.groups[row] for row in left if rows.judges[row] > 0}
        assert not gone & {rows.groups[row] for row in kept}
        assert not gone & {rows.others[row] for row in kept}  # nor is a left-out image part of a blend
    probe = fit_probe(config, rows, 2, 0)
    assert np.isfinite(probe.weight).all()
