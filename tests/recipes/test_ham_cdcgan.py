"""The recipe ham_cdcgan on a tiny phantom: from beginning to end, resumed, refused."""

import logging
from dataclasses import replace
from pathlib import Path

import keep_cells
import pandas as pd
import pytest

import skindiff
from recipes.ham_cdcgan import HamCdcganConfig, main
from skindiff.classification.classifier_config import ClassifierConfig
from skindiff.config import parse_config
from skindiff.errors import ConfigError, RunFolderError, SplitError
from skindiff.evaluation.detection import DetectionConfig
from skindiff.evaluation.recorded_detections import KEPT, RecordedDetections, merge, rows_in
from skindiff.training.from_scratch import FromScratchConfig
from skindiff.training.gan_config import SNDCGANConfig
from tests.conftest import REPOSITORY
from tests.recipes.tiny_class_study import (
    CLASSES,
    report_of,
    stage_names,
    stage_times,
    tiny_corpus,
    tiny_fidelity,
    tiny_loop,
    tiny_synthesis,
)

SETTINGS = REPOSITORY / "recipes" / "ham_cdcgan"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> HamCdcganConfig:
    classifier = ClassifierConfig(
        architecture="lesion_detector", image_size=32, balance="oversample", loop=tiny_loop(validate_every=1)
    )
    config = HamCdcganConfig(
        output_dir=str(tmp_path_factory.mktemp("cdcgan") / "run"),
        threads=1,
        corpus=tiny_corpus(32),
        seeds=[0, 1],
        generator=FromScratchConfig(
            sn_dcgan=SNDCGANConfig(image_size=32, width=8, diversity_images=2, loop=tiny_loop())
        ),
        synthesis=tiny_synthesis(per_class=3),
        detection=DetectionConfig(classifier, bootstrap_replicates=100),
    )
    main(config)
    return config


def test_detection_stands_beside_the_detectors_own_recall(study: HamCdcganConfig) -> None:
    assert stage_names(study.output_dir) == [
        *["copying-sn-dcgan"] * 2,
        *["detector"] * 2,
        *["generator-sn-dcgan"] * 2,
        *["synthesis-sn-dcgan"] * 2,
    ]
    report = report_of(study.output_dir)
    rows = report["detection"]["classes"]
    assert [(row["generator"], row["class_name"]) for row in rows] == [("sn_dcgan", n) for n in CLASSES]
    for row in rows:
        assert (row["images"], row["seeds"]) == (6, 2)
        assert 0 <= row["detection"] <= 1
        assert row["held_out_images"] >= 2
    text = (Path(study.output_dir) / "report.md").read_text()
    for words in ("## Detection", "held-out recall", "## Samples by class", "training.png"):
        assert words in text
    assert "## Beside the paper" not in text


def test_the_detector_keeps_to_images_that_the_generator_never_saw(study: HamCdcganConfig) -> None:
    for split in report_of(study.output_dir)["splits"]:
        assert sum(split["sizes"].values()) == 32
        assert split["sizes"]["generator"] == 16


def test_both_players_have_a_curve_and_resume_repeats_nothing(study: HamCdcganConfig) -> None:
    before, text = stage_times(study.output_dir), (Path(study.output_dir) / "report.md").read_bytes()
    main(replace(study, resume=True))
    assert stage_times(study.output_dir) == before
    assert (Path(study.output_dir) / "report.md").read_bytes() == text


def test_fidelity_is_added_to_a_finished_run(study: HamCdcganConfig) -> None:
    pytest.importorskip("torch_fidelity")
    before = stage_times(study.output_dir)
    main(replace(study, resume=True, fidelity=tiny_fidelity()))
    assert {path: time for path, time in stage_times(study.output_dir).items() if path in before} == before
    rows = report_of(study.output_dir)["fidelity"]
    names = ["real training", "sn_dcgan"]
    assert [(row["images"], row["seed"]) for row in rows] == [
        (name, seed) for seed in (0, 1) for name in names
    ]
    # Real images against real ones in the first row, against drawings of two training steps in the others.
    assert all(rows[0]["scores"]["kid"] < row["scores"]["kid"] for row in rows[1:] if row["seed"] == 0)
    assert "## Fidelity" in (Path(study.output_dir) / "report.md").read_text()


class Stopped(Exception):
    """A study got as far as its first generator."""


def stopped(*_: object, **__: object) -> None:
    raise Stopped


def test_recorded_detections_take_the_place_of_generators(
    study: HamCdcganConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ConfigError, match="none is of these settings"):
        main(replace(study, output_dir=str(tmp_path / "none"), recorded="only"))
    kept, rows = tmp_path / "results.parquet", rows_in(Path(study.output_dir))
    assert {tuple(row) for row in rows} == {
        ("record", "part", "generator", "seed", "labels", "probabilities", "groups")
    }
    merge(kept, [row for row in rows if row["seed"] == 0])
    monkeypatch.setattr(
        RecordedDetections,
        "beside",
        lambda _, use, run: RecordedDetections((kept,), run.path / KEPT, alone=use == "only"),
    )
    # What is there alone: the other seed is not run, and nothing is trained.
    main(replace(study, output_dir=str(tmp_path / "only"), recorded="only"))
    notes = report_of(tmp_path / "only")["notes"]
    assert stage_names(tmp_path / "only") == []
    assert any(note.startswith("Made elsewhere") and "sn_dcgan, seed 0" in note for note in notes)
    assert "Not run: sn_dcgan, seed 1." in notes
    # All of them: what the run that made them reports.
    keep_cells.main(study.output_dir, str(kept))
    main(replace(study, output_dir=str(tmp_path / "taken")))
    assert stage_names(tmp_path / "taken") == []
    assert report_of(tmp_path / "taken")["detection"] == report_of(study.output_dir)["detection"]
    # Other settings are another question.
    drawn_otherwise = replace(
        study, output_dir=str(tmp_path / "other"), synthesis=tiny_synthesis(per_class=2)
    )
    with pytest.raises(ConfigError, match="none is of these settings"):
        main(replace(drawn_otherwise, recorded="only"))
    # It is said before anything is trained in its place.
    monkeypatch.setattr(skindiff, "train_generator", stopped)
    with caplog.at_level(logging.WARNING), pytest.raises(Stopped):
        main(replace(drawn_otherwise, output_dir=str(tmp_path / "again")))
    assert "Made again: sn_dcgan, seed 0. What is kept beside the recipe" in caplog.text
    # A detection of other images is no detection of these.
    table = pd.read_parquet(kept)
    table["groups"] = [groups[::-1] for groups in table["groups"]]
    table.to_parquet(kept)
    with pytest.raises(RunFolderError, match="held-out images are not those of this split"):
        main(replace(study, output_dir=str(tmp_path / "foreign")))


def test_too_little_left_for_the_detector_is_an_error_before_training(
    study: HamCdcganConfig, tmp_path: Path
) -> None:
    with pytest.raises(SplitError, match="train the generator on fewer"):
        main(replace(study, output_dir=str(tmp_path / "run"), generator_share=0.9))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["cache"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--generator_share", "1"], "generator_share: 1.0 is outside"),
        (["--detection.held_out_fraction", "0"], "detection.held_out_fraction: 0"),
        (["--generator.sn_dcgan.image_size", "33"], "generator.sn_dcgan"),
        (["--families", "[]"], "families"),
        (
            ["--families", "[joint_vae]", "--generator.joint_vae.early_stopping", "true"],
            "generator.joint_vae.early_stopping is true, and the splits have no validation images",
        ),
    ],
)
def test_a_setting_that_cannot_work_is_named(arguments: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config(HamCdcganConfig, arguments, default=SETTINGS / "smoke.yaml")


@pytest.mark.parametrize("file", sorted(SETTINGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_config_beside_the_recipe_works(file: Path) -> None:
    config = parse_config(HamCdcganConfig, ["--config", str(file)], default=file)
    assert config.output_dir == f"runs/ham_cdcgan_{file.stem}"
