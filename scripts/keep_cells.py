"""Keep the cells of a run beside its recipe, where later runs of the same settings take them as done.

    python scripts/keep_cells.py runs/ham_fewshot_ham10000 recipes/ham_fewshot/results/ham10000.parquet

Takes what is finished, so a run that still goes on is fine, and may be kept again later. The file has keys,
hashed image ids and probabilities; no picture and no file name.
"""

import json
from pathlib import Path

from jsonargparse import auto_cli

from skindiff.classification.best_epoch import best_epoch
from skindiff.classification.cells import Cell, load_cell
from skindiff.classification.experiment import COPY
from skindiff.classification.recorded_cells import write_cells
from skindiff.classification.rows import BestEpoch
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


def keep(run: Path, file: Path) -> str:
    """Add what is finished in a run to a file, and return in words how much that is."""
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
