"""The rungs between a published comparison and a fair one, and what is trained for them."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from accelerate import Accelerator

from scripts.keep_cells import cells_of
from skindiff.classification.ladder import LadderConfig, check_ladder, climb, experiments_of, rungs_of
from skindiff.classification.recorded_cells import NOTHING, RecordedCells, write_cells
from skindiff.errors import ConfigError
from tests.classification.engine import PLAIN, drawn_from, make_corpus, make_split
from tests.studies import make_study

CONFIG = LadderConfig(
    selected_on_test=True, classifier=replace(PLAIN, epochs=2, selection="auroc"), train_seeds=[0]
)


def test_each_rung_takes_one_thing_away() -> None:
    arms = {"arm": "real+syn+weighted", "reference": "real+weighted", "published_reference": "real"}
    rungs = rungs_of(replace(CONFIG, **arms))
    assert [rung.name for rung in rungs] == [
        "as published",
        "against real+weighted",
        "the same number of optimiser steps",
        "equal exposure of real images",
        "no group across the split",
        "nothing selected on the test set",
    ]
    for before, after in itertools.pairwise(rungs):
        changed = [name for name in vars(after) if getattr(before, name) != getattr(after, name)]
        assert len(set(changed) - {"name"}) == 1
    assert rungs[-1].arm == "real+syn+weighted+equal_exposure"
    assert len(rungs_of(replace(CONFIG, selected_on_test=False))) == 4


def test_rungs_share_trainings_and_steps_are_those_of_the_largest_arm(tmp_path: Path) -> None:
    corpus = make_corpus()
    split = make_split(corpus)
    study = make_study(tmp_path, corpus, split, config=CONFIG, accelerator=Accelerator(cpu=True))
    synthetic = drawn_from(corpus, split.train, tmp_path, times=2)  # 24 of 12
    cells = climb(experiments_of(study, CONFIG, "published", [0], NOTHING), synthetic)
    steps = {name: {cell.key.arm: cell.optimiser_steps for cell in found} for name, found in cells.items()}
    exposed = "real+syn+equal_exposure"
    assert steps == {
        "as published": {"real": 6, "real+syn": 18},
        "the same number of optimiser steps": {"real": 18, "real+syn": 18},
        "equal exposure of real images": {"real": 18, exposed: 18},
    }
    assert len(list((tmp_path / "stages").glob("cell-*"))) == 4
    for name in ("labels", "image_ids"):
        assert len({str(getattr(cell, name)) for found in cells.values() for cell in found}) == 1
    # Weights are chosen where they are tested, until the last rung.
    fair = climb(experiments_of(study, CONFIG, "fair", [0], NOTHING), synthetic)
    assert set(fair) == {"no group across the split", "nothing selected on the test set"}
    assert len(list((tmp_path / "stages").glob("cell-*"))) == 6


def test_a_strategy_may_have_epochs_of_its_own() -> None:
    config = replace(CONFIG, epochs={"ddpm": 1})
    assert config.idle() == {}
    assert "classifier.epochs" in replace(config, strategies=["ddpm"]).idle()
    assert [config.of(name).classifier.epochs for name in ("ddpm", "cvae")] == [1, 2]
    with pytest.raises(ConfigError, match=r"ladder.epochs: 'ddpm' is not among those of the study, cvae;"):
        check_ladder(config, [0], ["cvae"], "grouped")


def test_generators_that_make_as_many_images_are_each_kept(tmp_path: Path) -> None:
    corpus = make_corpus()
    split = make_split(corpus)
    study = make_study(tmp_path / "run", corpus, split, config=CONFIG, accelerator=Accelerator(cpu=True))
    made = [
        replace(
            drawn_from(corpus, split.train, tmp_path, strategy=name),
            folder=tmp_path / f"synthesis-{name}" / "data",
            made_with={"by": name},
        )
        for name in ("first", "second")
    ]
    for images in made:
        climb(experiments_of(study, CONFIG, "published", [0], NOTHING), images)
    stages = sorted(path.name.rpartition("-")[0] for path in (tmp_path / "run" / "stages").iterdir())
    references = [name for name in stages if "-real-lesion_detector" in name]
    assert references == ["cell-real-lesion_detector"] * 2 + ["copy-real-lesion_detector"]
    file = tmp_path / "cells.parquet"
    write_cells(file, cells_of(tmp_path / "run"))
    recorded = RecordedCells((file,), alone=True)
    for images in made:
        experiments = experiments_of(study, CONFIG, "published", [0], recorded)
        found = climb(experiments, images)
        assert {name: len(cells) for name, cells in found.items()} == dict.fromkeys(experiments, 2)
        assert not any(one.not_run for one in experiments.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arm": "real"}, "'real' against 'real' is no gain of added images"),
        ({"arm": "real+syn+mixup"}, "is no gain of added images"),
        ({"arm": "real+sin"}, "unknown arm 'real\\+sin'"),
        ({"metric": "calibration_error"}, "ladder.metric: 'calibration_error' is not one of"),
        ({"classifier": replace(PLAIN, epochs=None)}, "ladder.classifier.epochs: null gives all arms"),
        ({"classifier": replace(PLAIN, epochs=2, selection="none")}, "selected_on: test says which weights"),
        ({"train_seeds": []}, "ladder.train_seeds"),
        ({"strategies": ["a"], "epochs": {"b": 5}}, "ladder.epochs: 'b' is not compared; .*strategies are a"),
        ({"epochs": {"b": 0}}, "ladder.epochs: 0 of b is below 1"),
        ({"epochs": {"b": 2}}, "ladder.epochs: 2 of b changes nothing"),
    ],
)
def test_what_cannot_be_climbed_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(CONFIG, **change).validate("ladder.")
