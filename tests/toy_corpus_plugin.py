"""A plugin as a user would write it, for tests: one corpus of coloured squares, listed in a csv."""

from pathlib import Path

TOY_PLUGIN = '''
"""Coloured squares: a corpus of its own."""

from dataclasses import dataclass
from pathlib import Path

from skindiff.corpora.table import CorpusEntry, ImageRow, LoadedCorpus, assemble, read_csv, table_warnings
from skindiff.corpora.registry import register_corpus
from skindiff.errors import ConfigError


@dataclass
class SquaresConfig:
    """Squares."""

    data_dir: str
    """Folder with squares.csv and the files that it lists."""
    least: int = 1
    """Images that must be there."""
    audit_csv: str | None = None
    """Output of skindiff audit."""

    def validate(self, path: str = "") -> None:
        if self.least < 1:
            raise ConfigError(f"{path}least: {self.least} is below 1; give at least 1")


def load_squares(config: SquaresConfig) -> LoadedCorpus:
    folder = Path(config.data_dir)
    table = folder / "squares.csv"
    rows, missing = [], []
    for entry in read_csv(table, "data_dir", ("file", "colour")):
        file = folder / entry["file"]
        if file.is_file():
            rows.append(ImageRow(file, entry["colour"], None, entry["file"], None))
        else:
            missing.append(entry["file"])
    known = {row.image_id for row in rows}
    unlisted = sorted(path.name for path in folder.glob("*.png") if path.name not in known)
    return assemble(
        rows, ["red", "blue"], "squares", missing=missing, audit_csv=config.audit_csv,
        warnings=table_warnings(table, len(rows) + len(missing), missing, unlisted),
    )


register_corpus(CorpusEntry("squares", SquaresConfig, load_squares))
'''


def write_toy_plugin(folder: Path, name: str = "toy_squares") -> str:
    """Write the plugin as a module into ``folder`` and return the module's name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(TOY_PLUGIN)
    return name
