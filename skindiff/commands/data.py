"""``skindiff data check`` and ``list``: how a folder of one's own is read, and which data sets are known."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import yaml
from datasets import Dataset

from skindiff.commands.settings import parse_command
from skindiff.commands.terminal import complain, say, suggest, table
from skindiff.corpora.pixel_notes import ImageRefused
from skindiff.corpora.pixel_reader import refuse_by_header
from skindiff.corpora.table_corpus.columns import NONE
from skindiff.corpora.table_corpus.guess import Guess
from skindiff.corpora.table_corpus.loader import Reading, Settled, TableConfig, read_settled, settle
from skindiff.corpora.table_corpus.presets import PRESETS
from skindiff.corpora.tally import by_size
from skindiff.errors import ConfigError
from skindiff.files import real_path, write_atomically
from skindiff.progress import progress
from skindiff.wrong_settings import refuse

WHAT = {
    "check": "say how a folder and its table are read, count what is in it, and write that down for --corpus",
    "list": "show the data sets whose tables are known, their terms, and where a user gets them",
}
"""What each does, as the help says it."""
_CELLS = 3
"""Cells of a column that are shown."""


@dataclass
class DataCheck(TableConfig):
    """Say how a folder and its table are read, and write it down for --corpus.

    skindiff data check DIR
    skindiff data check DIR --columns.label diagnosis --columns.patient none
    """

    data_dir: str = ""
    """Folder with the images, at any depth, and the table; or a table, a folder of save_to_disk or of Parquet
    files with images, or a Hub data set id (owner/name)."""
    output: str = "corpus.yaml"
    """File of settings to write, which --corpus of every command takes, and skindiff audit."""

    def validate(self, path: str = "") -> None:
        """Raise a ConfigError on the first setting that cannot work."""
        if not self.data_dir:
            refuse(f"{path}data_dir is not given: name the folder that holds the images")
        super().validate(path)


def main(words: Sequence[str]) -> int:
    """Check a folder, or list what is known."""
    if not words or words[0] in ("-h", "--help"):
        say("usage: skindiff data check DIR [--SETTING VALUE ...]\n       skindiff data list [NAME]\n")
        for name, says in WHAT.items():
            say(f"  {name:5}  {says}")
        return 0 if words else 2
    if words[0] == "list":
        return _list(words[1:])
    if words[0] != "check":
        raise ConfigError(f"data: {words[0]!r} is neither check nor list")
    return _check(parse_command(DataCheck, words[1:], "data check", positional=["data_dir"]))


def _check(given: DataCheck) -> int:
    config = TableConfig(**{item.name: getattr(given, item.name) for item in fields(TableConfig)})
    settled = settle(config)
    say(f"{settled.source.table.name}: {settled.source.table.said}")
    say()
    _say_columns(settled)
    reading = read_settled(settled)
    say()
    _say_counts(reading)
    for warning in reading.warnings:
        if not warning.startswith(("columns of ", "columns.")):  # seen above
            complain(f"warning: {warning}")
    if reading.unstated:
        complain(f"open: {reading.unstated}")
    if damaged := _damaged(reading):
        complain(
            f"warning: {len(damaged)} of {len(reading.images)} files cannot be read, such as {damaged[0]}"
        )
    say("only the headers of the image files were read; the audit decodes every image")
    columns = {name: value for name, value in reading.columns.given().items() if value != ""}
    kept = {name: value for name, value in vars(config).items() if value is not None and name != "columns"}
    kept |= {"data_dir": _absolute(config.data_dir), "columns": columns}
    if listing := settled.source.listing:
        inside = real_path(listing).parent == real_path(Path(config.data_dir))
        kept["metadata"] = listing.name if inside else _absolute(str(listing))
    text = yaml.safe_dump({"name": "table", "table": kept}, sort_keys=False, allow_unicode=True)
    write_atomically(Path(given.output), text)
    say(f"\nwritten to {given.output}")
    suggest(["skindiff", "audit", given.output], ["skindiff", "train", "lora", "--corpus", given.output])
    return 0


def _absolute(place: str) -> str:
    return str(real_path(Path(place))) if Path(place).exists() else place


def _say_columns(settled: Settled) -> None:
    """Show every column of the table with what it was taken for, and roles that two columns fit."""
    roles: dict[str, str] = {column: role for role, column in settled.columns.named()}
    given = {column for _, column in settled.config.columns.named()}
    rows = []
    source = settled.source.table
    for name in dict.fromkeys(source.columns):
        role = roles.get(name, "-")
        how = "-" if name not in roles else "given" if name in given else "found"
        cells = by_size(source.column(name)) if source.columns.count(name) == 1 else {}
        such = ", ".join(cell[:24] or "(empty)" for cell in list(cells)[:_CELLS])
        rows.append([name, role, how, str(len(cells)), such])
    for line in table(["column", "taken for", "", "values", "such as"], rows):
        say(line)
    absent = [role for role in ("patient", "lesion", "skin_type") if getattr(settled.columns, role) == NONE]
    for role in absent:
        say(f"{role}: there is none, as was said")
    for one in settled.guesses:
        if len(one.candidates) > 1:
            say(_two(one))


def _two(one: Guess) -> str:
    return f"{one.role}: {' and '.join(one.candidates)} both fit"


def _say_counts(reading: Reading) -> None:
    facts = reading.facts
    images = [image for image, _ in reading.images]
    groups = {image.group_id for image in images} - {None}
    alone = sum(image.group_id is None for image in images)
    known = f"{len(groups)} patients or lesions" + (f", {alone} images without one" if alone else "")
    say(f"{len(images)} images, {known}")
    say(f"{len(reading.missing)} rows without a file, {len(reading.unlisted)} files without a row")
    types = by_size([image.skin_type for image in images])
    found = {"class": by_size([image.label for image in images]), "skin_type": types}
    for name in facts.attributes:
        found[name] = by_size([image.attributes[name] for image in images])
    for name, counts in found.items():
        say()
        for line in table([name, "images"], [[value, str(count)] for value, count in counts.items()][:30]):
            say(line)
        if len(counts) > 30:
            say(f"and {len(counts) - 30} more")


def _damaged(reading: Reading) -> list[str]:
    """Return every image file whose header is refused, with the reason."""
    files = reading.source.images
    if isinstance(files, Dataset):
        return []
    found = []
    for _, name in progress(reading.images, desc="reading headers", unit="image"):
        try:
            refuse_by_header(files.files[str(name)])
        except ImageRefused as error:
            found.append(f"{name}: {error}")
    return found


def _list(words: Sequence[str]) -> int:
    if words:
        if len(words) > 1 or words[0] not in PRESETS:
            raise ConfigError(f"data list: {' '.join(words)!r} is none of {', '.join(PRESETS)}")
        preset = PRESETS[words[0]]
        columns = ", ".join(f"{role}: {column}" for role, column in preset.columns.named())
        for name in ("title", "size", "licence", "credit", "where", "source", "notes"):
            say(f"{name + ':':9} {getattr(preset, name)}")
        say(f"{'table:':9} {preset.metadata or 'the one in the folder'}\n{'columns:':9} {columns}")
        where = f"--corpus.table.preset {preset.name} --corpus.table.data_dir DIR"
        say(f"\nread it by --corpus.name table {where}")
        return 0
    rows = [[one.name, one.licence, one.size] for one in PRESETS.values()]
    widths = [max(len(row[place]) for row in rows) for place in range(2)]
    for name, licence, size in rows:
        say(f"{name:{widths[0]}}  {licence:{widths[1]}}  {size}")
        say(f"{'':{widths[0]}}  {PRESETS[name].where}")
    say("\nNothing is fetched. All of one: skindiff data list NAME. Presets of --corpus.name table; phantom,")
    say("fitzpatrick17k, ham10000, medmnist and imagefolder are corpora of their own.")
    return 0
