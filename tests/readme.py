"""README as tests read it: its fenced blocks, and the commands in them and in its sentences and tables."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from tests.conftest import REPOSITORY

TEXT = (REPOSITORY / "README.md").read_text(encoding="utf-8")
LANGUAGES = ("bash", "python")
PROGRAMS = ("accelerate", "hf", "pip", "pdoc", "python", "python3", "sbatch", "skindiff")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    language: str
    text: str
    line: int

    def commands(self) -> list[list[str]]:
        """The words of each command: comments cut, continued lines joined, ``&&`` taken apart."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines for words in _split(shlex.split(line, comments=True))]


def blocks(text: str = TEXT) -> list[Block]:
    """Every fenced block, in order."""
    found = _FENCE.finditer(text)
    return [Block(one[1], one[2], text.count("\n", 0, one.start()) + 1) for one in found]


def inline_commands(text: str = TEXT) -> list[list[str]]:
    """The commands within sentences and tables: code of several words that begins with a program."""
    spans = [shlex.split(span) for span in _INLINE.findall(_FENCE.sub("", text))]
    return [words for words in spans if len(words) > 1 and words[0] in PROGRAMS]


def inline_settings(text: str = TEXT) -> list[str]:
    """The settings that sentences name: code that begins with two dashes, without its values."""
    return [span.split()[0] for span in _INLINE.findall(_FENCE.sub("", text)) if span.startswith("--")]


def all_commands(text: str = TEXT) -> list[list[str]]:
    """The commands of all blocks and sentences."""
    fenced = [words for block in blocks(text) if block.language == "bash" for words in block.commands()]
    return [*fenced, *inline_commands(text)]


def _split(words: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for word in [*words, "&&"]:
        if word != "&&":
            part.append(word)
        elif part:
            yield part
            part = []
