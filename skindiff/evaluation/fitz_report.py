"""What a study of skin-type transfer found, gathered while it runs, and handed to the report."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skindiff.corpora.choice import PreparedCorpus
from skindiff.corpora.splits import Split
from skindiff.evaluation.cells import Cell
from skindiff.synthesis.strategies import Synthetic


@dataclass
class FitzResults:
    """Everything that the report of a study of skin-type transfer is made from."""

    corpus: PreparedCorpus
    splits: dict[int, Split] = field(default_factory=dict)
    synthetic: dict[tuple[int, str], Synthetic] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    seconds: float = 0.0

    def add_split(self, split: Split, cells: list[Cell]) -> None:
        """Add a split and the cells that need no generator."""
        self.splits[split.seed] = split
        self.cells += cells

    def add_strategy(self, split: Split, strategy: str, synthetic: Synthetic, cells: list[Cell]) -> None:
        """Add what one strategy drew for a split, and the cells that were trained on it."""
        self.synthetic[split.seed, strategy] = synthetic
        self.cells += cells


def report_fitz_lora(
    results: FitzResults, config: dict[str, Any], folder: Path, replicates: int, include_images: bool
) -> None:
    """Write ``report.json``, ``report.md`` and the pictures of a study into ``folder``."""
