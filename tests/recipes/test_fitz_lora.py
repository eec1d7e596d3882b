"""The recipe's main() on a tiny phantom: from beginning to end, resumed, changed, refused."""

import json
import runpy
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from recipes.fitz_lora import FitzLoraConfig, main
from skindiff.classification import experiment
from skindiff.classification.arm_names import ARMS
from skindiff.classification.cells import load_cell
from skindiff.commands import train_adapter
from skindiff.commands.train_adapter import TrainLoRA, TrainTextualInversion
from skindiff.config import parse_config, save_config
from skindiff.corpora.imagefolder import ImageFolderConfig
from skindiff.corpora.parts import PartsConfig
from skindiff.corpora.registry import CorpusConfig
from skindiff.errors import SkindiffError
from skindiff.measures.copying.near_copies import load_near_copies
from skindiff.synthesis import strategies
from skindiff.synthesis.strategies import FurtherGenerator
from skindiff.synthesis.writer import load_synthetic
from skindiff.training import adapters
from tests.conftest import REPOSITORY
from tests.recipes.tiny_class_study import tiny_fidelity
from tests.recipes.tiny_study import reported, stage_files, tiny_study

WORK = {
    "textual inversion": (adapters, "train_textual_inversion"),
    "lora": (adapters, "train_lora"),
    "synthesis": (strategies, "write_synthetic"),
    "classifier": (experiment, "train_classifier"),
}
Counts = Callable[[], dict[str, int]]


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """Count the calls of everything that takes long."""
    calls = dict.fromkeys(WORK, 0)

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **settings: Any) -> Any:
            calls[name] += 1
            return function(*arguments, **settings)

        return call

    for name, (module, function) in WORK.items():
        monkeypatch.setattr(module, function, counted(name, getattr(module, function)))
    return lambda: {name: count for name, count in calls.items() if count}


@pytest.fixture
def copied(study: FitzLoraConfig, tmp_path: Path) -> FitzLoraConfig:
    """The finished study in a folder that may be written into."""
    shutil.copytree(study.output_dir, tmp_path / "run")
    return replace(study, output_dir=str(tmp_path / "run"))


def times(files: dict[str, Path]) -> dict[str, int]:
    return {name: path.stat().st_mtime_ns for name, path in files.items()}


def test_a_study_runs_from_the_corpus_to_the_report(study: FitzLoraConfig) -> None:
    folder = Path(study.output_dir)
    stages = sorted(path.name.rsplit("-", 1)[0] for path in (folder / "stages").iterdir())
    cells = [f"cell-{arm.replace('+', '-')}-test_resnet" for arm in ARMS]
    generator = ["textual-inversion", "lora", "synthesis-img2img-ti-lora", "copying-img2img-ti-lora"]
    assert stages == sorted([*cells, *generator])
    assert all((path / "done.json").is_file() for path in (folder / "stages").iterdir())
    found = [load_cell(path) for path in sorted(folder.glob("stages/cell-*/dark.npz"))]
    assert {cell.key.arm for cell in found} == set(ARMS)
    for cell in found:
        assert set(cell.skin_types) <= {"V", "VI"}
        assert cell.optimiser_steps == 4
        assert (cell.key.scenario, cell.key.test_group, cell.key.split_seed) == ("iii", "dark", 0)
        assert cell.probabilities.sum(1) == pytest.approx(1, abs=1e-5)
    drawn = load_synthetic(next(folder.glob("stages/synthesis-*/data")))
    assert set(drawn["skin_type"]) == {"V", "VI"}
    assert set(drawn["source_skin_type"]) == {"I", "II"}
    saved = parse_config(FitzLoraConfig, ["--config", str(folder / "config.yaml")], default=folder)
    assert saved == study


def test_the_report_has_what_the_design_promises(study: FitzLoraConfig) -> None:
    folder = Path(study.output_dir)
    report = json.loads((folder / "report.json").read_text())
    assert (folder / "report.md").read_text().startswith("#")
    keys = "recipe config environment splits results summary skin_tone timings"
    assert set(keys.split()) <= set(report)
    assert report["recipe"] == "fitz_lora"
    settings = json.loads(json.dumps(asdict(study)))
    for room in ("split", "synthesis", "experiment"):
        assert report["config"][room] == settings[room]
    assert str(study.output_dir) not in json.dumps(
        report
    )  # a report travels; the folders of a machine do not
    assert [(split["seed"], split["groups_crossing"]) for split in report["splits"]] == [(0, 0)]
    assert sorted(row["arm"] for row in report["results"]) == sorted(ARMS)
    assert {row["optimiser_steps"] for row in report["results"]} == {4}
    for row in report["summary"]:
        assert row["ci_low"] <= row["mean"] <= row["ci_high"]
    assert {row["arm"] for row in report["summary"]} == set(ARMS)
    (copying,) = report["copying"]
    assert copying["images"] == "img2img ti+lora"
    assert copying["of_own_group"] is not None, "what was made from a photograph is held against it too"
    (shards,) = folder.glob("stages/synthesis-*/data")
    gate = load_near_copies(shards)
    assert gate is not None
    assert gate.threshold == copying["threshold"]["value"]
    assert "## Copying" in (folder / "report.md").read_text()


def test_fidelity_is_scored_by_class_and_skin_type(copied: FitzLoraConfig, counts: Counts) -> None:
    fidelity = replace(tiny_fidelity(), by=["class", "attribute"])
    main(replace(copied, resume=True, fidelity=fidelity))
    assert counts() == {}
    rows = json.loads((Path(copied.output_dir) / "report.json").read_text())["fidelity"]
    assert [row["images"] for row in rows] == ["real training", "img2img ti+lora"]
    assert {(group["by"], group["name"]) for row in rows for group in row["groups"]} >= {("class", "nodule")}
    assert "## Fidelity" in (Path(copied.output_dir) / "report.md").read_text()


@pytest.mark.slow
def test_further_generators_have_trainings_budgets_and_lines_of_their_own(
    copied: FitzLoraConfig, counts: Counts
) -> None:
    config = replace(
        copied,
        resume=True,
        further_generators={
            "rank4": FurtherGenerator(
                lora=replace(copied.generator.lora, rank=4),
                synthesis=replace(copied.synthesis, images_per_source=2),
            )
        },
    )
    assert parse_again(config) == config
    main(config)
    assert counts() == {"lora": 1, "synthesis": 1, "classifier": 4}, "words and arms of real rows are shared"
    report = json.loads((Path(copied.output_dir) / "report.json").read_text())
    first, further = report["synthesis"]
    assert (further["name"], further["planned"]) == ("rank4", 2 * first["planned"])
    drawn = [row for row in report["results"] if row["strategy"] is not None]
    names = {row["generator"] for row in drawn}
    assert len(names) == 2
    assert "rank4" in names
    assert [row["images"] for row in report["copying"]] == ["img2img ti+lora", "img2img ti+lora by rank4"]
    assert set(report["skin_tone"]["by_transfer"]) == {"img2img ti+lora", "img2img ti+lora by rank4"}
    sentences = " ".join(row["sentence"] for row in report["verdicts"])
    assert "real+syn by rank4 " in sentences
    main(replace(config, resume=True))
    assert counts() == {"lora": 1, "synthesis": 1, "classifier": 4}


def parse_again(config: FitzLoraConfig) -> FitzLoraConfig:
    """The settings as they are read back from the file that a run keeps of them."""
    file = Path(config.output_dir) / "again.yaml"
    save_config(config, file)
    again = parse_config(FitzLoraConfig, ["--config", str(file)], default=file)
    file.unlink()
    return again


def test_resume_repeats_nothing(copied: FitzLoraConfig, counts: Counts) -> None:
    files = stage_files(copied.output_dir)
    before = times(files)
    report = reported(copied.output_dir)
    main(replace(copied, resume=True))
    assert counts() == {}
    assert times(stage_files(copied.output_dir)) == before
    assert reported(copied.output_dir) == report


@pytest.mark.slow
def test_a_changed_setting_repeats_what_hangs_on_it(copied: FitzLoraConfig, counts: Counts) -> None:
    before = times(stage_files(copied.output_dir))
    lora = replace(copied.generator.lora, rank=3)
    main(replace(copied, resume=True, generator=replace(copied.generator, lora=lora)))
    # The real arm and the learnt words stay.
    assert counts() == {"lora": 1, "synthesis": 1, "classifier": len(ARMS) - 1}
    after = times(stage_files(copied.output_dir))
    assert {name: after[name] for name in before} == before


@pytest.mark.slow
def test_another_strategy_shares_what_was_learnt(copied: FitzLoraConfig, counts: Counts) -> None:
    both = ["img2img ti+lora", "img2img ti"]
    main(replace(copied, resume=True, strategies=both))
    assert counts() == {"synthesis": 1, "classifier": len(ARMS) - 1}


def test_a_folder_in_use_is_refused_and_stays(study: FitzLoraConfig, counts: Counts, tmp_path: Path) -> None:
    before = times(stage_files(study.output_dir))
    with pytest.raises(SkindiffError, match=r"output_dir: .* already holds a run; .*--resume.*--overwrite"):
        main(study)
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(SkindiffError, match=r"output_dir: .* holds files that are no run"):
        main(replace(study, output_dir=str(tmp_path), overwrite=True))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    assert times(stage_files(study.output_dir)) == before
    assert counts() == {}


@pytest.mark.slow
def test_the_commands_train_the_adapters_of_the_recipe(study: FitzLoraConfig, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "threads": 1,
        "model": study.generator.model,
        "corpus": study.corpus,
        "split": PartsConfig("scenario", study.split_seeds[0], scenario=study.split),
    }
    words, lora = tmp_path / "words", tmp_path / "lora"
    made = {
        "textual-inversion": TrainTextualInversion(
            output_dir=str(words), textual_inversion=study.generator.textual_inversion, **settings
        ),
        "lora": TrainLoRA(output_dir=str(lora), words=str(words), lora=study.generator.lora, **settings),
    }
    for method, config in made.items():
        save_config(config, tmp_path / f"{method}.yaml")
        train_adapter.main(method, ["--config", str(tmp_path / f"{method}.yaml")])
        (of_recipe,) = Path(study.output_dir).glob(f"stages/{method}-*/adapter")
        files = [path.relative_to(of_recipe) for path in sorted(of_recipe.rglob("*")) if path.is_file()]
        of_command = Path(config.output_dir) / "adapter"
        assert files == [path.relative_to(of_command) for path in sorted(of_command.rglob("*.*"))]
        different = [
            one for one in files if (of_recipe / one).read_bytes() != (of_command / one).read_bytes()
        ]
        assert not different, f"{method}: another adapter by command"


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two class folders of noise on light (type II) and dark (type V) grounds, and a broken file."""
    rows = ["file_name,skin_type"]
    for label, name in enumerate(("nodule", "ring")):
        (tmp_path / "photographs" / name).mkdir(parents=True)
        for number in range(12):
            noise = np.random.default_rng([label, number]).integers(0, 60, (40, 48, 3))
            ground = (170, 130, 110) if number < 7 else (80, 50, 40)
            image = PIL.Image.fromarray((noise + ground).astype(np.uint8))
            image.save(tmp_path / "photographs" / name / f"{number}.png")
            rows.append(f"{name}/{number}.png,{'II' if number < 7 else 'V'}")
    (tmp_path / "photographs" / "ring" / "spoilt.jpg").write_bytes(b"\xff\xd8 and then nothing")
    rows.append("ring/spoilt.jpg,II")
    (tmp_path / "photographs" / "metadata.csv").write_text("\n".join([*rows, "ring/lost.png,V", ""]))
    return tmp_path / "photographs"


def test_a_corrupt_image_among_good_ones_is_set_aside_and_said(
    photographs: Path, tmp_path: Path, model: Path
) -> None:
    config = tiny_study(tmp_path / "run", model, strategies=["img2img vanilla"])
    config.experiment.arms, config.synthesis.tone = ["real"], "none"
    corpus = CorpusConfig("imagefolder", 32, imagefolder=ImageFolderConfig(str(photographs)))
    main(replace(config, corpus=corpus))
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    expected = {"images": 24, "groups": 24, "missing": 1, "quarantined": 1}
    assert {name: report["corpus"][name] for name in expected} == expected
    listed = (tmp_path / "run" / "quarantined.csv").read_text().splitlines()
    assert listed[1].startswith("ring/spoilt.jpg,undecodable: ")
    assert (tmp_path / "run" / "missing.txt").read_text() == "ring/lost.png\n"


def refuse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Start the recipe as a program and return the one line that it fails with."""
    monkeypatch.setattr(sys, "argv", ["fitz_lora.py", *arguments])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(REPOSITORY / "recipes" / "fitz_lora.py"), run_name="__main__")
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    return said


FITZPATRICK = ["--corpus.name", "fitzpatrick17k", "--corpus.fitzpatrick17k.data_dir"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*FITZPATRICK, "{absent}"], ["data_dir: there is no {absent}; give the path of one that is there"]),
        (
            [*FITZPATRICK, "{corpus}", "--corpus.fitzpatrick17k.csv", "{table}"],
            ["no column 'label'", "rename"],
        ),
        (
            [*FITZPATRICK, "{corpus}", "--corpus.fitzpatrick17k.conditions", "[psorasis]"],
            ["conditions: 'psorasis' is not in", "'psoriasis'", "correct it or leave it out"],
        ),
        (["--corpus.phantom.classes", "[rings]"], ["corpus.phantom.classes: unknown class 'rings'", "ring"]),
        (["--corpus.name", "imagefolder"], ["corpus.imagefolder.data_dir is not given: name the folder"]),
        (["--generator.lora.rnak", "4"], ["generator.lora.rnak", "did you mean 'generator.lora.rank'?"]),
        (["--generator.lora.rank", "four"], ["generator.lora.rank", "four"]),
        (["--synthesis.strength", "0"], ["synthesis.strength: 0", "outside 0 to 1", "try 0.3 to 0.5"]),
        (["--reszme", "true"], ["reszme", "did you mean 'resume'?"]),
        (["--strategies", "[img2img lorra]"], ["strategies: 'img2img lorra' is not one of", "img2img lora"]),
        (["--strategies", "[img2img ti, img2img ti]"], ["strategies", "twice"]),
        (["--split_seeds", "[]"], ["split_seeds: []", "at least one"]),
        (["--split_seeds", "[1, 1]"], ["split_seeds: [1, 1]", "each once"]),
        (["--experiment.arms", "[reel]"], ["experiment.arms: 'reel' is not one of real"]),
        (["--experiment.architectures", "[resnet81]"], ["experiment.classifier.architecture", "resnet18"]),
        (
            ["--split.flexible_per_condition", "90"],
            ["flexible_per_condition", "lower flexible_per_condition"],
        ),
        (["--generator.model", "{absent}"], ["model", "{absent}", "no such folder"]),
        (["--resume", "--overwrite"], ["resume and overwrite are both true: choose one"]),
        (["--threads", "0"], ["threads: 0 is below 1"]),
        (["--config", "{absent}.yaml"], ["{absent}.yaml"]),
    ],
)
def test_an_error_is_one_line_that_names_the_setting_and_leaves_nothing(
    arguments: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "fitzpatrick17k.csv").write_text("md5hash,fitzpatrick_scale,label\na,1,psoriasis\n")
    (tmp_path / "table.csv").write_text("md5hash,fitzpatrick_scale,disease\na,1,psoriasis\n")
    places = {"absent": tmp_path / "absent", "corpus": corpus, "table": tmp_path / "table.csv"}
    small = ["--corpus.phantom.images_per_class", "{I: 1, V: 1}", "--output_dir", str(tmp_path / "run")]
    said = refuse(monkeypatch, capsys, *small, *(word.format(**places) for word in arguments))
    for word in words:
        assert word.format(**places) in said
    # Images that were resized before the split failed may be used again.
    left = [path.name for path in (tmp_path / "run").glob("*")]
    assert left == (["cache"] if arguments[0].startswith("--split.") else [])
