"""A group's scores through our tables, slices and features, and by the library alone on its files."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from timm.data import create_transform

from skindiff.corpora.phantom import PhantomConfig
from skindiff.corpora.registry import CorpusConfig, prepare_corpus
from skindiff.measures.features import FeatureConfig
from skindiff.measures.fidelity.by_class import class_fidelity
from skindiff.measures.fidelity.scores import FidelityConfig
from tests.studies import make_study

torch_fidelity = pytest.importorskip("torch_fidelity")
SIDE, EXTRACTOR = 32, "features of a test"


def _phantom(folder: Path, seed: int) -> Dataset:
    counts = {"I": 9, "VI": 12}
    phantom = PhantomConfig(
        seed=seed, image_size=SIDE, classes=["nodule", "ring"], images_per_class=counts, repeat_share=0.0
    )
    config = CorpusConfig(image_size=SIDE, audit=False, phantom=phantom)
    return prepare_corpus(config, folder / str(seed)).dataset


def _files(dataset: Dataset, folder: Path) -> None:
    for row in dataset:
        name = dataset.features["label"].int2str(row["label"])
        for group in ("all", name, row["skin_type"]):
            (folder / group).mkdir(parents=True, exist_ok=True)
            row["image"].save(folder / group / f"{row['image_id'].replace('/', '_')}.png")


def _register(weights: Path) -> None:
    network = timm.create_model("test_resnet", num_classes=0).eval()
    network.load_state_dict({k: v for k, v in load_file(weights).items() if not k.startswith("fc.")})
    normalise = create_transform(
        input_size=SIDE, mean=network.pretrained_cfg["mean"], std=network.pretrained_cfg["std"]
    ).transforms[-1]

    class Extractor(torch_fidelity.FeatureExtractorBase):
        """The same network, fed by torch-fidelity, normalised by timm."""

        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)
            self.network = network

        @staticmethod
        def get_provided_features_list() -> tuple[str]:
            return ("pooled",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "pooled"

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
            return (self.network(normalise(images.float() / 255)),)

    torch_fidelity.register_feature_extractor(EXTRACTOR, Extractor)


def _by_hand(real: Path, generated: Path, subset: int) -> dict[str, float]:
    found = torch_fidelity.calculate_metrics(
        input1=str(generated), input2=str(real), feature_extractor=EXTRACTOR, cuda=False, cache=False,
        fid=True, kid=True, prc=True, kid_subsets=1, kid_subset_size=subset, prc_neighborhood=3,
        save_cpu_ram=True, verbose=False,
    )  # fmt: skip
    return {
        "fid": found["frechet_inception_distance"],
        "kid": found["kernel_inception_distance_mean"],
        "precision": found["precision"],
        "recall": found["recall"],
    }


def test_scores_by_group_are_the_reference_librarys_on_that_groups_files(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=3).state_dict(), weights)
    real, generated = (_phantom(tmp_path / "corpora", seed) for seed in (1, 2))
    config = FidelityConfig(
        FeatureConfig("test_resnet", weights=str(weights), image_size=SIDE),
        neighbours=3, replicates=100, by=["class", "attribute"],
    )  # fmt: skip
    study = make_study(tmp_path / "run", real, config=config)
    row = class_fidelity(study, replace(config), generated, name="phantom", held_out=real)

    for dataset, name in ((real, "real"), (generated, "generated")):
        _files(dataset, tmp_path / name)
    _register(weights)
    names = {"nodule": 21, "ring": 21, "I": 18, "VI": 24}
    assert {group["name"]: group["real"] for group in row["groups"]} == names
    assert Counter(real["skin_type"]) == {"I": 18, "VI": 24}
    for name, scores in (("all", row["scores"]), *((one["name"], one["scores"]) for one in row["groups"])):
        by_hand = _by_hand(tmp_path / "real" / name, tmp_path / "generated" / name, names.get(name, 42))
        for score, value in by_hand.items():
            assert scores[score] == pytest.approx(value, rel=1e-3, abs=1e-6), (name, score)
    assert row["scores"]["fid"] != pytest.approx(row["groups"][0]["scores"]["fid"], rel=0.01)
