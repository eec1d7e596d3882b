"""A probe that is kept as a classifier of its own."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import timm
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import save_file

import skindiff
from skindiff.api.calls import run_of_call, study_of
from skindiff.classification.prediction import predict
from skindiff.classification.probe import Probe, ProbeConfig
from skindiff.classification.probe_classifier import probe_classifier, refuse_no_network
from skindiff.classification.probing import predict_probe, train_probe
from skindiff.cli import main as cli
from skindiff.commands.train_classifier import settings
from skindiff.errors import ConfigError
from skindiff.hub.timm_format import classifier_files
from skindiff.measures.backbones import Backbone, load_backbone


def test_a_probe_is_kept_shared_and_asked_like_any_classifier(tmp_path: Path) -> None:
    corpus = skindiff.load_corpus("phantom", images_per_class={"I": 6, "V": 6})
    split = skindiff.make_split(corpus, test_fraction=0.3)
    test = corpus.dataset.select(split.test["all"])
    model = skindiff.train_classifier(corpus, split, architecture="probe:lite0", output_dir=tmp_path / "run")
    found = model.predict(test)
    names = corpus.class_names
    with run_of_call(None, False, ProbeConfig()) as (run, _):
        study = study_of(run, corpus, split)
        rows = corpus.dataset.select(split.train)
        probe = train_probe(study, "probe:lite0", ProbeConfig(), rows, 0, real=len(rows))
        own = predict_probe(study, "probe:lite0", ProbeConfig(), probe, test)
    assert found[names].to_numpy() == pytest.approx(own, abs=1e-4)
    assert predict(Accelerator(cpu=True), model, test) == pytest.approx(own, abs=1e-4)
    large = [image.resize((256, 256), Image.Resampling.BICUBIC) for image in test["image"]]
    assert np.abs(model.predict(large)[names].to_numpy() - own).mean() < 0.05  # brought to 64 px first
    labels = np.array(test["label"])
    assert np.mean(own.argmax(1) == labels) > 2 / 7  # twice what guessing reaches
    again = skindiff.load(tmp_path / "run" / "classifier")
    assert again.predict(test).equals(found)
    files = classifier_files(tmp_path / "run" / "classifier", again)
    assert set(files) == {"model.safetensors", "config.json", "classifier.json"}
    resumed = skindiff.train_classifier(
        corpus, split, architecture="probe:lite0", output_dir=tmp_path / "run", resume=True
    )
    assert resumed.predict(test).equals(found)


@pytest.mark.parametrize("name", ["resnet10t.c3_in1k", "mobilenetv3_small_100.lamb_in1k"])
def test_the_kept_network_is_the_backbone_and_the_probe(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    file = tmp_path / "model.safetensors"
    save_file(timm.create_model(name, num_classes=1000).state_dict(), file)
    backbone = load_backbone(name, weights=file, image_size=64)
    assert backbone.file == file
    rng = np.random.default_rng(0)
    probe = Probe(rng.normal(0, 0.1, (3, backbone.width)), np.array([0.1, -np.inf, 0.2]), 1.0, {})
    model = probe_classifier(f"probe:{name}", backbone, probe, ["a", "b", "c"], 64)
    images = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        asked = torch.softmax(model(images), 1).numpy()
    assert asked == pytest.approx(probe.predict(backbone(images).numpy()), abs=1e-4)
    assert (asked[:, 1] == 0).all()
    timm_id = probe_classifier(f"probe:timm/{name}@main", backbone, probe, ["a", "b", "c"], 64)
    with torch.no_grad():
        assert torch.equal(timm_id(images), model(images))


def test_what_is_no_network_of_timm_is_refused_before_anything_is_trained() -> None:
    for name in ("probe:bundled", "probe:hf-hub:me/mine"):
        with pytest.raises(ConfigError, match="cannot be kept as a classifier"):
            refuse_no_network(name)
        with pytest.raises(ConfigError, match=r"^backbone is .*cannot be kept"):
            settings("probe", ["--backbone", name.removeprefix("probe:")])
    nothing = cast(Any, SimpleNamespace(corpus=None))
    with pytest.raises(ConfigError, match="cannot be kept"):
        skindiff.train_classifier(nothing, nothing, architecture="probe:bundled")
    wrong = Probe(np.zeros((2, 5)), np.zeros(2), 1.0, {})
    lite0 = load_backbone("lite0", image_size=64)
    assert isinstance(lite0, Backbone)
    with pytest.raises(ConfigError, match="cannot hold the probe"):
        probe_classifier("probe:lite0", lite0, wrong, ["a", "b"], 64)


def test_settings_of_the_other_kind_are_refused() -> None:
    assert settings("probe", ["--probe.views", "2", "--probe.augment", "flip"]).settings()["views"] == 2
    with pytest.raises(ConfigError, match=r"classifier\.loop\.steps"):
        settings("probe", ["--classifier.loop.steps", "5"])
    with pytest.raises(ConfigError, match="steps"):
        skindiff.train_classifier(cast(Any, None), cast(Any, None), architecture="probe:lite0", steps=3)


def test_the_command_keeps_a_probe_and_its_scores(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert (
        cli(["train", "probe", "--output_dir", str(run), "--corpus.phantom.images_per_class", "{I: 6}"]) == 0
    )
    scores = json.loads((run / "scores.json").read_text())
    assert scores["all"]["balanced_accuracy"] > 0.4
    assert skindiff.load(run).architecture.name == "lite0"
