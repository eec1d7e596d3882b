"""The commands one after another, as a user types them, on phantom with the pipeline of tests/tiny.py."""

import json
import shlex
from pathlib import Path

import pytest
from datasets import load_dataset
from PIL import Image

from skindiff import cli
from skindiff.generators.adapter import read_adapter
from skindiff.synthesis.writer import load_synthetic
from tests.commands.conftest import Run

Made = tuple[Path, str]


def test_training_leaves_an_adapter_and_what_the_next_command_needs(words_run: Made, lora_run: Made) -> None:
    for (folder, said), has_lora in ((words_run, False), (lora_run, True)):
        adapter = read_adapter(folder / "adapter")
        assert list(adapter.tokens.tokens) == ["nodule", "ring"]
        assert adapter.has_lora == has_lora
        assert {"corpus.yaml", "split.yaml", "trained_on.json", "config.yaml"} <= {
            path.name for path in folder.iterdir()
        }
        first, following, other = said.splitlines()
        assert first.endswith(f"adapter: {folder / 'adapter'}")
        words = shlex.split(following)
        assert words[:5] == ["next:", "skindiff", "sample", "--generator", str(folder / "adapter")]
        assert f"--split {folder / 'split.yaml'}" in other
    taught = [json.loads((folder / "trained_on.json").read_text()) for folder, _ in (words_run, lora_run)]
    assert taught[0] == taught[1]  # the same corpus and the same split


def test_a_folder_with_a_run_is_refused_resumed_or_replaced(
    words_run: Made, run_command: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = words_run[0]
    again = ["train", "textual_inversion", "--threads", "1", "--config", folder / "config.yaml"]
    run_command(*again, status=2)
    said = capsys.readouterr().err
    assert said.startswith(f"error: output_dir: {folder} already holds a run; go on with it by --resume")
    assert said.count("\n") == 1
    weights = next((folder / "adapter" / "learned_embeds").iterdir())
    before = weights.stat().st_mtime_ns
    run_command(*again, "--resume")
    assert next((folder / "adapter" / "learned_embeds").iterdir()).stat().st_mtime_ns == before


def test_a_transfer_redraws_training_images_alone(transfer_run: Made, lora_run: Made) -> None:
    folder, said = transfer_run
    drawn = load_synthetic(folder / "data")
    taught = json.loads((lora_run[0] / "trained_on.json").read_text())["image_ids"]
    assert set(drawn["source_id"]) == set(taught)
    assert set(drawn["skin_type"]) == {"V", "VI"}
    assert set(drawn["strategy"]) == {"ti+lora"}
    assert "+adapter@" in drawn[0]["generator"]
    with Image.open(folder / "grid.png") as grid:
        assert min(grid.size) > 200
    assert f"next: skindiff evaluate --synthetic {folder} --corpus {folder / 'corpus.yaml'}" in said
    shards = [str(path) for path in (folder / "data").glob("*.parquet")]
    cache = str(folder / "hf")
    assert len(load_dataset("parquet", data_files=shards, split="train", cache_dir=cache)) == len(drawn)


def test_images_by_class_and_skin_type(
    work: Path, tiny_model: Path, words_run: Made, run_command: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "sample", "--threads", "1", "--generator", words_run[0] / "adapter", "--base_model", tiny_model,
        "--images", "2", "--groups", '["II", "VI"]', "--synthesis.steps", "2",
        "--synthesis.batch_size", "4",
    ]  # fmt: skip
    run_command(*words, "--output_dir", work / "by_class", "--classes", '["ring"]')
    drawn = load_synthetic(work / "by_class" / "data")
    assert drawn.features["label"].names == ["ring"]
    assert sorted(drawn["skin_type"]) == ["II", "II", "VI", "VI"]
    assert all("<skindiff-ring>" in prompt for prompt in drawn["prompt"])
    capsys.readouterr()
    run_command(*words, "--output_dir", work / "none", "--classes", '["wart"]', status=2)
    assert "classes: 'wart' is none of those" in capsys.readouterr().err
    assert not (work / "none").exists()


def test_evaluate_ends_in_a_report_and_refuses_a_leak(
    work: Path, transfer_run: Made, run_command: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = transfer_run[0]
    words = [
        "evaluate", "--threads", "1", "--synthetic", folder, "--corpus", folder / "corpus.yaml",
        "--split", folder / "split.yaml", "--experiment.arms", '["real", "real+syn"]',
        "--experiment.architectures", '["test_resnet"]', "--experiment.train_seeds", "[0, 1]",
        "--experiment.bootstrap_replicates", "100", "--experiment.classifier.image_size", "32",
        "--experiment.classifier.loop.steps", "2", "--experiment.classifier.loop.batch_size", "4",
        "--experiment.classifier.loop.warmup_steps", "0", "--experiment.classifier.loop.validate_every", "1",
    ]  # fmt: skip
    said = run_command(
        *words, "--output_dir", work / "evaluate", "--copying.planted", "2", "--copying.false_flags", "0.5",
        "--copying.confidence", "0.5", "--fidelity.features.network", "test_resnet",
        "--fidelity.features.weights", "random", "--fidelity.features.image_size", "32",
        "--fidelity.neighbours", "1", "--fidelity.replicates", "100", "--split.few_shot.shots", "3",
    )  # fmt: skip
    content = json.loads((work / "evaluate" / "report.json").read_text())
    assert {row["arm"] for row in content["results"]} == {"real", "real+syn"}
    assert len(content["results"]) == 4
    assert content["skin_tone"] is not None
    assert content["reading"][0] == "split.few_shot.shots (3) changes nothing: the protocol is fractions"
    assert not any("not recorded" in note for note in content["notes"])
    (copying,) = content["copying"]
    taught = json.loads((folder / "trained_on.json").read_text())["image_ids"]
    assert (copying["images"], copying["training"]) == ("synthetic", len(taught))
    assert copying["threshold"]["source"] == "held-out"
    assert copying["threshold"]["groups"] == copying["held_out"] == content["splits"][0]["sizes"]["test_all"]
    assert copying["of_own_group"] is not None
    assert [row["images"] for row in content["fidelity"]] == ["real training", "synthetic"]
    page = (work / "evaluate" / "report.md").read_text()
    assert "Are synthetic images copies of training images?" in page
    assert "The row of real training images is what a perfect copy would score" in page
    assert content["verdicts"][0]["sentence"] in said
    assert "\nreal+syn  " in said
    assert f"report: {work / 'evaluate' / 'report.md'}" in said
    assert run_command("report", work / "evaluate").strip() in said
    table = run_command("report", work / "evaluate", "--metrics", '["recall"]')
    assert "recall" in table
    assert "auroc" not in table
    capsys.readouterr()
    for again in (
        (),
        ("--overwrite", "true"),
    ):  # what failed leaves nothing that the same command is refused for
        run_command(*words, "--split.seed", "7", "--output_dir", work / "leak", *again, status=2)
        assert "this split validates or tests on" in capsys.readouterr().err


def test_a_classifier_on_both(work: Path, transfer_run: Made, run_command: Run) -> None:
    folder = transfer_run[0]
    said = run_command(
        "train", "classifier", "--threads", "1", "--output_dir", work / "classifier", "--synthetic", folder,
        "--corpus", folder / "corpus.yaml", "--split", folder / "split.yaml",
        "--classifier.architecture", "test_resnet", "--classifier.image_size", "32", *_LOOP,
    )  # fmt: skip
    made = {path.name for path in (work / "classifier" / "classifier").iterdir()}
    assert made == {"classifier.safetensors", "classifier.json", "training_log.json"}
    assert set(json.loads((work / "classifier" / "scores.json").read_text())) == {"all"}
    assert "(real+syn)" in said
    assert "test images, %" in said


_LOOP = [
    *("--classifier.loop.steps", "2", "--classifier.loop.batch_size", "4"),
    *("--classifier.loop.warmup_steps", "0", "--classifier.loop.validate_every", "1"),
]


def test_tones_are_refused_where_none_are_moved(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sample", "--generator", "bundled", "--tones", "tones.safetensors"]) == 2
    assert "tones: mode classes moves no tones; leave the setting out" in capsys.readouterr().err
