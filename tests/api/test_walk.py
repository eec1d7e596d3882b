"""The whole way from a corpus to a report, by the functions of skindiff, on a tiny pipeline."""

import gc
import logging
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import skindiff
from skindiff.api.calls import configured
from skindiff.api.evaluation import EvaluationReport
from skindiff.api.synthesis import SyntheticDataset
from skindiff.errors import ConfigError, SynthesisError
from skindiff.training.lora import LoRAConfig
from tests.tiny import save_tiny_pipeline

TRAINING = {"steps": 2, "batch_size": 4, "validation_examples": 2}
DRAWING = {"steps": 4, "batch_size": 4, "strength": 0.5}
CLASSIFIER = {"steps": 2, "batch_size": 4, "image_size": 32, "warmup_steps": 0}


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Everything that the functions returned, and the state of the process before and after."""
    model = save_tiny_pipeline(tmp_path_factory.mktemp("model") / "tiny")
    torch.set_num_threads(1)
    torch.manual_seed(5)
    random.seed(5)
    before = state()
    corpus = skindiff.load_corpus(
        "phantom", image_size=32, classes=["nodule", "ring"], repeat_share=0.0,
        images_per_class={"I": 4, "II": 4, "V": 3, "VI": 3},
    )  # fmt: skip
    split = skindiff.make_split(corpus, "scenario", flexible_per_condition=2, validation_fraction=0.2)
    words = skindiff.train_textual_inversion(corpus, split, str(model), steps_per_condition=False, **TRAINING)
    lora = skindiff.train_lora(corpus, split, words, rank=2, **TRAINING)
    synthetic = skindiff.transfer(lora, corpus, split, targets=["VI"], **DRAWING)
    report = skindiff.evaluate(
        corpus, split, synthetic, classifier=CLASSIFIER,
        architectures=["test_resnet"], bootstrap_replicates=100,
    )  # fmt: skip
    return SimpleNamespace(
        corpus=corpus, split=split, words=words, lora=lora, synthetic=synthetic, report=report,
        before=before, after=state(), model=model,
    )  # fmt: skip


def state() -> tuple[Any, ...]:
    """What a call must leave as it was."""
    root = logging.getLogger()
    numbers = (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]  # noqa: NPY002
    return torch.get_num_threads(), numbers, root.level, list(root.handlers)


def test_a_generator_says_what_it_learnt_from_and_draws_as_diffusers_does(walk: Any) -> None:
    known = walk.lora.skindiff
    assert set(known.subjects) == {"nodule", "ring"}
    assert known.adapter.has_lora
    assert known.place.model == str(walk.model)
    assert known.name.partition("+adapter@")[0].startswith("tiny@")
    image = walk.lora(f"An image of {known.subjects['ring']}", num_inference_steps=2).images[0]
    assert isinstance(image, Image.Image)
    assert not walk.words.skindiff.adapter.has_lora


def test_a_synthetic_data_set_can_be_redrawn_saved_and_read(walk: Any, tmp_path: Path) -> None:
    synthetic: SyntheticDataset = walk.synthetic
    assert len(synthetic) == len(walk.split.train)
    assert set(synthetic.dataset["skin_type"]) == {"VI"}
    assert "image" not in synthetic.plan.column_names
    again = synthetic.redraw([0, 2])
    for image, row in zip(again, (0, 2), strict=True):
        assert np.array_equal(np.asarray(image), np.asarray(synthetic.dataset[row]["image"]))
    folder = synthetic.save(tmp_path / "kept")
    assert sorted(path.name for path in folder.iterdir()) == ["data", "trained_on.json"]
    with pytest.raises(SynthesisError, match="is not empty"):
        synthetic.save(folder)


def test_a_report_has_a_table_verdicts_figures_and_shows_itself(walk: Any, tmp_path: Path) -> None:
    report: EvaluationReport = walk.report
    assert set(report.summary["arm"]) == {"real", "real+syn", "real+duplicates"}
    assert report.summary["mean"].between(0, 1).all()
    assert any(sentence.startswith("real+syn") for sentence in report.verdicts)
    assert all(path.is_file() for path in report.figures.values())
    assert report.save(tmp_path / "shown").is_file()
    assert "<iframe srcdoc=" in report._repr_html_()
    assert [row["images"] for row in report.content["copying"]] == ["synthetic"]
    assert report.content["skin_tone"]["by_transfer"].keys() == {"synthetic"}


def test_the_caller_is_left_as_he_was(walk: Any) -> None:
    assert walk.after == walk.before


def test_near_copies_are_a_table(walk: Any) -> None:
    found = skindiff.find_copies(walk.synthetic, walk.corpus, walk.split, planted=2, replicates=100)
    assert len(found) == len(walk.synthetic)
    assert found["similarity"].is_monotonic_decreasing
    share = found.attrs["found"]["near_copies"]["share"]
    assert found["near_copy"].mean() == pytest.approx(share)


def test_what_a_call_made_goes_with_what_it_returned(walk: Any) -> None:
    drawn = skindiff.generate(walk.words, ["ring"], ["I"], images=1, steps=2)
    folder = drawn.folder
    assert folder.is_dir()
    del drawn
    gc.collect()
    assert not folder.exists()


def test_words_of_ones_own_are_generated_on_every_type(walk: Any) -> None:
    drawn = skindiff.generate(str(walk.model), ["freckles"], images=1, steps=2)
    assert drawn.dataset["skin_type"][:] == ["I", "II", "III", "IV", "V", "VI"]
    assert drawn.taught is None
    with pytest.raises(ConfigError, match=r"classes: .* was trained on none of its own"):
        skindiff.generate(str(walk.model))
    with pytest.raises(ConfigError, match="'freckles' is none of those"):
        skindiff.generate(walk.lora, ["freckles"])


def test_a_folder_of_ones_own_is_kept_and_gone_on_with(walk: Any, tmp_path: Path) -> None:
    arguments: Any = (walk.corpus, walk.split, str(walk.model))
    first = skindiff.train_lora(*arguments, output_dir=tmp_path / "run", rank=2, **TRAINING)
    again = skindiff.train_lora(*arguments, output_dir=tmp_path / "run", resume=True, rank=2, **TRAINING)
    assert first.skindiff.name == again.skindiff.name
    assert first.skindiff.adapter.folder == tmp_path / "run" / "adapter"
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["training"]["rank"] == 2
    # its base is a folder, which the adapter cannot record, and the run beside it can
    assert skindiff.load(tmp_path / "run" / "adapter").skindiff.name == first.skindiff.name
    with pytest.raises(skindiff.errors.RunFolderError, match="already holds a run"):
        skindiff.train_lora(*arguments, output_dir=tmp_path / "run", rank=2, **TRAINING)


def test_what_cannot_work_is_said_before_anything_is_trained(walk: Any) -> None:
    corpus, split = walk.corpus, walk.split
    with pytest.raises(ConfigError, match="rnak: there is no such setting; did you mean 'rank'"):
        skindiff.train_lora(corpus, split, str(walk.model), rnak=2)
    with pytest.raises(ConfigError, match="rank"):
        skindiff.train_lora(corpus, split, str(walk.model), rank="two")
    with pytest.raises(ConfigError, match="has a LoRA already; give the words of textual inversion"):
        skindiff.train_lora(corpus, split, walk.lora)
    with pytest.raises(ConfigError, match=r"synthetic: the arm 'real\+syn' needs synthetic images"):
        skindiff.evaluate(corpus, split)
    with pytest.raises(
        ConfigError, match="classifier: its settings are those of networks that are fine-tuned"
    ):
        skindiff.evaluate(corpus, split, walk.synthetic, classifier=CLASSIFIER)
    with pytest.raises(ConfigError, match="2 data sets for 1 splits"):
        skindiff.evaluate(corpus, split, [walk.synthetic] * 2)
    with pytest.raises(ConfigError, match="that skindiff did not load"):
        skindiff.generate(object(), ["ring"])
    with pytest.raises(ConfigError, match="licence is not given"):
        skindiff.push(walk.lora, "a/b")
    other = skindiff.make_split(corpus, "fractions", seed=3, test_fraction=0.4)
    with pytest.raises(SynthesisError, match="that this split validates or tests on"):
        skindiff.evaluate(corpus, other, walk.synthetic)


def test_images_of_a_generator_that_tested_images_taught_are_refused(walk: Any) -> None:
    drawn = skindiff.generate(walk.words, ["ring"], ["V"], images=2, steps=2)
    assert drawn.dataset["source_id"][:] == [None, None]
    other = skindiff.make_split(walk.corpus, "fractions", seed=3, test_fraction=0.4)
    for function in (skindiff.evaluate, skindiff.train_classifier):
        with pytest.raises(SynthesisError, match="come from a generator that learnt from"):
            function(walk.corpus, other, drawn)


def test_a_part_and_its_settings_go_together(walk: Any) -> None:
    config = configured(LoRAConfig(), {"steps": 7, "loop": {"batch_size": 3, "warmup_steps": 0}, "rank": 2})
    assert (config.loop.steps, config.loop.batch_size, config.rank) == (7, 3, 2)
