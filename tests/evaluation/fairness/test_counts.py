import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame
from sklearn.metrics import recall_score

from skindiff.classification.cells import Cell, load_cell, save_cell
from skindiff.corpora.fitzpatrick17k import Fitzpatrick17kConfig, load_fitzpatrick17k
from skindiff.corpora.schema import SKIN_TYPES
from skindiff.evaluation.fairness.content import fairness_content
from skindiff.evaluation.fairness.counts import count, error_if_calibrated, merged, recall_by_group
from tests.evaluation.made_up import make_cells

CONDITIONS = ["basal cell carcinoma", "folliculitis", "prurigo nodularis", "squamous cell carcinoma"]


def one_cell(images: int = 120, seed: int = 0) -> Cell:
    return make_cells({"real": 1.0}, split_seeds=(0,), images=images, seed=seed)[0]


def test_weights_count_like_repeated_images() -> None:
    cell = one_cell()
    rng = np.random.default_rng(0)
    weights = np.stack([np.ones(120), *rng.integers(0, 3, (3, 120))]).astype(float)
    found = count(cell, weights, cell.skin_types, ["V", "VI"])
    for replicate in range(4):
        rows = np.repeat(np.arange(120), weights[replicate].astype(int))
        kinds = np.array(cell.skin_types)[rows]
        labels, chances = cell.labels[rows], cell.probabilities[rows]
        predicted = chances.argmax(1)
        by_hand = recall_by_group(labels, predicted, kinds)
        for group in ("V", "VI"):
            own = kinds == group
            assert found.recall(group)[replicate] == pytest.approx(by_hand[group], abs=1e-12)
            assert found.recall(group)[replicate] == pytest.approx(
                recall_score(labels[own], predicted[own], average="macro", labels=np.unique(labels[own]))
            )
            by_class = recall_score(
                labels[own], predicted[own], labels=[2], average=None, zero_division=np.nan
            )
            assert found.class_recall(group, 2)[replicate] == pytest.approx(by_class[0], nan_ok=True)
            sure, right = chances[own].max(1), predicted[own] == labels[own]
            assert found.overconfidence(group)[replicate] == pytest.approx(sure.mean() - right.mean())
            error = sum(
                abs(sure[part].mean() - right[part].mean()) * part.mean()
                for low in np.arange(10) / 10
                if (part := (sure >= low) & (sure < low + 0.1)).any()
            )
            assert found.calibration_error(group)[replicate] == pytest.approx(error)
        everyone = recall_score(labels, predicted, labels=[2], average=None)[0]
        assert found.class_recall(None, 2)[replicate] == pytest.approx(everyone)


def test_the_gap_is_over_the_classes_that_both_sides_have() -> None:
    cell = one_cell()
    kinds = tuple("I" if label < 2 else "V" for label in cell.labels)
    kinds = ("V", "V", *kinds[2:])  # the first two images are of the first two classes
    found = count(cell, np.ones((1, 120)), kinds, ["I", "V"])
    predicted = cell.probabilities.argmax(1)
    light, dark = (
        recall_score(cell.labels[rows], predicted[rows], labels=[0, 1], average="macro")
        for rows in (np.array(kinds) == "I", np.array(kinds) == "V")
    )
    assert found.gap(["I", "II"], ["V", "VI"])[0] == pytest.approx(light - dark)


def test_a_calibrated_classifier_errs_as_much_as_chance_says() -> None:
    rng = np.random.default_rng(1)
    errors, expected = [], []
    for study in range(30):
        cell = one_cell(images=60, seed=study)
        drawn = [rng.choice(4, p=chances) for chances in cell.probabilities]
        honest = replace(cell, labels=np.array(drawn), skin_types=("V",) * 60)
        errors.append(count(honest, np.ones((1, 60)), honest.skin_types, ["V"]).calibration_error("V")[0])
        expected.append(error_if_calibrated(honest, honest.skin_types, "V", rng))
    assert 0.05 < np.mean(expected) < 0.2
    assert np.mean(errors) == pytest.approx(np.mean(expected), abs=0.015)


def test_test_sets_of_one_run_are_put_together() -> None:
    dark = make_cells({"real": 1.0, "syn": 1.0}, split_seeds=(0, 1))
    light = [
        replace(
            cell,
            key=cell.key._replace(test_group="light"),
            image_ids=tuple(f"light-{name}" for name in cell.image_ids),
            skin_types=("I",) * 120,
        )
        for cell in dark
    ]
    both = merged([*dark, *light])
    assert [cell.key.test_group for cell in both] == ["all"] * 4
    assert both[0].skin_types == dark[0].skin_types + light[0].skin_types
    assert (both[0].probabilities[120:] == light[0].probabilities).all()


def test_scores_by_group_are_the_reference_librarys_on_that_groups_files(
    real_data: Path, tmp_path: Path
) -> None:
    """From the corpus' own table on, nothing between the files and the report regroups or reorders them."""
    folder = real_data / "fitzpatrick17k"
    corpus = load_fitzpatrick17k(Fitzpatrick17kConfig(data_dir=str(folder), conditions=CONDITIONS))
    table = corpus.dataset.remove_columns("image")
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(table))[:400]
    names = tuple(table.features["label"].names)
    said = {table["image_id"][row]: rng.dirichlet(np.ones(len(names))) for row in rows}
    part = table.select(rows)
    cell = Cell(
        key=one_cell().key,
        class_names=names,
        image_ids=tuple(part["image_id"]),
        group_ids=tuple(part["group_id"]),
        skin_types=tuple(part["skin_type"]),
        labels=np.array(part["label"]),
        probabilities=np.stack([said[image] for image in part["image_id"]]),
        optimiser_steps=1,
    )
    save_cell(cell, tmp_path / "cell.npz")
    content = fairness_content([load_cell(tmp_path / "cell.npz")], replicates=20)
    found = content["populations"][0]["arms"][0]["groups"]
    with (folder / "fitzpatrick17k.csv").open(encoding="utf-8") as stream:
        published = [row for row in csv.DictReader(stream) if row["md5hash"] in said]
    code = {name.lower(): number for number, name in enumerate(names)}
    truth = np.array([code[row["label"].lower()] for row in published])
    predicted = np.array([said[row["md5hash"]].argmax() for row in published])
    tones = np.array([int(row["fitzpatrick_scale"]) for row in published])
    frame = MetricFrame(
        metrics=lambda y, p: recall_score(y, p, labels=np.unique(y), average="macro"),
        y_true=truth,
        y_pred=predicted,
        sensitive_features=tones,
    )
    for number, name in enumerate(SKIN_TYPES, start=1):
        own = tones == number
        assert found[name]["recall"]["value"] == pytest.approx(frame.by_group[number], abs=1e-12)
        by_class = recall_score(
            truth[own], predicted[own], labels=range(len(names)), average=None, zero_division=np.nan
        )
        assert found[name]["recall"]["value"] == pytest.approx(np.nanmean(by_class), abs=1e-12)
        for label, value in zip(names, by_class, strict=True):
            if found[name]["classes"][label] is not None:
                assert found[name]["classes"][label]["value"] == pytest.approx(value, abs=1e-12)
