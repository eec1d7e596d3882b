"""Batch norm that has statistics of its own for synthetic rows."""

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from accelerate import Accelerator
from datasets import Dataset
from torch import nn

from skindiff.classification.classifier_config import architecture_of
from skindiff.classification.networks import build_classifier, has_batch_norm, load_classifier
from skindiff.classification.own_statistics import TwoNorms, join_norms, rows_are, split_norms
from skindiff.corpora.splits import Split
from tests.classification.engine import PLAIN, SMALL, drawn_from, make_corpus, make_experiment, make_split


@pytest.mark.parametrize("rows", [[1, 0, 1, 0, 0, 1], [0] * 6, [1] * 6])
def test_each_kind_is_normalised_by_its_own(rows: list[int]) -> None:
    torch.manual_seed(0)
    images, synthetic = torch.randn(6, 3, 4, 4), torch.tensor(rows).bool()
    images[synthetic] = 5 + 3 * images[synthetic]
    norm = nn.Sequential(nn.BatchNorm2d(3))
    split_norms(norm)
    with rows_are(norm, synthetic):
        seen = norm.train()(images).detach()
    for kind in (synthetic, ~synthetic):
        if kind.any():
            assert seen[kind].mean((0, 2, 3)).abs().max() < 1e-5
            assert seen[kind].std((0, 2, 3), unbiased=False) == pytest.approx(torch.ones(3), abs=1e-3)
            assert torch.allclose(seen[kind], nn.BatchNorm2d(3)(images[kind]), atol=1e-6)  # in the same order
    both = norm[0]
    assert isinstance(both, TwoNorms)
    assert int(both.real.num_batches_tracked) == int((~synthetic).any())
    assert int(both.other.num_batches_tracked) == int(synthetic.any())
    expected = both.real.eval()(images)
    with rows_are(norm.eval(), synthetic):
        assert torch.equal(norm(images), expected)  # asked, all are real
    join_norms(norm)
    assert type(norm[0]) is nn.BatchNorm2d
    assert torch.equal(norm(images), expected)


@pytest.mark.parametrize("rows", [[1, 0, 0, 0], [0, 1, 1, 1]])
def test_a_lone_row_at_one_place_takes_the_statistics_of_others(rows: list[int]) -> None:
    synthetic = torch.tensor(rows).bool()
    network = timm.create_model("resnet18", num_classes=2).train()  # one place is left of 32 px
    split_norms(network)
    with rows_are(network, synthetic):
        network(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert all(
        torch.isfinite(weight.grad).all() for weight in network.parameters() if weight.grad is not None
    )
    norm = nn.Sequential(nn.BatchNorm1d(3))
    split_norms(norm)
    images = torch.randn(4, 3)
    with rows_are(norm, synthetic):
        seen, alone = norm.train()(images).detach(), torch.tensor(rows) == int(sum(rows) == 1)
        assert torch.allclose(seen[alone], images[alone], atol=1e-4)  # mean 0, variance 1 so far
        norm(images)
        others = norm[0].other if sum(rows) > 1 else norm[0].real
        assert int(others.num_batches_tracked) == 2  # which go on learning
    for kind in (True, False):  # as does each in a micro-batch of one kind that follows
        with rows_are(norm, torch.full((4,), kind)):
            norm(images)
    assert (int(norm[0].other.num_batches_tracked), int(norm[0].real.num_batches_tracked)) == (
        3 if sum(rows) > 1 else 1,
        3 if sum(rows) == 1 else 1,
    )


def test_gradients_flow_to_both_and_to_the_images() -> None:
    network = timm.create_model("resnet10t", num_classes=2)
    split_norms(network)
    images = torch.randn(4, 3, 32, 32, requires_grad=True)
    with rows_are(network, torch.tensor([True, False, True, False])):
        network.train()(images).square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum((1, 2, 3)).min() > 0
    assert all(weight.grad is not None for weight in network.parameters())
    join_norms(network)
    names = set(timm.create_model("resnet10t", num_classes=2).state_dict())
    assert set(network.state_dict()) == names


def test_an_arm_is_kept_and_loaded_as_any_network(tmp_path: Path) -> None:
    corpus = make_corpus()
    split: Split = make_split(corpus)
    loop = replace(PLAIN.loop, steps=4, checkpoint_every=1)
    config = replace(
        SMALL,
        arms=["real+syn", "real+syn+own_statistics"],
        classifier=replace(PLAIN, keep_weights=True, selection="none", loop=loop),
    )
    assert has_batch_norm(architecture_of(config.classifier, ("a", "b")))
    study = make_experiment(tmp_path, Accelerator(cpu=True), config, corpus, split)
    synthetic: Dataset = drawn_from(corpus, split.train, tmp_path)  # type: ignore[assignment]
    cells = study.cells(synthetic)  # type: ignore[arg-type]
    assert cells[0].probabilities.tobytes() != cells[1].probabilities.tobytes()
    folder = next((tmp_path / "stages").glob("cell-real-syn-own_statistics-*"))
    kept = load_classifier(folder)
    fresh = build_classifier(kept.architecture, pretrained=False, weights=None, seed=0)
    assert set(kept.state_dict()) == set(fresh.state_dict())
