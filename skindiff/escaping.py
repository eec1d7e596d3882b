"""Names that others have chosen (classes, files, columns), written so that no reader takes them for orders.

A terminal obeys control characters, a page Markdown and HTML, a spreadsheet formulas: each has one function.
"""

import re
import unicodedata
from typing import Any

_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2028\u2029\u2066\u2067\u2068\u2069")
"""They reverse or break what a line shows."""
_MARKUP = re.compile(r"[\\`*|~$]|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])")
"""What begins or ends markup inside a line; an underscore inside a word does not."""
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_BLOCK = re.compile(r"^(\s*)(?:(\d{1,9})(?=[.)](?:\s|$))|(?=>|#{1,6}(?:\s|$)|[+-](?:\s|$)|[=-]+\s*$))")
"""What makes a line a quotation, a heading or a list."""
_CODE = re.compile(r"(?<![\\`])`([^`\n]+)`(?!`)")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def visible(text: str) -> str:
    """Return text for a terminal or a log: control characters are spelled out, but for line ends and tabs.

    So are marks that change the direction of writing, and bytes of file names that are no text.
    """
    return "".join(_spelled(sign) if _orders(sign) and sign not in "\n\t" else sign for sign in text)


def markdown(name: object) -> str:
    """Return a name as Markdown that shows it letter by letter, in a line, a table or a heading."""
    text = _no_block(_escaped(_one_line(name)))
    # Whatever follows: the last sign may not be the first half of a link or a tag.
    return re.sub(r"\]$", r"\\]", re.sub("<$", "&lt;", text))


def prose(sentence: str, *, in_table: bool = False) -> str:
    """Return a sentence of ours that holds names as Markdown: only code (in backticks) stays markup.

    Args:
        sentence: on one line.
        in_table: it is a cell, which an upright stroke would end inside code too.
    """
    text, parts, end = _one_line(sentence), [], 0
    for found in _CODE.finditer(text):
        inside = found[0].replace("|", "\\|") if in_table else found[0]
        parts += [_escaped(text[end : found.start()]), inside]
        end = found.end()
    line = "".join([*parts, _escaped(text[end:])])
    return line if in_table else _no_block(line)


def code(name: object) -> str:
    """Return a name as it can stand between single backticks, on one line."""
    return _one_line(name).replace("`", "'")


def fenced(text: str, language: str) -> str:
    """Return lines of code as a block of Markdown that nothing inside can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{visible(text)}\n{fence}"


def python_string(text: str) -> str:
    """Return the literal of a string, in double quotes."""
    quoted = repr("\"'" + text)  # with both kinds of quotes in it, repr takes single ones
    return '"' + quoted[4:-1].replace('"', '\\"') + '"'


def spreadsheet(value: Any) -> Any:
    """Return a cell of a table for people: what a spreadsheet would take for a formula is quoted.

    Numbers stay as they are. Not for tables that are read back.
    """
    formula = isinstance(value, str) and value.startswith(_FORMULA)
    return f"'{value}" if formula else value


def _orders(sign: str) -> bool:
    return unicodedata.category(sign) in ("Cc", "Cs") or sign in _TURNING


def _spelled(sign: str) -> str:
    return sign.encode("unicode_escape", "surrogatepass").decode()


def _one_line(text: object) -> str:
    return "".join(_spelled(sign) if _orders(sign) else sign for sign in str(text))


def _escaped(text: str) -> str:
    text = _MARKUP.sub(lambda sign: f"\\{sign[0]}", _ENTITY.sub("&amp;", text))
    return _TAG.sub("&lt;", text)


def _no_block(text: str) -> str:
    return _BLOCK.sub(lambda start: f"{start[1]}{start[2] or ''}\\", text)
