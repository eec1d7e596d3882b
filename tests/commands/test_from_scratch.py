from dataclasses import replace
from pathlib import Path

import pytest

import skindiff
from skindiff.commands.train_from_scratch import command_config
from skindiff.errors import ConfigError, GeneratorError
from skindiff.generators import families
from skindiff.synthesis.writer import load_synthetic
from tests.commands.conftest import CORPUS, Run
from tests.toy_family import TOY


def test_a_pipeline_is_trained_and_drawn_with(
    work: Path, run_command: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    said = run_command(
        "train", "fc_cvae", "--threads", "1", "--output_dir", work / "cvae", *CORPUS,
        "--fc_cvae.loop.steps", "2", "--fc_cvae.loop.batch_size", "4",
    )  # fmt: skip
    pipeline = skindiff.load(work / "cvae" / "pipeline")
    assert list(pipeline.config.class_names) == ["nodule", "ring"]
    assert f"next: skindiff sample --generator {work / 'cvae' / 'pipeline'}" in said
    sample = ["sample", "--threads", "1", "--generator", work / "cvae"]
    run_command(*sample, "--output_dir", work / "drawn", "--images", "3", "--classes", '["ring"]')
    drawn = load_synthetic(work / "drawn" / "data")
    assert list(drawn["label"]) == [1, 1, 1]
    assert set(drawn["family"]) == {"fc_cvae"}
    assert (work / "drawn" / "trained_on.json").is_file()
    capsys.readouterr()
    run_command(*sample, "--output_dir", work / "types", "--groups", '["V"]', status=2)
    assert "is a fc_cvae, which generates by class alone" in capsys.readouterr().err
    run_command(*sample, "--output_dir", work / "moved", "--mode", "transfer", status=2)
    assert capsys.readouterr().err.startswith("error: mode: ")


def test_a_family_that_redraws_takes_its_corpus(work: Path, run_command: Run) -> None:
    run_command(
        "train", "fc-autoencoder", "--threads", "1", "--output_dir", work / "fc", *CORPUS,
        "--fc_autoencoder.loop.steps", "2", "--fc_autoencoder.loop.batch_size", "4",
    )  # fmt: skip
    same = ["--corpus", work / "fc" / "corpus.yaml", "--split", work / "fc" / "split.yaml"]
    run_command(
        "sample", "--threads", "1", "--generator", work / "fc", *same, "--images", "2",
        "--output_dir", work / "redrawn",
    )  # fmt: skip
    drawn = load_synthetic(work / "redrawn" / "data")
    assert len(drawn) == 4
    assert all(drawn["source_id"])


def test_a_registered_family_is_a_method_whose_pipeline_is_drawn_and_loaded(
    work: Path, run_command: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = ["train", "toy", "--threads", "1", *CORPUS]
    run_command(*toy, "--output_dir", work / "none", status=2)
    assert "method: 'toy' is not one of textual-inversion" in capsys.readouterr().err
    monkeypatch.setitem(families.FAMILIES, TOY.name, TOY)
    assert "  toy  " in run_command("train", "--help")
    run_command(*toy, "--output_dir", work / "bad", "--toy.noise", "-1", status=2)
    assert capsys.readouterr().err == "error: toy.noise is -1.0: set it to 0 or more\n"
    assert not (work / "bad").exists()
    run_command(*toy, "--output_dir", work / "toy", "--toy.noise", "0.2")
    pipeline = skindiff.load(work / "toy" / "pipeline")
    assert (pipeline.family, pipeline.network.config.noise) == ("toy", 0.2)
    run_command(
        "sample", "--threads", "1", "--generator", work / "toy", "--output_dir", work / "toys",
        "--images", "3", "--class_synthesis.steps", "4",
        "--class_synthesis.options", "{toy: {fade: 0.5}}",
    )  # fmt: skip
    drawn = load_synthetic(work / "toys" / "data")
    assert list(drawn["label"]) == [0, 0, 0, 1, 1, 1]
    recorded = {name: set(drawn[name]) for name in ("family", "steps", "scheduler", "options")}
    expected = {"family": {"toy"}, "steps": {4}, "scheduler": {None}, "options": {'{"fade": 0.5}'}}
    assert recorded == expected
    monkeypatch.delitem(families.FAMILIES, TOY.name)
    with pytest.raises(GeneratorError, match="is a ToyPipeline, which skindiff does not know"):
        skindiff.load(work / "toy" / "pipeline")


def test_a_family_may_not_be_called_as_a_setting_of_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(families.FAMILIES, "seed", replace(TOY, name="seed"))
    with pytest.raises(ConfigError, match="family: 'seed' is the name of another setting"):
        command_config("seed")
