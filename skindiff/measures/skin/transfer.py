"""What a skin-type transfer did to the images: tone and lesions of synthetic rows against their sources."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from PIL import Image

from skindiff.corpora.attribute import SKIN_COLUMN
from skindiff.corpora.crops import picture_of, pictures_of
from skindiff.corpora.pixel_reader import as_srgb
from skindiff.measures.skin.lesion_structure import LesionPreservation, lesion_preservation
from skindiff.measures.skin.tone import ToneShift, image_ita, tone_shift
from skindiff.progress import progress
from skindiff.seeding import numpy_generator

_STRUCTURE_SIDE = 128
"""Side in pixels at which structures are compared; the band they are compared in is coarser."""


class TransferPart(NamedTuple):
    """The transferred images of one split.

    ``synthetic`` has ``image``, ``source_id``, ``skin_type``; ``sources`` are real rows, those that were
    transferred among them; ``target`` are real rows of the group that the transfer aims at. They are used to
    report, never to choose: where they are the test set, no setting may be tuned on what is measured here.
    ``column`` is what was transferred.
    """

    synthetic: Dataset
    sources: Dataset
    target: Dataset
    column: str = SKIN_COLUMN


def measure_ita(dataset: Dataset, *, show_progress: bool = False) -> list[float | None]:
    """Return the ITA in degrees of every row's bare skin, None where too little skin can be measured.

    What a crop has filled around a picture (a column ``shown`` says where it lies) is left out.
    """
    quiet = not show_progress
    images = progress(
        pictures_of(dataset), desc="measuring skin tone", unit="image", total=len(dataset), disable=quiet
    )
    return [image_ita(np.asarray(as_srgb(image))) for image in images]


def transferred_rows(
    synthetic: Dataset, sources: Dataset, column: str = SKIN_COLUMN
) -> list[tuple[int, int]]:
    """Return (row of ``synthetic``, row of ``sources``) wherever the skin type, or another value, was
    changed.

    Args:
        synthetic: rows with ``source_id`` and the column; rows from text alone (null) are left out.
        sources: the table that holds the sources, by ``image_id``.
        column: of what was transferred; images that another program made need not have it.
    """
    if column not in synthetic.column_names or column not in sources.column_names:
        return []
    places = {image_id: row for row, image_id in enumerate(sources["image_id"][:])}
    types = sources[column][:]
    wanted, made_of = synthetic[column][:], synthetic["source_id"][:]
    pairs = [(row, places[source]) for row, source in enumerate(made_of) if source in places]
    return [(row, place) for row, place in pairs if wanted[row] != types[place]]


def transfer_tone(
    parts: Sequence[TransferPart], *, seed: int = 0, show_progress: bool = False
) -> ToneShift | None:
    """Return the paired shift in tone of the transferred rows against the real images of the target group.

    Args:
        parts: one for each split; an image that stands in several is resampled as one group.
        seed: names the bootstrap's random stream.
        show_progress: show progress bars.

    Returns:
        The shift, None where no skin type was transferred or nothing can be measured.
    """
    source: list[float | None] = []
    drawn: list[float | None] = []
    target: list[float | None] = []
    groups: list[str] = []
    target_groups: list[str] = []
    for part in parts:
        if part.column != SKIN_COLUMN:
            continue  # a transfer of something else is not to move the tone, and is not judged by it
        pairs = transferred_rows(part.synthetic, part.sources)
        if not pairs:
            continue
        used = sorted({place for _, place in pairs})
        angles = measure_ita(part.sources.select(used), show_progress=show_progress)
        before = dict(zip(used, angles, strict=True))
        names = part.sources["group_id"][:]
        source += [before[place] for _, place in pairs]
        drawn += measure_ita(part.synthetic.select([row for row, _ in pairs]), show_progress=show_progress)
        groups += [names[place] for _, place in pairs]
        target += measure_ita(part.target, show_progress=show_progress)
        target_groups += part.target["group_id"][:]
    return tone_shift(source, drawn, groups, target, target_groups, seed=seed)


def _square(image: Image.Image, side: int) -> NDArray[np.uint8]:
    return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS))


def transfer_lesions(
    parts: Sequence[TransferPart], *, largest: int = 500, seed: int = 0, show_progress: bool = False
) -> LesionPreservation | None:
    """Return how much of the lesions' structure the transferred rows kept.

    A column ``lesion_mask`` of the sources (the phantom's truth) says where the lesion is; without one it is
    estimated in the source.

    Args:
        parts: one for each split.
        largest: number of transferred rows, sampled by ``seed``, that are compared at most.
        seed: names the random streams.
        show_progress: show a progress bar.

    Returns:
        The scores, None where nothing was transferred.
    """
    rows = [
        (part, row, place)
        for part in parts
        for row, place in transferred_rows(part.synthetic, part.sources, part.column)
    ]
    chosen = numpy_generator("lesion rows", seed).permutation(len(rows))[:largest]
    before, after, masks, groups, labels = [], [], [], [], []
    for number in progress(
        sorted(chosen.tolist()), desc="comparing lesions", unit="pair", disable=not show_progress
    ):
        part, row, place = rows[number]
        source, drawn = part.sources[place], part.synthetic[row]
        side = min(_STRUCTURE_SIDE, *source["image"].size, *drawn["image"].size)
        before.append(_square(picture_of(source), side))
        after.append(_square(picture_of(drawn), side))
        mask = picture_of({**source, "image": source["lesion_mask"]}) if "lesion_mask" in source else None
        masks.append(_square(mask, side)[..., 0] > 127 if mask is not None else None)
        groups.append(source["group_id"])
        labels.append(source["label"])
    return lesion_preservation(before, after, groups, labels=labels, lesion_masks=masks, seed=seed)
