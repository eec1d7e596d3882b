"""A study that is tested on another corpus too: other class names, other groups, some images that it has."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from datasets import Dataset
from PIL import Image

import skindiff
from skindiff.api import evaluation
from skindiff.api.calls import configured
from skindiff.api.elsewhere import ask_elsewhere
from skindiff.api.evaluation import EvaluationReport
from skindiff.classification.experiment_config import ExperimentConfig
from skindiff.commands.evaluate import EvaluateCommand, main
from skindiff.corpora.registry import Corpus
from skindiff.errors import ConfigError
from skindiff.study import open_run

NAMES = {"nodule": "lump", "ring": "annular", "ulcer": "sore"}
TYPES = {"I": 12, "V": 12}
MAPPED = {"lump": "nodule", "annular": "ring"}
LOOP = {"steps": 12, "batch_size": 8, "warmup_steps": 0, "learning_rate": 1e-3}
Scene = tuple[Path, Corpus, Path]


def dress(folder: Path, corpus: Corpus, planted: int = 4) -> Path:
    """Write a phantom of another seed as a folder of images under other names, with some of the study's."""
    other = skindiff.load_corpus(
        "phantom", image_size=32, cache_dir=folder / "other", classes=list(NAMES), seed=2,
        images_per_class=TYPES, repeat_share=0.0,
    )  # fmt: skip
    rows = [(NAMES[other.class_names[row["label"]]], row["image"]) for row in other.dataset]
    own = corpus.dataset.filter(lambda row: corpus.class_names[row["label"]] == "ring").select(range(planted))
    rows += [("annular", row["image"].transpose(Image.Transpose.FLIP_LEFT_RIGHT)) for row in own]
    for number, (name, image) in enumerate(rows):
        (folder / "clinic" / name).mkdir(parents=True, exist_ok=True)
        image.save(folder / "clinic" / name / f"c{number:03d}.png")
    return folder / "clinic"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("external")
    corpus = skindiff.load_corpus(
        "phantom", image_size=32, cache_dir=folder / "cache", classes=["nodule", "ring", "plaque"], seed=1,
        images_per_class=TYPES, repeat_share=0.0,
    )  # fmt: skip
    return folder, corpus, dress(folder, corpus)


def external(clinic: Path, **more: object) -> dict[str, dict[str, object]]:
    corpus = {"name": "imagefolder", "audit": False, "imagefolder": {"data_dir": str(clinic)}}
    return {"clinic": {"corpus": corpus, "classes": MAPPED, **more}}


def run(
    scene: Scene,
    name: str,
    resume: bool = False,
    classifier: dict[str, object] | None = None,
    **settings: object,
) -> EvaluationReport:
    folder, corpus, _ = scene
    splits = [skindiff.make_split(corpus, seed=seed, test_fraction=0.4) for seed in range(2)]
    return skindiff.evaluate(
        corpus, splits, arms=["real", "real+geometric"], output_dir=folder / name, resume=resume,
        bootstrap_replicates=100, copying={"enabled": False}, architectures=["lesion_detector"],
        classifier={"image_size": 32, "augment": "none", "loop": LOOP, **(classifier or {})}, **settings,
    )  # fmt: skip


@pytest.fixture(scope="module")
def first(scene: Scene) -> EvaluationReport:
    """Tested elsewhere from the start."""
    return run(scene, "first", external=external(scene[2]))


@pytest.fixture(scope="module")
def without(scene: Scene) -> EvaluationReport:
    """Tested at home alone."""
    return run(scene, "without")


@pytest.fixture(scope="module")
def gone(scene: Scene) -> EvaluationReport:
    """The same, with no weights kept."""
    return run(scene, "gone", classifier={"keep_weights": False})


def test_every_arm_is_scored_elsewhere(first: EvaluationReport) -> None:
    found = first.content["external"]
    (one,) = found["sets"]
    assert one["twins"] == 4
    assert one["unmapped"] == {"sore": 24}
    assert one["tested"] == {"nodule": 24, "ring": 24}
    assert one["trained_again"] == 0
    assert {(row["arm"], row["split_seed"]) for row in found["results"]} == {
        (arm, seed) for arm in ("real", "real+geometric") for seed in range(2)
    }
    assert {(row["test_group"], row["test_images"]) for row in found["results"]} == {("clinic", 48)}
    assert {row["test_group"] for row in first.content["results"]} == {"all"}
    (row,) = [one for one in found["beside"] if one["arm"] == "real" and one["metric"] == "auroc"]
    assert row["change"] == pytest.approx(row["mean"] - row["here"], abs=1e-5)
    assert row["change_ci_low"] < row["change"] < row["change_ci_high"]
    assert (row["runs"], row["images"], row["test_group"], row["test_corpus"]) == (2, 48, "all", "clinic")
    assert {verdict["test_group"] for verdict in found["verdicts"]} == {"clinic"}
    text = (first.folder / "report.md").read_text()
    for said in (
        "## On other corpora", "sore (24)", "4 images are in the study's corpus too", "annular is ring",
        "It has no image of plaque", "were fixed before these images were opened", "## Groups on clinic",
        "No skin type is recorded of the images of clinic",
    ):  # fmt: skip
        assert said in text
    assert text.startswith("# How well do classifiers of real images do?")
    assert found["fairness"] == {"clinic": []}
    assert "synthetic ones" not in text  # no arm has any
    assert "On other corpora" in (first.folder / "report.html").read_text()


def test_a_classifier_is_never_given_what_it_is_tested_on(first: EvaluationReport) -> None:
    stages = list(first.folder.glob("stages/external-clinic-*"))
    assert len(stages) == 4
    assert all({path.name for path in stage.glob("*.npz")} == {"predictions.npz"} for stage in stages)


def test_the_own_cells_do_not_know_of_other_corpora(
    first: EvaluationReport, without: EvaluationReport
) -> None:
    names = [{path.name for path in one.folder.glob("stages/cell-*")} for one in (first, without)]
    assert names[0] == names[1]
    assert first.content["summary"] == without.content["summary"]
    assert "external" not in without.content
    assert "On other corpora" not in (without.folder / "report.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False])
def test_a_study_that_is_done_is_asked_later(
    kept: bool, scene: Scene, first: EvaluationReport, without: EvaluationReport, gone: EvaluationReport
) -> None:
    """Its own cells stay as they are; it is trained again where its weights are gone, and says so."""
    before = without if kept else gone
    folder = before.folder.with_name(f"later-{kept}")
    shutil.copytree(before.folder, folder)
    cells = {path.name: path.read_bytes() for path in folder.glob("stages/cell-*/*")}
    after = run(
        scene, folder.name, resume=True, classifier={"keep_weights": kept}, external=external(scene[2])
    )
    assert {path.name: path.read_bytes() for path in folder.glob("stages/cell-*/*")} == cells
    (one,) = after.content["external"]["sets"]
    assert one["trained_again"] == (0 if kept else 4)
    assert ("were trained again" in (after.folder / "report.md").read_text()) != kept
    for mine, theirs in zip(
        after.content["external"]["results"], first.content["external"]["results"], strict=True
    ):
        assert mine == {**theirs, "optimiser_steps": mine["optimiser_steps"]}


@pytest.mark.slow
def test_settings_that_follow_an_answer_are_told(scene: Scene, first: EvaluationReport) -> None:
    shutil.copytree(first.folder, first.folder.with_name("again"))
    again = run(scene, "again", resume=True, classifier={"dropout": 0.3}, external=external(scene[2]))
    text = (again.folder / "report.md").read_text()
    assert again.content["external"]["sets"][0]["asked_before"] == 4
    assert "4 classifiers of other settings were asked about clinic before" in text
    assert "were fixed before these images were opened" not in text


def test_classes_that_a_side_lacks_are_refused_before_anything_is_trained(scene: Scene) -> None:
    with pytest.raises(ConfigError, match=r"external\.clinic\.classes: 'mole' is no class of the corpus"):
        run(scene, "refused", external=external(scene[2], classes={"mole": "ring"}))
    assert not (scene[0] / "refused" / "stages").exists()


def test_a_corpus_in_hand_is_taken(scene: Scene) -> None:
    folder, corpus, clinic = scene
    other = skindiff.load_corpus(clinic, image_size=32, audit=False, cache_dir=folder / "in hand")
    settings = {"external": {"clinic": {"corpus": other, "classes": MAPPED}}}
    config = evaluation._config(corpus, ["real"], None, settings)
    assert config.experiment.external["clinic"].corpus == other.config


def test_kept_classifiers_are_asked_without_a_training(scene: Scene, first: EvaluationReport) -> None:
    """The same figures as where the study itself had been tested there."""
    folder, _, clinic = scene
    words = [
        *("--model", str(first.folder), "--output_dir", str(folder / "asked")),
        *("--corpus.name", "imagefolder", "--corpus.imagefolder.data_dir", str(clinic)),
        *("--corpus.audit", "false", "--mapping.classes", json.dumps(MAPPED)),
    ]
    assert main(words) == 0
    found = json.loads((folder / "asked" / "report.json").read_text())["external"]
    whole = first.content["external"]
    assert found["sets"][0]["twins"] == 4
    scores = [
        sorted((row["arm"], row["split_seed"], row["auroc"], row["f1"]) for row in one["results"])
        for one in (found, whole)
    ]
    assert [row[:2] for row in scores[0]] == [row[:2] for row in scores[1]]
    assert np.allclose([row[2:] for row in scores[0]], [row[2:] for row in scores[1]], atol=1e-4)
    assert len(found["beside"]) == len(whole["beside"])
    assert not list((folder / "asked").glob("stages/cell-*"))


def test_a_run_whose_images_are_gone_is_asked_and_its_own_folder_stays(
    scene: Scene, first: EvaluationReport, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(first.folder, tmp_path / "moved"))
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings["corpus"] = {"name": "imagefolder", "imagefolder": {"data_dir": str(tmp_path / "gone")}}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))

    report = ask(folder, scene[2], tmp_path / "asked")

    assert "leakage not excluded" in report.read_text()
    assert "moved was trained on are not at hand: data_dir" in (report.parent / "report.json").read_text()
    assert (report.parent / "config.yaml").is_file()


def test_a_run_that_kept_no_weights_says_how_to_go_on(
    gone: EvaluationReport, scene: Scene, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"has kept the weights of 0 of 4 classifiers; go on with it by"):
        ask(gone.folder, scene[2], tmp_path / "one")
    with pytest.raises(ConfigError, match="is neither a classifier nor a finished run"):
        ask(tmp_path, scene[2], tmp_path / "two")


def test_a_classifier_alone_is_asked_and_leakage_not_excluded(scene: Scene, tmp_path: Path) -> None:
    corpus = scene[1]
    split = skindiff.make_split(corpus, test_fraction=0.4)
    settings = {"architecture": "lesion_detector", "image_size": 32, "augment": "none", **LOOP}
    classifier = skindiff.train_classifier(corpus, split, **settings)
    report = ask(classifier.save(tmp_path / "alone"), scene[2], tmp_path / "asked")
    assert "leakage not excluded" in report.read_text()
    found = json.loads((report.parent / "report.json").read_text())["external"]
    assert found["sets"][0]["twins"] is None
    assert found["sets"][0]["images"] == 52
    assert not found["beside"]


def test_a_notebook_asks_about_a_corpus_by_its_own_groups(
    scene: Scene, first: EvaluationReport, tmp_path: Path
) -> None:
    clinic = Path(shutil.copytree(scene[2], tmp_path / "clinic"))
    files = [str(file.relative_to(clinic)) for file in sorted(clinic.rglob("*.png"))]
    sexes = [("male", "female", "")[number % 3] for number in range(len(files))]
    rows = [f"{file},{sex},p{number}" for number, (file, sex) in enumerate(zip(files, sexes, strict=True))]
    (clinic / "metadata.csv").write_text("\n".join(["file_name,sex,group_id", *rows, ""]))
    attribute = {"column": "sex", "majority": ["male"], "minority": ["female"]}
    other = skindiff.load_corpus(
        clinic, image_size=32, audit=False, cache_dir=tmp_path / "cache", attribute=attribute
    )
    report = skindiff.evaluate_elsewhere(first.folder, other, MAPPED, name="clinic", replicates=100)
    found = report.content["external"]
    by_sex = found["fairness"]["clinic"][0]
    assert by_sex["settings"]["by"] == ["sex"]
    (population,) = by_sex["populations"]
    assert population["groups"] == ["male", "female"]
    for arm in population["arms"]:
        for group in arm["groups"].values():
            assert group["patients"] >= 10
            assert group["recall"]["low"] <= group["recall"]["value"] <= group["recall"]["high"]
    changed = {arm["arm"]: arm["groups"]["female"]["change"] for arm in population["arms"]}
    assert changed["real"] is None
    assert changed["real+geometric"]["delta_ci_low_corrected"] < changed["real+geometric"]["delta"]
    assert all(set(row["per_group_recall"]) == {"sex"} for row in found["results"])
    text = (report.folder / "report.md").read_text()
    for said in ("## Groups on clinic", "By sex:", "gap, male minus female", "recall by group"):
        assert said in text
    assert report.content["fairness"] == {}  # nothing of home is tested here
    with pytest.raises(ConfigError, match="no such setting"):
        skindiff.evaluate_elsewhere(first.folder, other, MAPPED, twins=0.9)
    with pytest.raises(ConfigError, match="'a b' is the name of a folder"):
        skindiff.evaluate_elsewhere(first.folder, other, MAPPED, name="a b")


@pytest.mark.slow
def test_synthetic_images_that_show_an_image_of_elsewhere_are_counted_and_told(scene: Scene) -> None:
    folder, corpus, clinic = scene
    split = skindiff.make_split(corpus, test_fraction=0.4)
    generator = skindiff.train_generator(corpus, split, "fc_cvae", channels=3, steps=2, batch_size=4)
    drawn = skindiff.generate(generator, images=3, output_size=32)
    shown = [Image.open(file).convert("RGB") for file in sorted((clinic / "lump").glob("*.png"))[:2]]
    rows = drawn.dataset.to_list()
    images = [*(one.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for one in shown), *drawn.dataset[2:]["image"]]
    planted = Dataset.from_list(
        [{**row, "image": image} for row, image in zip(rows, images, strict=True)],
        features=drawn.dataset.features,
    )
    (folder / "drawn").mkdir()
    planted.to_parquet(folder / "drawn" / "synthetic-00000-of-00001.parquet")
    report = skindiff.evaluate(
        corpus, split, folder / "drawn",
        arms=["real", "real+syn"], output_dir=folder / "planted", bootstrap_replicates=100,
        architectures=["lesion_detector"], external=external(clinic),
        classifier={"image_size": 32, "augment": "none", "loop": LOOP},
    )  # fmt: skip
    (row,) = report.content["external"]["copies"]
    assert (row["generated"], row["near_copies"], row["copied"], row["test_corpus"]) == (9, 2, 2, "clinic")
    assert row["nearest"] >= row["threshold"] == 0.95
    assert min(row["planted_found"].values()) > 0.5
    assert any(said.startswith("Leak, likely: 2 of 9 synthetic images (") for said in report.content["flags"])
    text = (report.folder / "report.md").read_text()
    assert "2 images of 9 synthetic ones are near copies of an image of it" in text
    assert "no generator and no choice has seen them" not in text
    assert "generates by class alone: the skin type of its images is not known" in text
    other = skindiff.load_corpus(clinic, image_size=32, audit=False)
    asked = skindiff.evaluate_elsewhere(folder / "planted", other, MAPPED, name="clinic", replicates=100)
    (again,) = asked.content["external"]["copies"]
    assert again == {**row, "images": "drawn, set 1", "seed": None}
    for one in (folder / "planted" / "stages").glob("drawn-*"):
        shutil.rmtree(one)
    asked = skindiff.evaluate_elsewhere(folder / "planted", other, MAPPED, replicates=100)
    said = (asked.folder / "report.md").read_text()
    assert "planted has kept no synthetic images" in said
    assert "Copies of its images among the synthetic ones were not searched for." in said


def ask(model: Path, clinic: Path, folder: Path) -> Path:
    (config,) = configured(ExperimentConfig(arms=["real"]), {"external": external(clinic)}).external.values()
    command = EvaluateCommand(output_dir=str(folder), model=str(model))
    return ask_elsewhere(open_run(command), model, "clinic", config, command, replicates=100)
