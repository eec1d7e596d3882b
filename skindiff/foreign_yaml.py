"""YAML of plain values that others wrote: read in bounded time and memory."""

from pathlib import Path
from typing import Any

import yaml

from skindiff.foreign import LONGEST_NUMBER, MOST_DEPTH, Malformed, decoded, read_text, refuse_strange

MOST_YAML = 2**17
"""Bytes of a file: settings have a few thousand, and reading takes a second for 60 thousand."""
MOST_VALUES = 100_000
"""Values of a YAML file with its aliases written out, which can be far more than the file has bytes."""


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file of plain values.

    Raises:
        Malformed: see :func:`read_text`; it is no YAML, has tags of other things than plain values, is nested
            too deeply, contains itself, or grows beyond measure by its aliases.
    """
    return parse_yaml(read_text(path, MOST_YAML))


def parse_yaml(given: str | bytes) -> Any:
    """Return the content of YAML text (see :func:`read_yaml`)."""
    text = decoded(given)
    if len(text) > MOST_YAML:
        raise Malformed(f"it has more than the {MOST_YAML:,} characters that are read")
    try:
        content = yaml.load(text, _PlainLoader)
    except Malformed:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Malformed(f"no YAML of plain values{where}") from None
    # PyYAML lets through whatever the makers of dates, numbers and truths raise.
    except Exception:
        raise Malformed("no YAML of plain values") from None
    refuse_strange(content, MOST_VALUES)
    return content


class _PlainLoader(yaml.SafeLoader):
    """Refuses nesting and long numbers before they cost anything."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise Malformed(f"nested deeper than {MOST_DEPTH} levels")
        node = super().compose_node(parent, index)
        self._depth -= 1
        typed = isinstance(node, yaml.ScalarNode) and node.tag != "tag:yaml.org,2002:str"
        if typed and node is not None and len(node.value) > LONGEST_NUMBER:
            raise Malformed(f"a number of {len(node.value)} characters at line {node.start_mark.line + 1}")
        return node
