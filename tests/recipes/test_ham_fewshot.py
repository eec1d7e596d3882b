"""The recipe ham_fewshot on a tiny phantom: from beginning to end, resumed, refused."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from recipes.ham_fewshot import HamFewShotConfig, main
from scripts import keep_cells
from skindiff.api import gathering
from skindiff.classification.ladder import LadderConfig
from skindiff.classification.recorded_cells import RecordedCells, write_cells
from skindiff.config import parse_config
from skindiff.corpora.few_shot import FewShotConfig
from skindiff.errors import ConfigError, SkindiffError
from skindiff.measures.copying.near_copies import load_near_copies
from skindiff.training.ddpm import DDPMConfig
from skindiff.training.from_scratch import FromScratchConfig
from skindiff.training.gan_config import DCGANConfig
from skindiff.training.vae_config import CvaeResNetConfig
from tests.conftest import REPOSITORY
from tests.recipes.tiny_class_study import (
    report_of,
    stage_names,
    stage_times,
    tiny_corpus,
    tiny_experiment,
    tiny_fidelity,
    tiny_loop,
    tiny_synthesis,
)

SETTINGS = REPOSITORY / "recipes" / "ham_fewshot"
FAMILIES = ("cvae_resnet", "dcgan", "ddpm")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> HamFewShotConfig:
    config = HamFewShotConfig(
        output_dir=str(tmp_path_factory.mktemp("few shot") / "run"),
        threads=1,
        corpus=tiny_corpus(32),
        split=FewShotConfig(shots=4, validation_fraction=0.3, test_fraction=0.7),
        split_seeds=[0, 1],
        generator=FromScratchConfig(
            cvae_resnet=CvaeResNetConfig(image_size=32, decoder_width=16, loop=tiny_loop()),
            dcgan=DCGANConfig(image_size=32, width=8, diversity_images=2, loop=tiny_loop()),
            ddpm=DDPMConfig(image_size=32, widths=[32], validation_examples=0, loop=tiny_loop()),
        ),
        synthesis=tiny_synthesis(budget="table", table={"nodule": 3}),
        experiment=tiny_experiment(32, ["real", "syn", "real+syn"]),
    )
    main(config)
    return config


def test_three_generators_are_compared_on_every_split(study: HamFewShotConfig) -> None:
    stages = stage_names(study.output_dir)
    for family in FAMILIES:
        name = family.replace("_", "-")
        assert stages.count(f"generator-{name}") == 2
        assert stages.count(f"synthesis-{name}") == 2
    assert stages.count("cell-real-test_resnet") == 2
    assert stages.count("cell-real-syn-test_resnet") == 6
    report = report_of(study.output_dir)
    assert [split["groups_crossing"] for split in report["splits"]] == [0, 0]
    assert [split["sizes"]["train"] for split in report["splits"]] == [8, 8]
    series = {(row["arm"], row["strategy"]) for row in report["summary"]}
    assert series == {("real", None)} | {(arm, name) for arm in ("syn", "real+syn") for name in FAMILIES}
    assert {row["cells"] for row in report["summary"]} == {2}
    for row in report["per_class_f1"]:
        assert row["runs"] == 2
        assert set(row["f1"]) == {"nodule", "ring"}


def test_copies_are_looked_for_in_what_every_generator_drew(study: HamFewShotConfig) -> None:
    rows = report_of(study.output_dir)["copying"]
    assert [(row["images"], row["seed"]) for row in rows] == [
        (name, seed) for seed in (0, 1) for name in FAMILIES
    ]
    text = (Path(study.output_dir) / "report.md").read_text()
    assert "Are synthetic images copies of training images?" in text
    for row in rows:
        assert row["training"] == 8
        assert row["held_out"] > 0
        assert f"| {row['images']}, seed {row['seed']} | {row['generated']} |" in text
    for name in FAMILIES:
        assert (Path(study.output_dir) / "pictures" / f"closest-pairs-{name}.png").is_file()
    for folder in (Path(study.output_dir) / "stages").glob("synthesis-*"):
        assert load_near_copies(folder / "data") is not None


def test_the_report_sets_the_paper_beside_and_says_what_is_not_drawn(study: HamFewShotConfig) -> None:
    text = (Path(study.output_dir) / "report.md").read_text()
    for words in (
        "## Beside the paper",
        "abstract and section VI-A",
        "+1.88",
        "## F1 by class",
        "ddpm generates no image of ring",
        *(f"pictures/samples-{family}.png" for family in FAMILIES),
    ):
        assert words in text
    assert all((Path(study.output_dir) / "pictures" / f"samples-{name}.png").is_file() for name in FAMILIES)
    assert {row["paper"].split(" et al.")[0] for row in report_of(study.output_dir)["published"]} == {
        "Ravani"
    }


@pytest.mark.slow
def test_resume_repeats_nothing_and_reports_the_same(study: HamFewShotConfig) -> None:
    before, text = stage_times(study.output_dir), (Path(study.output_dir) / "report.md").read_bytes()
    main(replace(study, resume=True))
    assert stage_times(study.output_dir) == before
    assert (Path(study.output_dir) / "report.md").read_bytes() == text
    with pytest.raises(SkindiffError, match=r"already holds a run; .*--resume"):
        main(study)


@pytest.mark.slow
def test_the_published_gain_is_taken_apart(
    study: HamFewShotConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The cells of the study are known, so that a generator is trained for the ladder alone.
    ladder = LadderConfig(
        metric="balanced_accuracy",
        strategies=["dcgan"],
        classifier=replace(study.experiment.classifier, architecture="lesion_detector", epochs=1),
        seeds=[1],
    )
    files = [tmp_path / "results.parquet"]
    write_cells(files[0], list(keep_cells.cells_of(Path(study.output_dir))))
    monkeypatch.setattr(RecordedCells, "beside", lambda *_: RecordedCells(tuple(files)))
    main(replace(study, output_dir=str(tmp_path / "run"), ladder=ladder))
    report = report_of(tmp_path / "run")
    assert [(row["rung"], row["cut"], row["paired"]) for row in report["ladder"]] == [
        ("as published", "published", None),
        ("the same number of optimiser steps", "published", True),
        ("equal exposure of real images", "published", True),
        ("no group across the split", "fair", False),
    ]
    assert report["ladder"][0]["reference_steps"] < report["ladder"][1]["reference_steps"]
    assert {row["arm"] for row in report["summary"]} == {"real", "syn", "real+syn"}  # the study's own alone
    assert [split["groups_crossing"] for split in report["splits"]] == [0, 0]
    text = (tmp_path / "run" / "report.md").read_text()
    assert "## How much of the published gain is the generator's" in text
    assert "points as published" in text
    assert {row["runs"] for row in report["ladder"]} == {1}
    # Every group is one image here, so that both cuts train on the same rows.
    names = stage_names(tmp_path / "run")
    assert [name for name in names if name.startswith("generator")] == ["generator-dcgan"]


@pytest.mark.slow
def test_fidelity_is_added_to_a_finished_run(study: HamFewShotConfig) -> None:
    pytest.importorskip("torch_fidelity")
    before = stage_times(study.output_dir)
    main(replace(study, resume=True, fidelity=tiny_fidelity()))
    assert {path: time for path, time in stage_times(study.output_dir).items() if path in before} == before
    rows = report_of(study.output_dir)["fidelity"]
    names = ["real training", *FAMILIES]
    assert [(row["images"], row["seed"]) for row in rows] == [
        (name, seed) for seed in (0, 1) for name in names
    ]
    # Real images against real ones in the first row, against drawings of two training steps in the others.
    assert all(rows[0]["scores"]["kid"] < row["scores"]["kid"] for row in rows[1:] if row["seed"] == 0)
    assert "## Fidelity" in (Path(study.output_dir) / "report.md").read_text()


def test_a_class_that_the_corpus_lacks_is_refused(study: HamFewShotConfig) -> None:
    synthesis = replace(study.synthesis, table={"nv": 3})
    with pytest.raises(ConfigError, match="'nv' is no class of this corpus"):
        main(replace(study, resume=True, split_seeds=[0], families=["ddpm"], synthesis=synthesis))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ladder.seeds", "[7]"], "ladder.seeds: 7 is not among those of the study"),
        (["--ladder.strategies", "[dpm]"], "ladder.strategies: 'dpm' is not among those of the study"),
        (
            ["--ladder.metric", "f1", "--split.preset", "published"],
            "ladder: it leads from the published split",
        ),
        (["--families", "[dpm]"], "families: 'dpm' is not one of"),
        (["--families", "[ddpm, ddpm]"], "names a family twice"),
        (["--families", "[fc_gan]"], "generator.fc_gan.channels is 1, but the corpus is in colour"),
        (["--split.shots", "0"], "split.shots: 0 is below 1"),
        (
            ["--split.validation_fraction", "0", "--generator.cvae_resnet.early_stopping", "true"],
            "generator.cvae_resnet.early_stopping is true, and the splits have no validation images",
        ),
        (["--split_seeds", "[]"], "split_seeds: \\[\\] must name at least one"),
        (["--generator.ddpm.loop.steps", "0"], "generator.ddpm.loop.steps is 0"),
        (["--synthesis.budget", "table"], "synthesis.table"),
        (["--resume", "--overwrite"], "resume and overwrite are both true"),
        (["--corpus.name", "ham10000"], "corpus.ham10000.data_dir is not given"),
        (["--generator_images", "all"], "generator_images"),
    ],
)
def test_a_setting_that_cannot_work_is_named(arguments: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config(HamFewShotConfig, arguments, default=SETTINGS / "smoke.yaml")


@pytest.mark.parametrize("file", sorted(SETTINGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_config_beside_the_recipe_works(file: Path) -> None:
    config = parse_config(HamFewShotConfig, ["--config", str(file)], default=file)
    assert config.output_dir == f"runs/ham_fewshot_{file.stem}"


def test_recorded_cells_take_the_place_of_generators(
    study: HamFewShotConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ConfigError, match="none is of these settings"):
        main(replace(study, output_dir=str(tmp_path / "none"), recorded="only"))
    kept = keep_cells.cells_of(Path(study.output_dir))
    assert len(kept) == 2 + 2 * 3 * 2
    write_cells(tmp_path / "results.parquet", [one for one in kept if one[0].key.split_seed == 0])
    monkeypatch.setattr(
        RecordedCells, "beside", lambda _, use: RecordedCells((tmp_path / "results.parquet",), use == "only")
    )
    # What is there alone: the other split is not run, and no generator is trained.
    main(replace(study, output_dir=str(tmp_path / "only"), recorded="only"))
    report = report_of(tmp_path / "only")
    assert not [name for name in stage_names(tmp_path / "only") if not name.startswith("cell")]
    assert any("7 of 7 cells were trained elsewhere" in note for note in report["notes"])
    (missing,) = [note for note in report["notes"] if note.startswith("Not run: ")]
    assert "test_resnet real+syn, seed 1" in missing
    # All of them: the report of the run that trained them, with nothing trained.
    write_cells(tmp_path / "results.parquet", kept)
    main(replace(study, output_dir=str(tmp_path / "taken")))
    report, before = report_of(tmp_path / "taken"), report_of(study.output_dir)
    assert not [
        name for name in stage_names(tmp_path / "taken") if name.startswith(("generator", "synthesis"))
    ]
    assert report["summary"] == before["summary"]
    assert report["results"] == before["results"]
    # Other settings are another question.
    synthesis = replace(study.synthesis, table={"nodule": 2})
    with pytest.raises(ConfigError, match=r"none is of these settings \(14 trainings are kept .* groups"):
        main(
            replace(
                study, output_dir=str(tmp_path / "other"), recorded="only", synthesis=synthesis,
                experiment=replace(study.experiment, arms=["syn", "real+syn"], primary=None),
            )
        )  # fmt: skip
    # Before anything is trained in their place it is said that what is kept does not fit.
    monkeypatch.setattr(gathering, "prepared", stopped)
    own = study.experiment.classifier
    classifier = replace(own, loop=replace(own.loop, learning_rate=2 * own.loop.learning_rate))
    for name, experiment in (
        ("fits", study.experiment), ("new", replace(study.experiment, classifier=classifier))
    ):  # fmt: skip
        caplog.clear()
        with caplog.at_level(logging.WARNING), pytest.raises(Stopped):
            main(replace(study, output_dir=str(tmp_path / name), experiment=experiment))
        said = "No cell of these settings is kept beside the recipe (14 trainings are kept whose test images"
        assert (said in caplog.text) == (name == "new")


class Stopped(Exception):
    """A study got as far as its generators."""


def stopped(*_: object, **__: object) -> None:
    raise Stopped
