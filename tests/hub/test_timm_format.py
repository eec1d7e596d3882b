import json
from pathlib import Path

import pytest
import timm

from skindiff.classification.networks import (
    Architecture,
    build_classifier,
    load_classifier,
    save_classifier,
)
from skindiff.errors import HubError
from skindiff.hub.timm_format import classifier_files


def test_a_head_that_timm_cannot_build_is_refused(tmp_path: Path) -> None:
    architecture = Architecture("resnet10t", 32, ("a", "b"), head="published")
    model = build_classifier(architecture, pretrained=False, weights=None, seed=0)
    with pytest.raises(HubError, match="has the head 'published', which timm"):
        classifier_files(tmp_path, model)


@pytest.mark.parametrize("name", ["medmnist_cnn", "lesion_detector", "resnet10t"])
def test_the_config_builds_the_network_again(tmp_path: Path, name: str) -> None:
    model = build_classifier(
        Architecture(name, 28, ("a", "b"), channels=1), pretrained=False, weights=None, seed=0
    )
    save_classifier(tmp_path, model)
    config = classifier_files(tmp_path, model)["config.json"]
    assert isinstance(config, bytes)
    content = json.loads(config)
    again = timm.create_model(content["architecture"], **content["model_args"])
    shapes = {key: weight.shape for key, weight in model.network.state_dict().items()}
    assert {key: weight.shape for key, weight in again.state_dict().items()} == shapes
    assert content["pretrained_cfg"]["input_size"] == [1, 28, 28]
    assert len(content["pretrained_cfg"]["mean"]) == 1


def test_the_crop_of_the_corpus_is_timms_and_kept(tmp_path: Path) -> None:
    kept, modes = {}, {}
    for crop in ("centre", "pad", "longest", "stretch", "box"):
        shape = Architecture("medmnist_cnn", 28, ("a", "b"), channels=1, crop=crop)
        save_classifier(tmp_path, build_classifier(shape, pretrained=False, weights=None, seed=0))
        model = load_classifier(tmp_path)
        assert model.architecture == shape
        files = classifier_files(tmp_path, model)
        kept[crop] = json.loads((tmp_path / "classifier.json").read_text()).get("crop")
        assert json.loads(files["classifier.json"]).get("crop") == kept[crop]
        modes[crop] = json.loads(files["config.json"])["pretrained_cfg"]["crop_mode"]
    assert kept == {"centre": None, **{name: name for name in ("pad", "longest", "stretch", "box")}}
    assert modes == {
        "centre": "center", "pad": "border", "longest": "border", "stretch": "squash", "box": "center"
    }  # fmt: skip
