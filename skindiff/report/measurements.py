"""What a study measures of synthetic images: fidelity and near copies, and their sections."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset

from skindiff.classification.external_sets import ExternalSet, find_copied
from skindiff.classification.provenance import images_shown, with_sources_of
from skindiff.measures.copying.memorisation import CopyingConfig
from skindiff.measures.copying.near_copies import load_near_copies
from skindiff.measures.copying.rows import CopiedElsewhere, CopyingRow
from skindiff.measures.copying.stage import find_copies
from skindiff.measures.fidelity.by_class import class_fidelity
from skindiff.measures.fidelity.rows import FidelityRow
from skindiff.measures.fidelity.scores import FidelityConfig
from skindiff.report.content import MeasuredContent
from skindiff.report.copying import closest_pairs_picture, copying_section
from skindiff.report.fidelity import fidelity_section
from skindiff.report.study_section import Picture, StudySection, StudySectionOf
from skindiff.study import Study, StudyConfig
from skindiff.synthesis.strategies import Synthetic
from skindiff.training.products import RECORD


@dataclass
class MeasuredConfig(StudyConfig):
    """Settings of everything on a corpus that ends in a report."""

    fidelity: FidelityConfig | None = None
    """Score synthetic images against the test images in these features; null does not (needs
    torch-fidelity)."""
    copying: CopyingConfig = field(default_factory=CopyingConfig)
    """How near copies of training images are searched for among synthetic images."""
    include_images: bool | None = None
    """Put sample grids into the report; the run folder then holds images of the corpus. To protect patients,
    null does so only if the corpus is phantom."""

    @property
    def measured(self) -> dict[str, Any]:
        """The settings of this class alone, as :func:`skindiff.evaluate` takes them."""
        return {name: getattr(self, name) for name in ("fidelity", "copying", "include_images")}


@dataclass
class Measurements:
    """The report's keys ``fidelity`` and ``copying``, and pictures of the closest pairs; ``elsewhere`` are
    copies of images of other corpora."""

    fidelity: list[FidelityRow] = field(default_factory=list)
    copying: list[CopyingRow] = field(default_factory=list)
    elsewhere: list[CopiedElsewhere] = field(default_factory=list)
    pictures: dict[str, Picture] = field(default_factory=dict)
    lost: int = 0

    def add(
        self,
        study: Study,
        config: MeasuredConfig,
        synthetic: Synthetic,
        *,
        shown: Dataset | None = None,
        held_out: Dataset | None = None,
        external: Sequence[ExternalSet] = (),
    ) -> None:
        """Score synthetic images, and the real training images, and search for copies.

        Args:
            study: with the real images; what is measured is a stage of it.
            config: what is measured, and how.
            synthetic: the images of the generator.
            shown: the images that it was trained on or transferred; when left out the training rows, the
                sources, and all images that are recorded to have taught it.
            held_out: real images that it never saw; the tested rows when left out.
            external: other corpora that are tested on.
        """
        name = synthetic.label
        corpus, record = study.corpus.dataset, synthetic.folder / RECORD
        if shown is None:
            shown = images_shown(synthetic.dataset, corpus, study.split, record)
        synthetic, lost = with_sources_of(synthetic, corpus)
        held_out = study.held_out if held_out is None else held_out
        known = {(row["images"], row["seed"]) for row in self.fidelity}
        images = {"real training": study.train, name: synthetic.dataset} if config.fidelity else {}
        for own, rows in images.items():
            if config.fidelity and (own, study.seed) not in known:
                row = class_fidelity(study, config.fidelity, rows, name=own, held_out=held_out)
                self.fidelity.append(row)
        if config.copying.enabled:
            found = find_copies(
                study, config.copying, synthetic, name=name, training=shown, held_out=held_out
            )
            self.copying.append(found)
            self.lost += lost
            self.elsewhere += [
                find_copied(study.run, one, synthetic.dataset, name=name, seed=study.seed) for one in external
            ]
            report = load_near_copies(synthetic.folder)
            if report and found["closest_pairs"] and name not in self.pictures:
                self.pictures[name] = closest_pairs_picture(name, report, synthetic.dataset, shown)

    def content(self) -> MeasuredContent:
        """Return the keys of ``report.json`` that have anything in them."""
        content: MeasuredContent = {}
        if self.fidelity:
            content["fidelity"] = self.fidelity
        if self.copying:
            content["copying"] = self.copying
        return content

    def sections(self) -> list[StudySection | StudySectionOf]:
        """Return the sections, empty ones where nothing was measured."""
        copies = copying_section({"copying": self.copying}, list(self.pictures.values()))
        return [fidelity_section(self.fidelity), copies]

    def notes(self) -> list[str]:
        """Return in words which copies were not searched for, and where the threshold is the default one."""
        lost = [
            f"{self.lost} images were made from photographs that are not in this corpus: copies of those are "
            "not searched for."
        ] * bool(self.lost)
        default = [row["threshold"] for row in self.copying if row["threshold"]["source"] == "default"]
        if not default:
            return lost
        counts = [threshold["groups"] for threshold in default]
        few = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
        return [
            *lost,
            f"Near copies: a synthetic image counts as one from a similarity of {default[0]['value']} to a "
            f"training image on. This is the default: {few} groups of held-out images are too few to find "
            "out how alike two real images can be.",
        ]
