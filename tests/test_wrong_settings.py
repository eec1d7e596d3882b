"""All names and types that are wrong, said at once and in words."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from recipes.fitz_lora import FitzLoraConfig
from skindiff.config import parse_config, with_changes
from skindiff.errors import ConfigError
from skindiff.wrong_settings import in_words, judge, judge_all, refuse, setting_types, wrong_settings
from tests.conftest import REPOSITORY


@dataclass
class Own:
    kinds: list[str] | None = None
    size: int = 3


@dataclass
class Settings:
    own: Own | None = None
    share: float = 0.5
    counts: dict[str, int] = field(default_factory=dict)
    mode: Literal["a", "b"] = "a"

    def validate(self, path: str = "") -> None:
        pass


ALL_WRONG = [
    "own.kinds: [5, 6] is not a list of text, or null",
    "own.sise: there is no such setting; did you mean 'own.size'?",
    "share: 'half' is not a number",
    "counts: {I: many} is not a mapping of names to whole numbers",
    "mode: 'c' is not one of a, b",
]


def test_what_is_wrong_on_the_command_line_is_said_at_once() -> None:
    words = ["--own.kinds", "[5, 6]", "--own.sise=4", "--share", "half", "--mode", "c"]

    found = wrong_settings(Settings, [*words, "--counts", "{I: many}"], [])

    assert {
        problem.replace("'[5, 6]'", "[5, 6]").replace("'{I: many}'", "{I: many}") for problem in found
    } == {*ALL_WRONG}


def test_what_is_wrong_in_a_file_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("own: {kinds: [5, 6], sise: 4}\nshare: half\ncounts: {I: many}\nmode: c\n")

    with pytest.raises(ConfigError) as caught:
        parse_config(Settings, [], default=file)

    assert str(caught.value).startswith("5 settings cannot work: (1) own.kinds: [5, 6] is not a list of text")
    assert "(5) mode: 'c' is not one of a, b" in str(caught.value)


def test_what_is_wrong_in_a_call_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match=r"\(1\) share: 'half' is not a number; \(2\) sise: there is no"):
        with_changes(Settings(), {"share": "half", "sise": 3})


@pytest.mark.parametrize(
    "words",
    [
        ["--own.kinds", "[a]"],
        ["--own", "{kinds: [a], size: 4}"],
        ["--own", "null"],
        ["--counts.I", "3"],
        ["--counts", "{I: 3}"],
        ["--share=1e-3"],
        ["--own.kinds+", "a"],
        ["--own.kinds+=[a, b]"],
        ["--share", "1"],
    ],
)
def test_what_the_parser_takes_is_not_wrong(words: list[str]) -> None:
    assert wrong_settings(Settings, words, []) == []


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (int, "a whole number"),
        (bool | None, "true or false, or null"),
        (list[Literal["x", "y"]], "a list of x, y"),
        (dict[str, list[int]], "a mapping of names to a list of whole numbers"),
        (float | str, "a number or text"),
        (Own, "a mapping of settings"),
    ],
)
def test_a_type_in_words(kind: Any, words: str) -> None:
    assert in_words(kind) == words


def test_types_stand_under_dotted_names() -> None:
    assert setting_types(Settings)["own.size"] is int


def test_every_setting_that_cannot_work_is_said_at_once(tmp_path: Path) -> None:
    file = REPOSITORY / "recipes" / "fitz_lora" / "smoke.yaml"
    words = [
        *["--synthesis.strength", "0", "--synthesis.guidance_scale", "0.5", "--generator.lora.rank", "0"],
        *["--split.flexible_per_condition", "0", "--split_seeds", "[]", "--experiment.ratios", "[-1]"],
        *["--generator.lora.loop.steps", "0", "--generator.lora.loop.batch_size", "0"],
    ]

    with pytest.raises(ConfigError) as caught:
        parse_config(FitzLoraConfig, words, default=file)

    said = str(caught.value)
    for name in words[::2]:
        assert f") {name[2:]}" in said, name
    assert said.startswith("8 settings cannot work: (1) ")


def test_what_follows_from_a_refused_setting_is_no_error_of_its_own() -> None:
    def validate(path: str) -> None:
        refuse(f"{path}size: 0 is below 1")
        refuse(f"{path}size: 0 divides nothing")
        raise ZeroDivisionError

    with pytest.raises(ConfigError, match=r"^own\.size: 0 is below 1$"):
        judge_all(lambda path: judge(validate, "own."))


def test_a_fault_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        judge_all(lambda path: judge(lambda _: [][1 // 0]))


def test_outside_of_a_judgement_the_first_raises() -> None:
    with pytest.raises(ConfigError, match=r"^size: 0$"):
        refuse("size: 0")
