"""What a run found of copies, gathered while it runs, and its section."""

from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset

from skindiff.measures.copying.memorisation import CopyingConfig
from skindiff.measures.copying.near_copies import load_near_copies
from skindiff.measures.copying.stage import find_copies
from skindiff.report.copying import closest_pairs_picture, copying_section
from skindiff.report.study_section import Picture, StudySection, StudySectionOf
from skindiff.runs import RunFolder
from skindiff.synthesis.strategies import Synthetic


@dataclass
class CopiesCollector:
    """The report's key ``copying``, and a picture of the closest pairs of every generator's first seed."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    pictures: dict[str, Picture] = field(default_factory=dict)

    def add(
        self,
        run: RunFolder,
        config: CopyingConfig,
        training: Dataset,
        held_out: Dataset,
        synthetic: Synthetic,
        name: str,
        seed: int,
        corpus_fingerprint: str,
    ) -> None:
        """Look for copies among what a generator drew; a stage of the run (see :func:`find_copies`).

        Nothing is looked for where ``config.enabled`` is false.

        Args:
            run: the stage is kept there; its main process computes.
            config: see :class:`~skindiff.measures.copying.memorisation.CopyingConfig`.
            training: what the generator learnt from or re-drew.
            held_out: real images that it never saw.
            synthetic: what it drew.
            name: of the generator, for the report.
            seed: of the split.
            corpus_fingerprint: fingerprint of the corpus.
        """
        if not config.enabled:
            return
        drawn, folder = synthetic.dataset, synthetic.folder
        row = find_copies(
            run, run.accelerator, config, training, held_out, drawn,
            folder=folder, name=name, seed=seed, corpus_fingerprint=corpus_fingerprint,
        )  # fmt: skip
        self.rows.append(row)
        report = load_near_copies(folder)
        if report and row["closest_pairs"] and name not in self.pictures:
            self.pictures[name] = closest_pairs_picture(name, report, drawn, training)

    def notes(self) -> list[str]:
        """Return in words where the threshold is the default one, for want of held-out images."""
        return [
            f"Near copies among {row['images']} (seed {row['seed']}): {row['threshold']['groups']} groups of "
            "held-out images are too few to set the threshold, so it is the default one, "
            f"{row['threshold']['value']}."
            for row in self.rows
            if row["threshold"]["source"] == "default"
        ]

    def section(self) -> StudySection | StudySectionOf:
        """Return the section, empty where nothing was looked for."""
        return copying_section({"copying": self.rows}, list(self.pictures.values()))
