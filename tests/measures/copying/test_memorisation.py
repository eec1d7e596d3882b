"""A generator that copies is told from one that does not, and what was re-drawn by design is set aside."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from PIL import Image

from skindiff.errors import ConfigError, SynthesisError
from skindiff.measures.copying import stage
from skindiff.measures.copying.memorisation import CopyingConfig, Memorisation, memorisation
from skindiff.measures.copying.near_copies import REPORT_FILE, load_near_copies
from skindiff.measures.copying.planted import KINDS, plant
from skindiff.measures.copying.threshold import THRESHOLD
from skindiff.measures.features import FeatureConfig
from skindiff.report.copying import closest_pairs_picture, copying_section
from skindiff.synthesis.strategies import Synthetic
from tests.measures.copying.photographs import drawn, photograph, real
from tests.studies import make_study

CONFIG = CopyingConfig(planted=4, closest_pairs=6, replicates=200)


@pytest.fixture(scope="module")
def training() -> Dataset:
    return real(range(60), per_group=2)


@pytest.fixture(scope="module")
def held_out() -> Dataset:
    return real(range(100, 150))


def changed(seeds: list[int], kind: str) -> list[Image.Image]:
    pixels = np.stack([np.asarray(photograph(seed)) for seed in seeds])
    return [Image.fromarray(copy) for copy in plant(pixels, kind)]


@pytest.fixture(scope="module")
def mixed(training: Dataset, held_out: Dataset) -> Memorisation:
    """Ten copies of training images among twenty new ones."""
    images = changed(list(range(0, 20, 2)), "cropped") + [photograph(seed) for seed in range(200, 220)]
    return memorisation(drawn(images, [None] * 30), training, held_out, CONFIG)


def test_copies_are_counted_among_new_images(mixed: Memorisation) -> None:
    copies = mixed.report.copies
    assert {row.image_id for row in copies} == {f"d{row}" for row in range(10)}
    assert {row.nearest_group for row in copies} == {f"patient-{row}" for row in range(10)}
    assert mixed.near_copies["share"] == pytest.approx(1 / 3)
    assert mixed.near_copies["low"] < 1 / 3 < mixed.near_copies["high"]
    assert mixed.of_own_group is None
    assert set(mixed.closest) == {*range(10)} & set(mixed.closest)
    assert mixed.threshold.source == "default"  # fifty groups cannot promise 2%
    assert mixed.report.threshold == mixed.threshold.value == THRESHOLD
    assert mixed.planted.keys() == KINDS.keys()
    assert all(found["share"] == 1 for found in mixed.planted.values())


def test_without_copies_generated_images_are_as_near_to_either_side(
    training: Dataset, held_out: Dataset, mixed: Memorisation
) -> None:
    new = drawn([photograph(seed) for seed in range(300, 360)], [None] * 60)
    found = memorisation(new, training, held_out, CONFIG)
    assert found.near_copies["share"] == 0
    assert found.near_copies["high"] < 0.06
    side, copied = found.either_side, mixed.either_side
    assert side is not None
    assert copied is not None
    assert side["nearer_training_low"] < 0.5 < side["nearer_training_high"]
    # Half of the training patients' classes are held against as many held-out images of each class.
    assert side["a_side"] == 50
    assert copied["nearer_training"] > side["nearer_training"]
    assert (side["near_held_out"], copied["near_held_out"]) == (0, 0)
    assert 0.2 < copied["near_training"] <= 1 / 3


def test_what_was_redrawn_is_set_aside_with_its_group(training: Dataset, held_out: Dataset) -> None:
    # Twenty images re-draw their own source's patient, two show somebody else.
    images = changed([row ^ 1 for row in range(20)], "retoned") + changed([40, 50], "retoned")
    found = memorisation(drawn(images, [f"photo-{row}" for row in range(22)]), training, held_out, CONFIG)
    assert found.of_own_group is not None
    assert found.of_own_group["share"] == pytest.approx(20 / 22)
    assert found.near_copies["share"] == pytest.approx(2 / 22)
    assert [row["training_group"] for row in found.pairs()[:2]] in (
        ["patient-20", "patient-25"],
        ["patient-25", "patient-20"],
    )
    assert len(found.report.copies) == 22  # the gate of a push counts both
    assert sum(row.of_own_group for row in found.report.copies) == 20


def test_a_report_names_nobody(mixed: Memorisation) -> None:
    content = json.dumps(mixed.to_dict())
    assert not any(name in content for name in ("photo-", "patient-"))
    first = mixed.to_dict()["closest_pairs"][0]
    assert first["near_copy"]
    assert mixed.pairs()[0]["training_id"] == f"photo-{2 * first['row']}"


def test_held_out_images_that_the_generator_saw_say_nothing(training: Dataset) -> None:
    new = drawn([photograph(200)], [None])
    found = memorisation(new, training, training.select(range(10)), CONFIG)
    assert (found.held_out, found.either_side, found.threshold.source) == (0, None, "default")
    assert found.report.between_sources["p100"] < THRESHOLD
    assert "none held out" in copying_section({"copying": [row("a", found)]}).text


def test_the_threshold_follows_the_held_out_images(training: Dataset) -> None:
    many = real(range(400, 560))
    found = memorisation(drawn([photograph(200)], [None]), training, many, CONFIG)
    assert (found.threshold.source, found.threshold.groups) == ("held-out", 160)
    assert found.threshold.value == pytest.approx(found.report.between_sources["p100"] + 1e-4)


def test_a_network_can_be_the_measure(training: Dataset, held_out: Dataset) -> None:
    features = FeatureConfig(image_size=64)
    images = [photograph(0), photograph(200)]
    found = memorisation(
        drawn(images, [None, None]), training, held_out, CopyingConfig(features=features, planted=0)
    )
    assert [row.image_id for row in found.report.copies] == ["d0"]
    assert "lite0 (ImageNet weights of" in found.report.measure
    assert found.threshold.value == 1.0  # with fifty held-out groups only what is the same in the features
    assert found.planted == {}


def test_what_cannot_be_compared_is_refused(training: Dataset, held_out: Dataset) -> None:
    with pytest.raises(ConfigError, match="generated: there are no images"):
        memorisation(drawn([], []), training, held_out, CONFIG)
    with pytest.raises(SynthesisError, match="source 'x' is not among them"):
        memorisation(drawn([photograph(0)], ["x"]), training, held_out, CONFIG)
    for setting in ({"false_flags": 0.0}, {"confidence": 1.0}, {"planted": -1}, {"replicates": 10}):
        with pytest.raises(ConfigError, match=f"copying.{next(iter(setting))}"):
            CopyingConfig(**setting).validate("copying.")


def row(name: str, found: Memorisation) -> dict[str, object]:
    return {"images": name, "seed": 0, **json.loads(json.dumps(found.to_dict()))}


def test_the_section_says_what_was_found_and_what_would_have_been(mixed: Memorisation) -> None:
    content = row("ddpm", mixed)
    text = copying_section({"copying": [content]}).text
    assert (
        "| ddpm, seed 0 | 30 | 60 | 0.930 | 33.3% [17.3, 52.8] | no sources | 0 of 50 (at most 5.8%) |"
        in text
    )
    assert "| ddpm, seed 0 | 100% | 100% | 100% | 100% | 100% | 100% | 100% |" in text
    assert f"| ddpm, seed 0, row {mixed.closest[0]} |" in text
    assert "Under 95%" not in text
    content["planted"] = {**mixed.planted, "cropped": {"share": 0.5, "low": 0.1, "high": 0.9}}
    assert (
        "Under 95% of planted copies are found in ddpm, seed 0 (cropped: 50%)"
        in copying_section({"copying": [content]}).text
    )
    assert copying_section({}).text == ""


def test_a_stage_is_done_once_and_leaves_the_gate_its_report(
    training: Dataset, held_out: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [*changed([4], "cropped"), photograph(200)]
    generated = drawn(images, [None, None]).add_column("generator", ["g@1", "g@1"])
    study = make_study(tmp_path / "run", training, seed=3, config=CONFIG)
    synthetic = Synthetic(generated, tmp_path, "txt2img ti+lora", "g@1", "g@1", {})

    def find() -> dict[str, object]:
        return stage.find_copies(
            study, CONFIG, synthetic, name=synthetic.label, training=training, held_out=held_out
        )

    first = find()
    monkeypatch.delattr(stage, "memorisation")
    assert find() == first
    assert (first["images"], first["seed"]) == ("txt2img ti+lora", 3)
    report = load_near_copies(tmp_path)
    assert report is not None
    assert [row.nearest_source for row in report.copies] == ["photo-4"]
    assert report.threshold == first["threshold"]["value"]  # type: ignore[index]
    (tmp_path / REPORT_FILE).unlink()  # the images were drawn again, the same ones
    assert find() == first
    assert load_near_copies(tmp_path) == report
    (folder,) = (tmp_path / "run" / "stages").iterdir()
    assert (folder / stage.PAIRS_FILE).read_text().splitlines()[1].startswith("d0,,,photo-4,patient-2,")
    assert asdict(CONFIG) == json.loads((folder / "done.json").read_text())["inputs"]["config"]
    assert "photo-" not in (folder / stage.COPYING_FILE).read_text()

    # Images of the same names that were drawn with other settings are others.
    monkeypatch.undo()
    other = drawn([photograph(300), photograph(200)], [None, None]).add_column("generator", ["g@1", "g@1"])
    synthetic = replace(synthetic, dataset=other)
    assert find() != first

    name, caption, draw = closest_pairs_picture("txt2img ti+lora", report, generated, training)
    draw(tmp_path / "pairs.png")
    again = tmp_path / "again.png"
    draw(again)
    assert (tmp_path / "pairs.png").read_bytes() == again.read_bytes()
    assert name == "closest-pairs-txt2img-ti-lora.png"
    assert "txt2img ti+lora" in caption
    assert np.asarray(Image.open(again).convert("L")).std() > 10
