"""Which column of a table says what."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from skindiff.corpora.schema import REAL_COLUMNS, SYNTHETIC_COLUMNS
from skindiff.wrong_settings import refuse

NONE = "none"
"""Instead of the name of a column: it is known that there is none."""
KEPT = ("split", "site", "date", "caption")
"""Roles whose cells a corpus keeps as attributes: protocols of splits and captions are made of them."""


@dataclass
class ColumnsConfig:
    """Columns of the table by what they say; one that is left out is looked for by its name and content."""

    file: str | list[str] | None = None
    """Names of the image files, with or without folders and endings; several columns where a row has several
    images. Of a data set its column of images."""
    label: str | list[str] | None = None
    """Diagnosis; or the columns of which one holds 1 in each row, which are then the classes."""
    positive: str | None = None
    """Tell this label alone from all others, which are then called other: the way to use a table in which an
    image has several labels."""
    patient: str | None = None
    """Patient, who is never on both sides of a split; none where the table knows no patients."""
    lesion: str | None = None
    """Lesion, which belongs to one patient; it stands for the patient where there is none."""
    skin_type: str | None = None
    """Fitzpatrick skin type: I to VI, 1 to 6, also as in FST 3; none where it is not to be used."""
    split: str | None = None
    """Official part: train, validation or test, for the protocol official."""
    site: str | None = None
    """Hospital, camera or country, for the protocol held_out."""
    date: str | None = None
    """Date as 2021, 2021-05 or 2021-05-31, for the protocol held_out."""
    caption: str | None = None
    """Words that say what is to be seen, for lora.captions; it is never looked for."""
    box: list[str] | None = None
    """Four columns: left, top, width and height of what is to be seen, in pixels."""
    mask: str | None = None
    """Names of the files of masks, which lie in data_dir too."""
    attributes: dict[str, str] = field(default_factory=dict)
    """What else is kept of each image, by the name it is to have: {sex: gender, age: age_approx}."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        if self.box is not None and len(self.box) != 4:
            refuse(f"{path}box: {self.box} are not four columns: left, top, width, height")
        for name in ("file", "label"):
            value = getattr(self, name)
            if value == NONE or value == [] or (isinstance(value, list) and len(set(value)) < len(value)):
                refuse(f"{path}{name}: {value!r} names no column, or one twice; name the right one")
        taken = {*REAL_COLUMNS, *SYNTHETIC_COLUMNS, *KEPT}
        for name in self.attributes:
            if name in taken or not name.isidentifier():
                refuse(
                    f"{path}attributes: {name!r} cannot be the name of an attribute; take one of letters, "
                    f"digits and _ that is not {', '.join(sorted(taken))}"
                )

    def over(self, other: "ColumnsConfig") -> "ColumnsConfig":
        """Return the columns of another with those that are given here in their place."""
        given = {name: value for name, value in vars(self).items() if value not in (None, {})}
        return replace(other, **given)

    def named(self) -> Iterator[tuple[str, str]]:
        """Yield the setting and the column for every column that is named."""
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "positive" or value in (None, NONE):
                continue
            if isinstance(value, Mapping):
                yield from ((f"attributes.{name}", column) for name, column in value.items())
            else:
                yield from ((item.name, column) for column in ([value] if isinstance(value, str) else value))

    def given(self) -> dict[str, Any]:
        """Return the settings that say something, for a file of settings."""
        return {name: value for name, value in vars(self).items() if value not in (None, {})}
