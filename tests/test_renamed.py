"""Names of before 0.2.0: refused where a user writes them, read where a finished artefact holds them."""

import json
from pathlib import Path
from typing import Any

import pytest

from recipes.fitz_lora import FitzLoraConfig
from recipes.medmnist_augment import MedMNISTAugmentConfig
from skindiff.classification.networks import (
    DESCRIPTION_FILE,
    Architecture,
    build_classifier,
    load_classifier,
    save_classifier,
)
from skindiff.commands.settings import parse_command
from skindiff.commands.train_adapter import TrainLoRA
from skindiff.config import parse_config
from skindiff.errors import ConfigError
from skindiff.renamed import SETTINGS, SINCE, VALUES, in_streams, with_new_names
from skindiff.report.read import read_report
from skindiff.wrong_settings import setting_types
from tests.conftest import REPOSITORY

SMOKE = REPOSITORY / "recipes" / "fitz_lora" / "smoke.yaml"
OLD = {
    "split.preset": ("clean", "grouped"),
    "experiment.classifier.preset": ("paper", "published"),
    "experiment.classifier.head": ("paper", "published"),
    "experiment.classifier.augment": ("paper", "published"),
    "experiment.classifier.balance": ("class_and_skin_type", "class_and_attribute"),
}


@pytest.mark.parametrize("name", OLD)
def test_an_old_value_is_one_line_with_the_new_one(name: str, tmp_path: Path) -> None:
    old, new = OLD[name]
    said = rf"^{name}: '{old}' is called '{new}' since skindiff {SINCE}; write {new}$"
    file = tmp_path / "mine.yaml"
    content: object = old
    for part in reversed(name.split(".")):
        content = {part: content}
    file.write_text(json.dumps(content))
    for words in ([f"--{name}", old], [f"--{name}={old}"], ["--config", str(file)], [f"--config={file}"]):
        with pytest.raises(ConfigError, match=said):
            parse_config(FitzLoraConfig, words, default=SMOKE)
    outer = name.partition(".")[0]
    nested = json.dumps(json.loads(file.read_text())[outer])
    with pytest.raises(ConfigError, match=said):
        parse_config(FitzLoraConfig, [f"--{outer}", nested], default=SMOKE)
    networks = ["--experiment.architectures", "[resnet18]"]  # which these settings are of
    assert parse_config(FitzLoraConfig, [*networks, f"--{name}={new}"], default=SMOKE)


def test_an_old_setting_is_one_line_with_the_new_one() -> None:
    name = "experiment.classifier.paper_epochs"
    said = (
        rf"^{name}: this setting is called experiment\.classifier\.published_epochs since skindiff {SINCE}; "
    )
    for words in ([f"--{name}", "3"], [f"--{name}=3"], ["--experiment.classifier", "{paper_epochs: 3}"]):
        with pytest.raises(ConfigError, match=said):
            parse_config(FitzLoraConfig, words, default=SMOKE)


def test_an_old_value_in_a_list_is_one_line_with_the_new_one(tmp_path: Path) -> None:
    said = rf"^fidelity.by: 'skin_type' is called 'attribute' since skindiff {SINCE}; write attribute$"
    file = tmp_path / "mine.yaml"
    file.write_text("fidelity: {by: [class, skin_type]}")
    for words in (["--fidelity.by", "[class, skin_type]"], ["--config", str(file)]):
        with pytest.raises(ConfigError, match=said):
            parse_config(FitzLoraConfig, words, default=SMOKE)
    found = parse_config(FitzLoraConfig, ["--fidelity.by", "[class, attribute]"], default=SMOKE)
    assert found.fidelity.by == ["class", "attribute"]
    assert with_new_names({"fidelity": [{"by": "skin_type"}]}, "") == {"fidelity": [{"by": "skin_type"}]}


def test_the_settings_of_a_command_that_were_called_paper_are_named() -> None:
    with pytest.raises(ConfigError, match="config: 'paper' is called 'published'"):
        parse_command(TrainLoRA, ["--config", "paper"], "train lora")


@pytest.mark.parametrize("config", [FitzLoraConfig, MedMNISTAugmentConfig])
def test_no_name_is_both_old_and_new(config: type) -> None:
    names = {name.rpartition(".")[2] for name in setting_types(config)}
    assert not names & SETTINGS.keys()
    for values in VALUES.values():
        assert not values.keys() & set(values.values())


def test_a_classifier_of_before_loads_with_a_warning(tmp_path: Path) -> None:
    architecture = Architecture("resnet10t", 32, ("a", "b"), head="published", augment="published")
    model = build_classifier(architecture, pretrained=False, weights=None, seed=0)
    save_classifier(tmp_path, model)
    file = tmp_path / DESCRIPTION_FILE
    file.write_text(file.read_text().replace('"published"', '"paper"'))
    assert '"head": "paper"' in file.read_text()
    with pytest.warns(UserWarning, match=f"has names of before skindiff {SINCE}"):
        again = load_classifier(tmp_path)
    assert (again.architecture.head, again.architecture.augment) == ("published", "published")


SCORE = {"metric": "accuracy", "cells": 1, "groups": 2, "images": 3} | dict.fromkeys(
    ("mean", "ci_low", "ci_high", "chance", "delta", "delta_ci_low", "delta_ci_high")
)


def test_a_report_of_before_is_read_with_a_warning(tmp_path: Path) -> None:
    row = {
        "arm": "real",
        "preset": "clean",
        "scenario": "iii",
        "test_group": "dark",
        "architecture": "resnet18",
    }
    row |= dict.fromkeys(("generator", "strategy", "ratio", "train_seed"))
    config = {"split": {"preset": "paper"}, "experiment": {"classifier": {"paper_epochs": 3}}}
    lists: dict[str, Any] = {key: [] for key in ("splits", "verdicts", "notes")}
    content = {"recipe": "paper", "title": "paper", "corpus": {}, **lists, "config": config}
    content |= {"summary": [{**row, **SCORE}], "results": [row]}
    (tmp_path / "report.json").write_text(json.dumps(content))
    with pytest.warns(UserWarning, match=f"has names of before skindiff {SINCE}"):
        read = read_report(tmp_path)
    (row,) = read["summary"]
    assert (row["arm"], row["preset"], row["reference"], row["role"]) == ("real", "grouped", "real", None)
    assert read["config"]["split"] == {"preset": "published"}
    assert read["config"]["experiment"] == {"classifier": {"published_epochs": 3}}
    assert read["title"] == "paper"
    assert with_new_names(read, "") == read


def test_random_streams_keep_their_names() -> None:
    assert in_streams("iii", "resnet18", "grouped", 0) == ("iii", "resnet18", "clean", 0)
    assert in_streams("published", None) == ("paper", None)


def test_the_changelog_has_every_renamed_name() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text()
    for old, new in SETTINGS.items():
        assert f"| `{old}` | `{new}` |" in text
    for name, values in VALUES.items():
        for old, new in values.items():
            assert f"| `{name}: {old}` | `{name}: {new}` |" in text
