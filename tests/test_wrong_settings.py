"""All names and types that are wrong, said at once and in words."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from skindiff.config import parse_config, with_changes
from skindiff.errors import ConfigError
from skindiff.wrong_settings import in_words, setting_types, wrong_settings


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
