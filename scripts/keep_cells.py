"""Keep the cells of a run beside its recipe, where later runs of the same settings take them as done.

The near-duplicates that an audit found are kept with them: elsewhere it might find others, which would make
other groups and other splits.

    python scripts/keep_cells.py runs/ham_fewshot_ham10000 recipes/ham_fewshot/results/ham10000.parquet

Takes what is finished, so a run that still goes on is fine, and may be kept again later. The files have keys,
hashed image ids, probabilities and SHA-256 of pictures; no picture and no file name.
"""

import json
from pathlib import Path

from jsonargparse import auto_cli

from skindiff.classification.best_epoch import best_epoch
from skindiff.classification.cells import Cell, load_cell
from skindiff.classification.experiment import COPY
from skindiff.classification.recorded_cells import write_cells
from skindiff.classification.rows import BestEpoch
from skindiff.corpora.known_pairs import KnownPairs
from skindiff.corpora.registry import PAIRS_FILE
from skindiff.errors import RunFolderError
from skindiff.evaluation.recorded_detections import merge, rows_in
from skindiff.manifest import DONE
from skindiff.runs import STAGES

LOG = "training_log.json"


def cells_of(run: Path) -> list[tuple[Cell, BestEpoch | None]]:
    """Return the finished cells of a run that say what decides them, with best epochs that were watched."""
    found = []
    files = [file for kind in ("cell", COPY) for file in sorted((run / STAGES).glob(f"{kind}-*/*.npz"))]
    for file in files:
        cell, log = load_cell(file), file.parent / LOG
        if cell.record and (file.parent / DONE).is_file():
            rows = json.loads(log.read_text(encoding="utf-8")) if log.is_file() else []
            watched = any(f"test_{file.stem}_accuracy" in row for row in rows)
            found.append((cell, best_epoch(rows, file.stem) if watched else None))
    return found


def keep_pairs(run: Path, folder: Path) -> None:
    """Keep the near-duplicates that the groups of a run follow from, where none of its files are kept.

    Raises:
        RunFolderError: others are kept.
    """
    if not (run / PAIRS_FILE).is_file():
        return
    pairs = KnownPairs.read(run / PAIRS_FILE)
    kept = folder / pairs.name
    if kept.is_file() and KnownPairs.read(kept) != pairs:
        raise RunFolderError(
            f"{run} has other groups than {kept} makes, so its cells would never be taken; run the study "
            "again with --recorded take"
        )
    folder.mkdir(parents=True, exist_ok=True)
    pairs.write(kept)


def keep(run: Path, file: Path) -> str:
    """Add what is finished in a run to a file, and return in words how much that is."""
    keep_pairs(run, file.parent)
    if rows := rows_in(run):
        return f"{len(rows) // 2} detections of {run}; {merge(file, rows)} in {file}"
    kept = cells_of(run)
    return f"{len(kept)} cells of {run}" + (f"; {write_cells(file, kept)} in {file}" if kept else "")


def main(run: str, file: str) -> None:
    """Add the finished cells of a run, or the detections of ham_cdcgan, to a file.

    Args:
        run: its folder.
        file: ends in .parquet; made where there is none.
    """
    print(keep(Path(run), Path(file)))


if __name__ == "__main__":
    auto_cli(main)
