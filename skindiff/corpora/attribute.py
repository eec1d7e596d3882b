"""What is scarce among the images of a corpus: skin types by default, or sex, an age band, a site, a scanner.

One :class:`Attribute` says so, in the setting ``corpus.attribute``. It travels with the corpus; splits,
prompts, plans, groups of reports, cards and the demo follow it.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from typing import Any, TypedDict

from datasets import Value

from skindiff.corpora.schema import REAL_COLUMNS, SKIN_TYPES, SYNTHETIC_COLUMNS
from skindiff.corpora.table import LoadedCorpus
from skindiff.errors import ConfigError, CorpusError
from skindiff.foreign import Malformed, refuse_unlike
from skindiff.wrong_settings import problems_of, refuse

SKIN_COLUMN = "skin_type"
TONE_WORDS: dict[str, str] = {
    "I": "a very light-skinned",
    "II": "a light-skinned",
    "III": "a medium-skinned",
    "IV": "a brown-skinned",
    "V": "a dark-skinned",
    "VI": "a very dark-skinned",
}
"""Phrase for each Fitzpatrick type: the paper's for I, II, V and VI, ours for III and IV (it has none)."""
_TAKEN = {*REAL_COLUMNS, *SYNTHETIC_COLUMNS, "caption"} - {SKIN_COLUMN}
_LONGEST = 80
"""Characters of a column or a value: it goes into prompts, tables and file names of none."""
_BLANK = frozenset({"", "-1", "na", "n/a", "nan", "none", "null", "unknown", "not recorded"})
"""How tables say that a cell is not recorded, in small letters."""
MOST_VALUES = 50
"""Values of an attribute; more would be names, not groups."""


@dataclass(frozen=True)
class Attribute:
    """Of what some values have too few images, and how prompts say it."""

    column: str = SKIN_COLUMN
    """Column of the corpus, such as sex, age, site or scanner; skin_type is the Fitzpatrick type."""
    values: list[str] | None = None
    """Its values, in the order of tables; others are taken as not recorded. null is I to VI for skin_type,
    the bands of a column with bands, and else the majority, the minority and then what the corpus has."""
    majority: list[str] | None = None
    """Values with many images; null is I and II for skin_type."""
    minority: list[str] | None = None
    """Values with too few images, which splits test on and transfers aim at; null is V and VI for
    skin_type."""
    phrases: dict[str, str] = field(default_factory=dict)
    """What prompts say of a value, after the condition, such as {female: on the skin of a woman}; without one
    the column and the value stand there."""
    further: list[str] = field(default_factory=list)
    """Further columns by which reports compare groups, alone and crossed with the first."""
    bands: dict[str, list[float]] = field(default_factory=dict)
    """Lower edges of the bands that the numbers of a column are put into, such as {age: [0, 30, 60]}: 0 to
    under 30, 30 to under 60, 60 and over; a number below the first edge is taken as not recorded."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError on the first setting that cannot work."""
        for name in ("column", "further"):
            columns = self.further if name == "further" else [self.column]
            for column in columns:
                if column in _TAKEN or column.startswith("source_") or not _is_word(column):
                    refuse(
                        f"{path}{name}: {column[:_LONGEST]!r} is no attribute of an image; name a column "
                        "such as sex, age, site or scanner"
                    )
            if len({self.column, *self.further}) < len(self.further) + 1:
                refuse(f"{path}further: {self.further} names a column twice, or column itself")
        self._check_bands(path)
        self._check_values(path)
        if shared := set(self.of_majority) & set(self.of_minority):
            refuse(f"{path}minority: {', '.join(sorted(shared))} is also in majority; keep it in one")
        for value, phrase in self.phrases.items():
            self.refuse_unknown([value], f"{path}phrases")
            if not phrase.isprintable() or not phrase.strip() or len(phrase) > 2 * _LONGEST:
                refuse(f"{path}phrases: that of {value} is empty, of several lines or too long")

    @property
    def works(self) -> bool:
        """Whether it can work; what follows from settings that cannot is not worth saying beside them."""
        return not problems_of(self.validate)

    def _check_bands(self, path: str) -> None:
        for column, edges in self.bands.items():
            if column == SKIN_COLUMN or column not in (self.column, *self.further):
                refuse(
                    f"{path}bands: {column!r} is no column of numbers among {path}column and {path}further; "
                    "name it there, or leave its bands out"
                )
            finite = all(map(math.isfinite, edges))
            if not 2 <= len(edges) <= MOST_VALUES or not finite or any(b <= a for a, b in pairwise(edges)):
                refuse(f"{path}bands: {edges} of {column} are not edges in rising order, such as [0, 30, 60]")

    def _check_values(self, path: str) -> None:
        fixed = self.is_skin_tone or self.column in self.bands
        if fixed and self.values is not None:
            told = "I to VI" if self.is_skin_tone else ", ".join(self.known)
            refuse(f"{path}values: those of {self.column} are {told}; leave the setting out")
        for name in ("majority", "minority"):
            if getattr(self, name) is None and not self.is_skin_tone:
                refuse(
                    f"{path}{name}: not given; say which values of {self.column} are the {name}, such as "
                    f"{path}{name} [{'male' if name == 'majority' else 'female'}]"
                )
        for name in ("values", "majority", "minority"):
            values = getattr(self, name)
            if values is None:
                continue
            if not 0 < len(values) <= MOST_VALUES or len(set(values)) < len(values):
                refuse(f"{path}{name}: {values} must name at least one value, and each once")
            if not all(map(_is_word, values)):
                refuse(f"{path}{name}: a value is of 1 to {_LONGEST} characters, on one line")
            self.refuse_unknown(values, f"{path}{name}")

    def refuse_unknown(self, values: Sequence[str], setting: str) -> None:
        """Raise ConfigError that names the setting if one is no value of the attribute."""
        if not values or (unknown := [value for value in values if value not in self.known]):
            what = unknown[0] if values else "the list"
            kind = "skin types" if self.is_skin_tone else f"values of {self.column}"
            raise ConfigError(f"{setting}: {what!r} is none of the {kind} {', '.join(self.known)}")

    @property
    def is_skin_tone(self) -> bool:
        """Whether it is the skin type: what measures or moves the tone of the skin is for that alone."""
        return self.column == SKIN_COLUMN

    @property
    def of_majority(self) -> list[str]:
        """The values of the majority."""
        return ["I", "II"] if self.majority is None and self.is_skin_tone else list(self.majority or ())

    @property
    def of_minority(self) -> list[str]:
        """The values of the minority."""
        return ["V", "VI"] if self.minority is None and self.is_skin_tone else list(self.minority or ())

    @property
    def known(self) -> list[str]:
        """Every value, in order."""
        if self.is_skin_tone:
            return list(SKIN_TYPES)
        return self.ordered(self.column)

    def ordered(self, column: str) -> list[str]:
        """Return the values of a column, its own or a further one, whose order is stated."""
        if column in self.bands:
            return band_names(self.bands[column])
        if column != self.column:
            return []
        return list(self.values or dict.fromkeys([*self.of_majority, *self.of_minority]))

    @property
    def columns(self) -> list[str]:
        """The columns that a corpus has for it beside the schema's own."""
        return [name for name in (self.column, *self.further) if name != SKIN_COLUMN]

    @property
    def name(self) -> str:
        """The column in words."""
        return self.column.replace("_", " ")

    @property
    def minority_group(self) -> str:
        """Name of the minority as test sets are called: ``dark`` of skin types."""
        return "dark" if self.is_skin_tone else "minority"

    @property
    def majority_group(self) -> str:
        """Name of the majority as test sets are called: ``light`` of skin types."""
        return "light" if self.is_skin_tone else "majority"

    def group_of(self, value: str | None) -> str | None:
        """Return the group of a value, None where it is in neither."""
        if value in self.of_minority:
            return self.minority_group
        return self.majority_group if value in self.of_majority else None

    def said(self, group: str) -> str:
        """Return a group with its values in words, such as ``dark skin types (V, VI)``."""
        values = ", ".join(self.of_minority if group == self.minority_group else self.of_majority)
        return f"{group} {self.name}s ({values})" if self.is_skin_tone else f"{group} {self.name} ({values})"

    def clause(self, value: str) -> str:
        """Return how a prompt goes on after the condition, with what it starts with.

        Raises:
            ConfigError: it is none of the values, where all are stated.
        """
        if self.is_skin_tone or self.values is not None or self.column in self.bands:
            self.refuse_unknown([value], self.column)
        if value in self.phrases:
            return f" {self.phrases[value]}"
        if self.is_skin_tone:
            return f" on the skin of {TONE_WORDS[value]} individual"
        return f", {self.name} {value}"

    def record(self) -> dict[str, dict[str, Any]]:
        """Return it as plain values under the key ``attribute``; nothing for the usual skin types, so that
        what was kept of them before there were others stays as it is."""
        return {} if self == SKIN_TYPE else {"attribute": asdict(self)}


SKIN_TYPE = Attribute()
"""The default: Fitzpatrick types I and II as the majority, V and VI as the minority."""


class _Kept(TypedDict, total=False):
    """What :meth:`Attribute.record` gives."""

    column: str
    values: list[str] | None
    majority: list[str] | None
    minority: list[str] | None
    phrases: dict[str, str]
    further: list[str]
    bands: dict[str, list[float]]


def recorded_attribute(kept: Any) -> Attribute:
    """Return the attribute that a record was made of; what may be a stranger's is judged first.

    Args:
        kept: the value of its key in :meth:`Attribute.record`, None where there is none.

    Raises:
        Malformed: it is none.
    """
    if kept is None:
        return SKIN_TYPE
    refuse_unlike(kept, _Kept, "attribute")
    attribute = Attribute(**{item.name: kept[item.name] for item in fields(Attribute) if item.name in kept})
    try:
        attribute.validate()
    except ConfigError:
        raise Malformed("attribute is none that can be") from None
    return attribute


def titled(column: str, value: str) -> str:
    """Return a value as tables and pictures head it: ``type V`` of skin types, else the value itself."""
    return f"type {value}" if column == SKIN_COLUMN else value


def band_names(edges: Sequence[float]) -> list[str]:
    """Return the names of the bands between lower edges, such as ``0 to under 30`` and ``60 and over``."""
    return [*(f"{low:g} to under {high:g}" for low, high in pairwise(edges)), f"{edges[-1]:g} and over"]


def with_attributes(loaded: LoadedCorpus, attribute: Attribute, where: str) -> LoadedCorpus:
    """Return a corpus as it was read with the columns of an attribute: in bands, gaps and blanks as None.

    Args:
        loaded: with a text column for each of ``attribute.columns``.
        attribute: valid.
        where: name of the corpus, for the messages.

    Raises:
        CorpusError: a column is not there, a number is none, or neither side of the attribute has an image.
    """
    dataset, warnings = loaded.dataset, list(loaded.warnings)
    for column in attribute.columns:
        setting = "corpus.attribute." + ("column" if column == attribute.column else "further")
        if column not in dataset.column_names:
            raise CorpusError(f"{setting}: {where} records no {column!r}; name a column that it has")
        before = dataset[column][:]
        cells = [_cell(cell, attribute.bands.get(column), column) for cell in before]
        if (kinds := len(set(cells) - {None})) > MOST_VALUES:
            raise CorpusError(
                f"{setting}: {column} has {kinds} values, and groups of patients are at most "
                f"{MOST_VALUES}; give corpus.attribute.bands for numbers, or a column of fewer values"
            )
        if column == attribute.column:
            warnings += _unlisted(cells, attribute)
            cells = [cell if attribute.values is None or cell in attribute.values else None for cell in cells]
            _refuse_absent(cells, attribute, where)
        if cells != before:
            place = dataset.column_names
            dataset = dataset.remove_columns(column).add_column(column, cells, feature=Value("string"))
            dataset = dataset.select_columns(place)
        if (unknown := cells.count(None)) and unknown < len(cells):
            warnings.append(f"{column} is not recorded of {unknown} of {len(cells)} images")
    return replace(loaded, dataset=dataset, warnings=warnings)


def _cell(cell: str | None, edges: Sequence[float] | None, column: str) -> str | None:
    words = (cell or "").strip()
    if words.lower() in _BLANK:
        return None
    if edges is None:
        return words
    try:
        number = float(words)
    except ValueError:
        raise CorpusError(
            f"corpus.attribute.bands: a cell of {column} is no number; leave the cell empty where it is not "
            "known, or leave the bands out"
        ) from None
    place = bisect_right(edges, number) if math.isfinite(number) else 0
    return band_names(edges)[place - 1] if place else None


def _unlisted(cells: Sequence[str | None], attribute: Attribute) -> list[str]:
    """Return a warning about images of a value that the settings do not list."""
    if attribute.values is None:
        return []
    other = [cell for cell in cells if cell is not None and cell not in attribute.values]
    return [
        f"{len(other)} images have a {attribute.name} that corpus.attribute.values does not list; it is "
        "taken as not recorded"
    ] * bool(other)


def _refuse_absent(cells: Sequence[str | None], attribute: Attribute, where: str) -> None:
    counts: Mapping[str, int] = Counter(cell for cell in cells if cell is not None)
    for name, side in (("majority", attribute.of_majority), ("minority", attribute.of_minority)):
        if not set(side) & set(counts):
            # A few values only: a column of names, by mistake, would be told in full.
            common = sorted(counts, key=lambda value: -counts[value])[:6]
            there = ", ".join(f"{value} ({counts[value]})" for value in common) or "nothing"
            raise CorpusError(
                f"corpus.attribute.{name}: no image of {where} has the {attribute.name} {' or '.join(side)}; "
                f"{attribute.column} holds {there}"
            )


def _is_word(text: str) -> bool:
    return 0 < len(text) <= _LONGEST and text.isprintable() and text.strip() == text
