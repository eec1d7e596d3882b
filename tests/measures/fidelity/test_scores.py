import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from skindiff.corpora.attribute import Attribute
from skindiff.corpora.image_table import ImageTable
from skindiff.errors import ConfigError
from skindiff.measures.features import FeatureConfig, FeatureNetwork, load_feature_network
from skindiff.measures.fidelity.manifold import manifold_intervals, manifold_shares
from skindiff.measures.fidelity.scores import (
    FidelityConfig,
    feature_scores,
    kid_difference,
    kid_replicates,
    score_fidelity,
)

pytest.importorskip("torch_fidelity")
SCORES = ("fid", "kid", "precision", "recall", "density", "coverage")
CONFIG = FidelityConfig(replicates=200)


def _normal(count: int, shift: float = 0.0, seed: int = 0) -> torch.Tensor:
    return torch.randn((count, 6), generator=torch.Generator().manual_seed(seed)) + shift


def _table(count: int, brightness: int, seed: int = 0) -> ImageTable:
    pixels = np.random.default_rng(seed).integers(0, 100, (count, 16, 16, 3)) + brightness
    labels = np.arange(count, dtype=np.int64) % 2
    return ImageTable(pixels.astype(np.uint8), labels, (None,) * count, ("one", "two"))


def _means() -> FeatureNetwork:
    """Mean colours and their spread: features that a test can foresee."""

    def forward(images: torch.Tensor) -> torch.Tensor:
        flat = images.float().flatten(2) / 255
        return torch.cat((flat.mean(2), flat.std(2)), dim=1) * 50

    return FeatureNetwork("means", forward, torch.device("cpu"), 7)


def test_scores_order_sets_by_their_distance_from_the_real_ones() -> None:
    real = _normal(300)

    same, near, far = (feature_scores(real, _normal(250, shift, seed=1), CONFIG) for shift in (0.0, 0.3, 3.0))

    ends = {f"{name}_{end}" for name in SCORES if name != "fid" for end in ("low", "high")}
    assert set(same) == {*SCORES, *ends}
    assert same["fid"] < near["fid"] < far["fid"]
    assert same["kid"] < near["kid"] < far["kid"]
    assert same["kid_low"] < 0 < same["kid_high"]
    assert far["kid_low"] > 0
    for name in ("precision", "recall", "density", "coverage"):
        assert same[name] > 0.8
        assert far[name] < 0.3


def test_fid_of_two_normal_sets_is_the_distance_of_their_means() -> None:
    real = _normal(1500)
    assert feature_scores(real, real + 2.0, CONFIG)["fid"] == pytest.approx(6 * 4.0, rel=0.05)


def test_kid_follows_the_number_of_images_and_agrees_with_the_library() -> None:
    real, generated = _normal(40), _normal(40, 0.5, seed=1)

    scores = feature_scores(real, generated, CONFIG)

    assert scores["kid"] == pytest.approx(kid_replicates(real, [generated], 0, 0)[0, 0], rel=1e-6)
    assert scores["kid_low"] < scores["kid"] < scores["kid_high"]
    assert scores == feature_scores(real, generated, CONFIG)


def test_the_interval_of_a_difference_covers_nothing_and_something() -> None:
    real, first, second = _normal(200), _normal(200, seed=1), _normal(200, seed=2)

    difference, low, high = kid_difference(real, first, second, replicates=300)
    assert low < 0 < high
    assert low < difference < high
    difference, low, high = kid_difference(real, first + 1.0, second, replicates=300)
    assert 0 < low < difference < high
    assert kid_difference(real, first, first)[:3] == (0.0, 0.0, 0.0)


def test_density_and_coverage_by_hand() -> None:
    real = np.array([[0.0], [1.0], [3.0], [10.0]])
    # Balls of the nearest neighbour: around 0 and 1 of radius 1, around 3 of 2, around 10 of 7.
    shares = manifold_shares(real, np.array([[0.5], [4.0]]), 1)
    # 0.5 lies in those of 0 and 1, 4 in those of 3 and 10.
    assert shares["density"].tolist() == [2.0, 2.0]
    assert shares["coverage"].tolist() == [1.0, 1.0, 1.0, 1.0]
    far = manifold_shares(real, np.array([[100.0], [101.0]]), 1)
    assert (far["density"].sum(), far["coverage"].sum(), far["precision"].sum()) == (0.0, 0.0, 0.0)


def test_shares_of_images_are_the_librarys_scores_and_intervals_cover_them() -> None:
    real, generated = _normal(120), _normal(90, 0.8, seed=1)
    found = feature_scores(real, generated, CONFIG)
    shares = manifold_shares(real.double().numpy(), generated.double().numpy(), CONFIG.neighbours)
    for name in ("precision", "recall"):
        assert shares[name].mean() == pytest.approx(found[name])
    for name, (low, high) in manifold_intervals(shares, 500, 0).items():
        assert low < found[name] < high
        assert (found[f"{name}_low"], found[f"{name}_high"]) == pytest.approx((low, high), abs=0.05)


def test_fids_interval_covers_the_distance_of_the_populations() -> None:
    covered = 0
    for seed in range(10):
        real, generated = _normal(400, seed=2 * seed), _normal(400, 1.0, seed=2 * seed + 1)
        found = feature_scores(real, generated, replace(CONFIG, fid_replicates=60), seed=seed)
        covered += found["fid_low"] <= 6.0 <= found["fid_high"]
    assert covered >= 8


def test_few_images_are_scored_with_a_warning_and_by_group(caplog: pytest.LogCaptureFixture) -> None:
    real, generated = _table(30, 50), _table(24, 90, seed=1)
    config = replace(CONFIG, by=["class", "attribute"], neighbours=3)

    with caplog.at_level(logging.WARNING):
        found = score_fidelity(_means(), real, generated, config)

    assert "below 2048 FID is biased" in caplog.text
    assert found.warning is not None
    assert found.warning.startswith("24 images")
    assert "the skin type of the synthetic images is not known: no score by it" in found.warning
    assert (found.features, found.real, found.generated, found.kid_subset_size) == ("means", 30, 24, 24)
    assert [(row["by"], row["name"], row["real"], row["generated"]) for row in found.groups] == [
        ("class", "one", 15, 12),
        ("class", "two", 15, 12),
    ]
    assert found.to_dict()["scores"] == found.scores
    few = generated.select([0, 2, 4, 6, 8, 10, 1])
    assert [row["name"] for row in score_fidelity(_means(), real, few, config).groups] == ["one"]
    typed = [replace(table, values=("I", "VI") * (len(table) // 2)) for table in (real, generated)]
    by_type = [row for row in score_fidelity(_means(), *typed, config).groups if row["by"] == "skin_type"]
    assert [row["name"] for row in by_type] == ["I", "VI"]
    sex = Attribute("sex", majority=["male"], minority=["female"])
    told = [replace(table, values=("male", "other") * (len(table) // 2)) for table in (real, generated)]
    by_sex = score_fidelity(_means(), *told, replace(config, by=["attribute"]), attribute=sex)
    assert [(row["by"], row["name"]) for row in by_sex.groups] == [("sex", "male"), ("sex", "other")]
    assert "not known" not in str(by_sex.warning)
    assert by_type[0]["scores"] == score_fidelity(_means(), *typed, config).groups[0]["scores"]


@pytest.mark.slow
def test_many_images_need_no_warning() -> None:
    network = FeatureNetwork("mean", lambda images: images.float().mean((2, 3)), torch.device("cpu"), 512)
    pixels = np.random.default_rng(0).integers(0, 255, (2048, 2, 2, 3)).astype(np.uint8)
    table = ImageTable(pixels, np.zeros(2048, dtype=np.int64), (None,) * 2048, ("one",))
    assert score_fidelity(network, table, table, replace(CONFIG, replicates=100)).warning is None


def test_any_timm_network_with_local_weights_gives_the_features(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=3)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    pixels = _table(5, 50).pixels

    config = FeatureConfig("test_resnet", weights=str(tmp_path / "weights.safetensors"), image_size=32)
    loaded = load_feature_network(config, torch.device("cpu"))
    features = loaded(pixels)
    random = load_feature_network(FeatureConfig("test_resnet", "random"), torch.device("cpu"))

    assert features.shape == (5, network.num_features)
    assert features.dtype == torch.float32
    assert loaded.name.startswith("test_resnet (weights.safetensors@")
    assert loaded.name.endswith(", 32 px)")
    assert random.name == "test_resnet (random weights, 160 px)"
    assert torch.equal(
        random(pixels),
        load_feature_network(FeatureConfig("test_resnet", "random"), torch.device("cpu"))(pixels),
    )
    with pytest.raises(ConfigError, match="does not fit the network"):
        load_feature_network(replace(config, network="resnet18"), torch.device("cpu"))


@pytest.mark.slow
def test_the_inception_of_torch_fidelity_reads_safetensors(tmp_path: Path) -> None:
    from torch_fidelity import FeatureExtractorInceptionV3

    class Empty(FeatureExtractorInceptionV3):
        def load_state_dict(self, state: dict, strict: bool = True) -> None:
            pass

    torch.save({}, tmp_path / "empty.pth")
    state = Empty("i", ["2048"], feature_extractor_weights_path=str(tmp_path / "empty.pth")).state_dict()
    save_file(state, tmp_path / "inception.safetensors")

    config = FeatureConfig("inception", weights=str(tmp_path / "inception.safetensors"))
    network = load_feature_network(config, torch.device("cpu"))

    assert network(_table(2, 50).pixels).shape == (2, 2048)


@pytest.mark.parametrize(("features", "settings", "message"), [
    ({"network": "inception"}, {}, "f.features.weights is null, and f.features.network=inception"),
    ({"network": "resnet19"}, {}, "f.features.network: timm knows no 'resnet19'"),
    ({"network": "inception", "weights": "random"}, {}, "f.features.weights is random: give the safetensors"),
    ({"weights": "random"}, {}, "f.features.weights is random, but f.features.network=lite0 has its own"),
    ({"network": "resnet18", "weights": "a.pth"}, {}, "f.features.weights is a.pth: only safetensors"),
    (
        {"network": "resnet18", "weights": "a.safetensors"}, {},
        "f.features.weights is a.safetensors, which is not a file",
    ),
    ({}, {"neighbours": 0}, "f.neighbours is 0"),
])  # fmt: skip
def test_settings_that_cannot_work_are_named(features: dict, settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FidelityConfig(features=FeatureConfig(**features), **settings).validate("f.")


def test_too_few_images_and_other_classes_are_named() -> None:
    with pytest.raises(ConfigError, match="30 real and 3 generated images are too few: give 7 of each"):
        score_fidelity(_means(), _table(30, 50), _table(3, 50), CONFIG)
    other = replace(_table(30, 50), class_names=("one", "three"))
    with pytest.raises(ConfigError, match="cannot be compared"):
        score_fidelity(_means(), _table(30, 50), other, CONFIG)
