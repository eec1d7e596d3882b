"""Cells that are kept beside a recipe: found by what decides them, and by nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from accelerate import Accelerator

from skindiff.classification.experiment import Experiment
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.classification.jobs import jobs_of
from skindiff.classification.recorded_cells import RecordedCells, hashed, record_of, write_cells
from skindiff.errors import RunFolderError
from skindiff.synthesis.strategies import Unmade
from tests.classification.engine import SMALL, SPREAD, drawn_from, make_corpus, make_experiment, make_split


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    folder, corpus = tmp_path_factory.mktemp("trained"), make_corpus()
    split = make_split(corpus)
    experiment = make_experiment(folder, Accelerator(cpu=True), SPREAD, corpus, split)
    images = replace(drawn_from(corpus, split.train, folder), made_with="settings")
    cells = experiment.cells(images)
    write_cells(folder / "cells.parquet", [(cell, None) for cell in cells])
    return folder / "cells.parquet", corpus, split, images, cells


def again(trained, folder: Path, config=SPREAD, **changes) -> Experiment:
    file, corpus, split, _, _ = trained
    experiment = make_experiment(folder, Accelerator(cpu=True), config, corpus, replace(split, **changes))
    return Experiment(experiment.study, config, scenario="few-shot", recorded=RecordedCells((file,)))


def test_a_recorded_cell_is_the_cell_itself(trained, tmp_path: Path) -> None:
    _, _, _, images, cells = trained
    found = again(trained, tmp_path).cells(images)
    assert not list((tmp_path / "stages").glob("cell-*"))
    for one, other in zip(found, cells, strict=True):
        assert one.key == other.key
        for name in ("image_ids", "group_ids", "skin_types", "class_names", "optimiser_steps", "record"):
            assert getattr(one, name) == getattr(other, name)
        assert np.array_equal(one.probabilities, other.probabilities)
        assert np.array_equal(one.labels, other.labels)


@pytest.mark.parametrize("what", ["images", "settings", "validation", "order"])
def test_what_decides_a_cell_is_in_its_fingerprint(what: str, trained, tmp_path: Path) -> None:
    _, _, split, images, cells = trained
    config = SPREAD
    if what == "images":
        images = replace(images, made_with="other settings")
    if what == "settings":
        config = replace(SPREAD, classifier=replace(SMALL.classifier, channels=3, dropout=0.1))
    changes = {"validation": split.validation[:-1]} if what == "validation" else {}
    experiment = again(trained, tmp_path, config, **changes)
    if what == "order":  # the same images in another order are the same test set
        experiment.study.split.test["all"].sort()
    found = experiment.cells(images)
    expected = {"images": 2, "order": len(cells)}.get(what, 0)  # the arm of real images has none
    assert len(experiment.taken) == expected
    assert len(found) == len(cells)


def test_steps_that_go_by_other_images_are_in_the_fingerprint(trained, tmp_path: Path) -> None:
    _, _, _, images, _ = trained
    config = replace(SMALL, arms=["real", "real+syn"], classifier=replace(SMALL.classifier, epochs=1))
    study, records = again(trained, tmp_path).study, []
    for made_with in ("ten images", "twenty images", ""):
        jobs = jobs_of(study, config, replace(images, made_with=made_with), equal_steps=True)
        assert jobs[0].arm.name == "real"
        records.append(record_of(study, config, jobs[0]))
    assert len(set(records)) == 3
    assert records[-1] == ""
    (own,) = jobs_of(study, config, None, equal_steps=False)
    assert record_of(study, config, own) not in records


def test_the_classifier_of_a_filter_and_the_weights_of_a_start_are_in_the_fingerprint(
    trained, tmp_path: Path
) -> None:
    study, records = again(trained, tmp_path / "run").study, set()
    unmade = Unmade("img2img", "tiny", "settings")
    for judges in (["probe:lite0"], ["probe:bundled", "probe:lite0"]):
        config = ExperimentConfig(arms=["real+syn:agreement"], architectures=judges)
        job = jobs_of(study, config, unmade, equal_steps=False)[-1]
        assert job.architecture == "probe:lite0"
        records.add(record_of(study, config, job))
    assert len(records) == 2
    config = replace(SMALL, classifier=replace(SMALL.classifier, weights=str(tmp_path / "start.safetensors")))
    for content in (b"one", b"two"):
        (tmp_path / "start.safetensors").write_bytes(content)
        (job,) = jobs_of(study, config, None, equal_steps=False)
        records.add(record_of(study, config, job))
    assert len(records) == 4


def test_a_file_holds_no_image_name_and_is_the_same_for_the_same_cells(trained, tmp_path: Path) -> None:
    file, corpus, _, _, cells = trained
    text = file.read_bytes()
    assert not any(str(name).encode() in text for name in corpus["image_id"])
    assert hashed(corpus["image_id"][0]) != corpus["image_id"][0]
    half = len(cells) // 2
    for part in (cells[half:], cells[:half], cells[:1]):
        write_cells(tmp_path / "parts.parquet", [(cell, None) for cell in part])
    assert (tmp_path / "parts.parquet").read_bytes() == text


def test_what_is_no_file_of_these_images_is_named(trained, tmp_path: Path) -> None:
    file, _, _, images, _ = trained
    table = pd.read_parquet(file)
    table["images"] = [[*row[:-1], "0" * 16] for row in table["images"]]
    table.to_parquet(tmp_path / "other.parquet")
    experiment = again(trained, tmp_path / "run")
    experiment.recorded = RecordedCells((tmp_path / "other.parquet",))
    with pytest.raises(RunFolderError, match="its images are not those of test set 'all'"):
        experiment.cells(images)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunFolderError, match=r"broken.parquet holds no recorded cells"):
        RecordedCells((tmp_path / "broken.parquet",)).find(experiment.study, "x")
