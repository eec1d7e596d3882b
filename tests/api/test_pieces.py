"""Corpora, classifiers and from-scratch generators by the functions of skindiff; calls beside each other."""

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from PIL import Image

import skindiff
from skindiff.api.calls import configured
from skindiff.api.evaluation import EvaluationConfig
from skindiff.classification.contrasts import ChoiceConfig
from skindiff.classification.prediction import predict
from skindiff.errors import ConfigError, CorpusError, GeneratorError, SplitError, SynthesisError
from skindiff.measures.copying.memorisation import CopyingConfig
from skindiff.study import RunConfig, all_studies, open_run
from skindiff.synthesis.class_plan import ClassSynthesisConfig
from tests.conftest import REPOSITORY

FUNCTIONS = [name for name in skindiff.__all__ if not name.startswith("register_")]
FAMILY = {"image_size": 16, "widths": [16, 8], "latent_dim": 4, "channels": 3, "batch_size": 4}


@pytest.fixture(scope="module")
def corpus() -> Any:
    return skindiff.load_corpus(
        "phantom", image_size=32, classes=["nodule", "ring"], images_per_class={"I": 6, "V": 6}
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_types_defaults_and_an_example(name: str) -> None:
    function = getattr(skindiff, name)
    hints, signature = get_type_hints(function), inspect.signature(function)
    assert set(signature.parameters) <= set(hints)
    assert "return" in hints
    assert "        >>> " in function.__doc__
    assert f"skindiff.{name}(" in function.__doc__
    for parameter in signature.parameters.values():
        told = f"        {parameter.name}:" in function.__doc__ or name == "read_image"
        assert told, f"{name}: {parameter.name} is not explained"


def test_a_photograph_is_read_upright_and_in_rgb(tmp_path: Path) -> None:
    image = Image.new("L", (20, 10), 7)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    read = skindiff.read_image(tmp_path / "turned.jpg")
    assert (read.size, read.mode) == ((10, 20), "RGB")
    with pytest.raises(CorpusError, match="cannot be read as an image"):
        skindiff.read_image(tmp_path / "none.jpg")


def test_a_folder_of_images_is_a_corpus(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / "photos" / ("acne", "scar")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40, 40, 3)).astype(np.uint8)).save(path)
    corpus = skindiff.load_corpus(tmp_path / "photos", image_size=16, audit=False)
    assert (corpus.class_names, len(corpus.dataset), corpus.image_size) == (["acne", "scar"], 12, 16)
    with pytest.raises(CorpusError, match="was not audited"):
        corpus.audit()
    split = skindiff.make_split(corpus, test_fraction=0.5, validation_fraction=0.0)
    assert (len(split.train), split.validation, len(split.test["all"])) == (6, [], 6)
    pytest.importorskip("cv2")
    audited = skindiff.load_corpus(tmp_path / "photos", image_size=16)
    assert set(audited.audit()["status"]) == {"ok"}


def test_what_is_no_corpus_or_no_setting_is_named(corpus: Any) -> None:
    with pytest.raises(CorpusError, match=r"data_dir: .* is not a folder"):
        skindiff.load_corpus("phantm")
    with pytest.raises(ConfigError, match="data_dir: the corpus 'ham10000' needs it"):
        skindiff.load_corpus("ham10000")
    with pytest.raises(ConfigError, match="clases: there is no such setting; did you mean 'classes'"):
        skindiff.load_corpus("phantom", clases=["ring"])
    with pytest.raises(ConfigError, match="test_fraktion"):
        skindiff.make_split(corpus, test_fraktion=0.3)
    with pytest.raises(ConfigError, match="protocol"):
        skindiff.make_split(corpus, "halves")  # type: ignore[arg-type]
    with pytest.raises((SplitError, ConfigError)):
        skindiff.make_split(corpus, "few_shot", shots=500)


def test_a_classifier_predicts_as_studies_do_and_is_kept(corpus: Any, tmp_path: Path) -> None:
    split = skindiff.make_split(corpus, test_fraction=0.3)
    classifier = skindiff.train_classifier(
        corpus, split, architecture="test_resnet", image_size=32, steps=2, batch_size=4, warmup_steps=0
    )
    test = corpus.dataset.select(split.test["all"])
    found = classifier.predict(test)
    own = predict(Accelerator(cpu=True), classifier, test)
    assert np.allclose(found[["nodule", "ring"]].to_numpy(), own, atol=1e-5)
    assert found["label"].tolist() == [corpus.class_names[code] for code in own.argmax(1)]
    again = skindiff.load(classifier.save(tmp_path / "classifier"))
    assert again.predict(test).equals(found)
    assert again.predict([test[0]["image"]]).iloc[0]["label"] == found.iloc[0]["label"]


def test_a_mapping_that_is_a_value_replaces_the_default(corpus: Any) -> None:
    assert set(corpus.dataset["skin_type"]) == {"I", "V"}
    drawn = ClassSynthesisConfig(budget="table", table={"nodule": 1, "ring": 1})
    assert configured(drawn, {"table": {"ring": 3}}).table == {"ring": 3}


def test_a_study_trains_and_generates_in_its_run(corpus: Any, tmp_path: Path) -> None:
    splits = [skindiff.make_split(corpus, seed=seed, validation_fraction=0.0) for seed in (0, 1)]
    run = open_run(RunConfig(str(tmp_path / "run")), settings=EvaluationConfig(output_dir=str(tmp_path)))
    first, second = all_studies(run, corpus, splits)
    place = skindiff.train_generator(corpus, splits[0], "fc_cvae", output_dir=first, steps=2, **FAMILY)
    again = skindiff.train_generator(corpus, splits[0], "fc_cvae", output_dir=first, steps=2, **FAMILY)
    assert again == place
    assert not (run.path / "pipeline").exists()
    own = skindiff.generate(place, images=2, output_dir=first)
    assert own.drawn.strategy == "fc_cvae"
    assert own.trained == Path(place.model)
    assert json.loads((own.taught or tmp_path).read_text())["image_ids"] == sorted(first.train["image_id"])
    assert np.array_equal(np.asarray(own.redraw([1])[0]), np.asarray(own.dataset[1]["image"]))
    with pytest.raises(ConfigError, match="groups: a study generates by class alone"):
        skindiff.generate(place, groups=["V"], output_dir=first)
    # Of another split some images that taught it are tested.
    shared = [own, skindiff.generate(place, images=2, seed=1, output_dir=second)]
    quick: Any = {"arms": ["real", "real+syn"], "copying": CopyingConfig(enabled=False)}
    with pytest.raises(SynthesisError, match="come from a generator that learnt from"):
        skindiff.evaluate(corpus, splits, shared, output_dir=run, **quick)
    twice = [[one, one] for one in shared]
    with pytest.raises(ConfigError, match="two data sets of a split are called 'fc_cvae'"):
        skindiff.evaluate(corpus, splits, twice, output_dir=run, allow_taught=True, **quick)
    with pytest.raises(ConfigError, match="seeds: 1 for 2 splits"):
        skindiff.evaluate(corpus, splits, shared, output_dir=run, seeds=[0], **quick)
    with pytest.raises(GeneratorError, match="is a FcCvaePipeline"):
        skindiff.transfer(place, corpus, output_dir=first, strength=0.5)
    two = [[one, one.named("again")] for one in shared]
    quick["choice"] = ChoiceConfig()
    report = skindiff.evaluate(corpus, splits, two, output_dir=run, allow_taught=True, **quick)
    assert any("taught a generator, as asked for" in note for note in report.content["notes"])
    assert [row["strategy"] for row in report.content["synthesis"]] == ["fc_cvae"] * 4
    assert {row.get("name") for row in report.content["synthesis"]} == {None, "again"}
    assert [row["reference"] for row in report.content["tried"]] == ["real"] * 2
    assert sum(row["chosen"] for row in report.content["tried"]) == 1
    assert "## What was tried, and what holds" in (report.folder / "report.md").read_text(encoding="utf-8")


def test_a_family_is_trained_and_generates_by_class(corpus: Any, tmp_path: Path) -> None:
    pipeline = skindiff.train_generator(
        corpus, family="fc_cvae", output_dir=tmp_path / "run", steps=2, **FAMILY
    )
    drawn = skindiff.generate(pipeline, ["ring"], images=3)
    assert drawn.dataset["label"][:] == [1, 1, 1]
    assert drawn.taught is not None
    assert len(json.loads(drawn.taught.read_text())["image_ids"]) == len(corpus.dataset)
    image = np.asarray(drawn.redraw([1])[0])
    assert np.array_equal(image, np.asarray(drawn.dataset[1]["image"]))
    with pytest.raises(ConfigError, match=r"groups: .* generates by class alone"):
        skindiff.generate(pipeline, groups=["V"])
    with pytest.raises(ConfigError, match="'ddmp' is not one of"):
        skindiff.train_generator(corpus, family="ddmp")


CALL = """
import hashlib, sys, skindiff
def digest(steps, seed):
    corpus = skindiff.load_corpus(
        "phantom", image_size=32, classes=["nodule", "ring"], images_per_class={"I": 6, "V": 6}
    )
    family = {"image_size": 16, "widths": [16, 8], "latent_dim": 4, "channels": 3, "batch_size": 4}
    pipeline = skindiff.train_generator(corpus, family="fc_cvae", seed=seed, steps=steps, **family)
    drawn = skindiff.generate(pipeline, images=2, seed=seed)
    images = [image.tobytes() for image in drawn.dataset["image"]]
    return hashlib.sha256(b"".join(images)).hexdigest()
for pair in sys.argv[1:]:
    print("digest", digest(*map(int, pair.split(","))))
"""


@pytest.mark.slow
def test_two_calls_in_one_process_are_those_of_two_processes() -> None:
    def digests(*pairs: str) -> list[str]:
        command = [sys.executable, "-c", CALL, *pairs]
        ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
        return [line.split()[1] for line in ended.stdout.splitlines() if line.startswith("digest")]

    together = digests("3,1", "2,7")
    assert together == [*digests("3,1"), *digests("2,7")]
    assert together[0] != together[1]


def test_another_precision_in_this_process_is_refused(corpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Accelerator(cpu=True)
    monkeypatch.setitem(AcceleratorState._shared_state, "_mixed_precision", "bf16")
    with pytest.raises(ConfigError, match="mixed_precision: Accelerate runs in bf16 in this process"):
        skindiff.train_generator(corpus, family="fc_cvae", steps=2, **FAMILY)
