"""What a run found of fidelity, gathered while it runs, and its section."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset

from skindiff.measures.fidelity.by_class import class_fidelity
from skindiff.measures.fidelity.scores import FidelityConfig
from skindiff.report.fidelity import fidelity_section
from skindiff.report.study_section import StudySection
from skindiff.runs import RunFolder


@dataclass
class FidelityCollector:
    """The report's key ``fidelity``: a row for every set of images and seed."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        run: RunFolder,
        config: FidelityConfig | None,
        held_out: Dataset,
        images: Mapping[str, Dataset],
        seed: int,
        corpus_fingerprint: str,
    ) -> None:
        """Score images against held-out ones, each name and seed once; a stage of the run.

        Args:
            run: the scores are kept there; its main process computes.
            config: features and scores; None scores nothing.
            held_out: real images that the generator never saw.
            images: by name, what generators drew, and real training images for comparison.
            seed: of the split.
            corpus_fingerprint: fingerprint of the corpus.
        """
        if not config:
            return
        known = {(row["images"], row["seed"]) for row in self.rows}
        for name, own in images.items():
            if (name, seed) not in known:
                row = class_fidelity(
                    run,
                    run.accelerator,
                    config,
                    held_out,
                    own,
                    name=name,
                    seed=seed,
                    corpus_fingerprint=corpus_fingerprint,
                )
                self.rows.append(row)

    def section(self) -> StudySection:
        """Return the section, empty where nothing was scored."""
        return fidelity_section(self.rows)
