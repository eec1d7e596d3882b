"""Generating the rows of a class plan with a from-scratch generator; any row can be generated again alone."""

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from datasets import Dataset
from PIL import Image as PILImage

from skindiff.corpora.cache import pixels
from skindiff.corpora.image_table import ImageTable
from skindiff.errors import SynthesisError
from skindiff.generators.class_conditional import ClassConditionalPipeline
from skindiff.generators.families import SAMPLER_COLUMNS
from skindiff.synthesis.batches import Drawn, draw_in_batches, fixed_threads
from skindiff.synthesis.rows import ClassPlanRow

logger = logging.getLogger(__name__)

_BATCH_SETTINGS = ("family", *SAMPLER_COLUMNS, "options", "output_size", "batch_size")
"""Columns in which the rows of one batch agree."""


class ClassDrawer:
    """A from-scratch generator at work.

    Args:
        pipeline: the generator; it is left as it is.
        sources: corpus with the ``image_id`` and ``image`` of every source; only for families that
            reconstruct.
    """

    def __init__(self, pipeline: ClassConditionalPipeline, sources: Dataset | None = None) -> None:
        self._pipeline, self._sources = pipeline, sources
        self._numbers = {} if sources is None else {name: n for n, name in enumerate(sources["image_id"][:])}
        self._shown: dict[str, PILImage.Image] = {}
        pipeline.set_progress_bar_config(disable=True)

    def draw(
        self, rows: Sequence[ClassPlanRow], on_images: Callable[[int], object] = lambda count: None
    ) -> Drawn:
        """Generate rows of a plan.

        Args:
            rows: ``plan.to_list()`` or any part of it.
            on_images: called with the number of rows that each batch has finished.

        Raises:
            SynthesisError: a row is of another family, or a source is unknown.
        """
        self._check(rows)
        steps = {_sampling(row): row["steps"] for row in rows if row["steps"] is not None}
        return draw_in_batches(rows, _BATCH_SETTINGS, self._draw_batch, on_images, steps)

    def _check(self, rows: Sequence[ClassPlanRow]) -> None:
        for row in rows:
            if row["family"] != self._pipeline.family:
                raise SynthesisError(
                    f"row {row['image_id']!r} is of a {row['family']}, but the generator is a "
                    f"{self._pipeline.family}: give the one that made it"
                )
            if self._pipeline.needs_images and row["source_id"] not in self._numbers:
                raise SynthesisError(
                    f"source_id {row['source_id']!r} of row {row['image_id']!r} is not among the "
                    "sources: give the corpus that the plan was made from"
                )

    def _draw_batch(self, batch: list[ClassPlanRow]) -> torch.Tensor:
        first = batch[0]
        options: dict[str, Any] = json.loads(first["options"])
        options |= {name: first[name] for name in SAMPLER_COLUMNS if first[name] is not None}
        if self._pipeline.needs_images:
            options["images"] = [self._source(row["source_id"]) for row in batch]
        (images,) = self._pipeline(
            [row["label"] for row in batch],
            generator=[torch.Generator("cpu").manual_seed(row["seed"]) for row in batch],
            output_type="pt",
            return_dict=False,
            **options,
        )
        # Grey corpora are kept as RGB with three equal channels.
        coloured: torch.Tensor = images.expand(-1, 3, -1, -1)
        return coloured

    def _source(self, source_id: str | None) -> PILImage.Image:
        """Return a source at the generator's size, resampled as its training images were."""
        if source_id not in self._shown:
            assert self._sources is not None
            assert source_id is not None
            found = pixels(self._sources, [self._numbers[source_id]])
            table = ImageTable(found, torch.zeros(1, dtype=torch.int64).numpy(), (None,), ())
            sized = table.resized(self._pipeline.config.image_size)
            self._shown[source_id] = PILImage.fromarray(sized.pixels[0])
        return self._shown[source_id]


def _sampling(row: ClassPlanRow) -> str:
    return ", ".join(filter(None, (row["family"], row["scheduler"], f"{row['steps']} steps")))


def redraw_class(
    row: ClassPlanRow, pipeline: ClassConditionalPipeline, sources: Dataset | None = None
) -> PILImage.Image:
    """Generate one row of a class plan, or of a data set made from it, again.

    On the same device the result is the same bit for bit: batch size, place in the batch and (on a CPU)
    number of threads are those that the row records.

    Args:
        row: with the columns of a plan; any others, such as ``image``, are ignored.
        pipeline: the generator that ``row["generator"]`` names.
        sources: a corpus with the row's source; only for families that reconstruct.

    Raises:
        SynthesisError: the row is of another family, its source is missing, or the image is not finite or
            constant.
    """
    with fixed_threads(row["threads"]):
        drawn = ClassDrawer(pipeline, sources).draw([row])
    if drawn.refused:
        raise SynthesisError(
            f"row {row['image_id']!r} gives an image that is {drawn.refused[0]}: use another seed, "
            "or train the generator again"
        )
    return PILImage.fromarray(drawn.images[0])
