import os
import sys
from pathlib import Path

import pytest
import yaml

from skindiff.commands.demo import DemoCommand
from skindiff.commands.settings import DEFAULTS, parse_command
from skindiff.commands.terminal import suggest, table
from skindiff.commands.train import GROUPS, methods
from skindiff.commands.train_adapter import TrainLoRA, TrainTextualInversion
from skindiff.commands.train_from_scratch import TrainFromScratch, command_config
from skindiff.generators.families import FAMILIES, RESERVED
from skindiff.training.lora import paper_lora
from skindiff.training.textual_inversion import paper_textual_inversion


def test_every_family_is_a_method_with_settings_of_its_own() -> None:
    words = {method.replace("-", "_") for method in methods()}
    assert words == set(FAMILIES) | RESERVED - {"family"}
    for family in FAMILIES:
        config = parse_command(command_config(family), [], f"train {family.replace('_', '-')}")
        assert isinstance(config, TrainFromScratch)
        assert config.generator.family == family
        assert config.output_dir == f"runs/{family}"
    assert {GROUPS[name].replace("-", "_") for name in ("cvae", "cgan")} <= set(FAMILIES)


def test_defaults_come_from_a_file_and_yield_to_the_words(tmp_path: Path) -> None:
    config = parse_command(TrainLoRA, ["--lora.loop.steps", "7", "--resume"], "train lora")
    assert (config.model, config.lora.loop.steps, config.lora.loop.batch_size) == ("bundled", 7, 14)
    assert config.resume
    paper = parse_command(TrainLoRA, ["--config", "published"], "train lora")
    published = paper_lora()
    published.loop.checkpoint_every = paper.lora.loop.checkpoint_every
    assert paper.lora == published
    corpus = tmp_path / "corpus.yaml"
    corpus.write_text("{name: phantom, image_size: 48}")
    found = parse_command(TrainLoRA, ["--corpus", str(corpus)], "train lora")
    assert found.corpus.image_size == 48


def test_every_file_of_defaults_says_what_it_is() -> None:
    for path in DEFAULTS.glob("*.yaml"):
        assert path.read_text().startswith("# ")
        assert yaml.safe_load(path.read_text())


def test_help_says_defaults_units_and_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_command(TrainLoRA, ["--help"], "train lora")
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: skindiff train lora [--config FILE] [--SETTING VALUE ...]\n")
    flat = " ".join(said.split())
    assert "Rank of each update. (type: int, default: 8)" in flat
    assert "Side in pixels of the square that is kept" in flat
    assert "Without --config these settings replace the defaults above:" in flat
    assert "--config published: As published" in flat


def test_what_is_suggested_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    suggest(["skindiff", "sample", "--classes", '["a b"]'], ["skindiff", "push"])
    assert capsys.readouterr().out == ("next: skindiff sample --classes '[\"a b\"]'\n  or: skindiff push\n")


def test_a_table_is_aligned() -> None:
    assert table(["arm", "f1"], [["real", "7"], ["real+syn", "10.5"]]) == [
        "arm         f1",
        "--------  ----",
        "real         7",
        "real+syn  10.5",
    ]


def test_what_is_published_is_what_the_command_trains() -> None:
    config = parse_command(TrainTextualInversion, ["--config", "published"], "train textual-inversion")
    published = paper_textual_inversion()
    published.loop.checkpoint_every = config.textual_inversion.loop.checkpoint_every
    assert config.textual_inversion == published


def test_help_is_whole_words_and_ends_with_its_reader(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit):
        parse_command(DemoCommand, ["--help"], "demo")
    assert "--print_config[=flags]" in capsys.readouterr().out
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        with pytest.raises(SystemExit) as ended:
            parse_command(DemoCommand, ["--help"], "demo")
    assert ended.value.code == 141  # as of any program whose reader has gone
