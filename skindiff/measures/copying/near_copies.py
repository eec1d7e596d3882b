"""Does a synthetic image show the photograph it came from, or another one? Checked before a push.

Similarities are those of :mod:`.nearest`: structures laid over one another, whatever was done to colours,
orientation or frame. Below the threshold nothing is proven: this is a sieve for copies of a picture or of the
most of it, not a proof of anonymity.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from datasets import Dataset, Image
from numpy.typing import NDArray

from skindiff.errors import RunFolderError, SynthesisError
from skindiff.files import write_atomically
from skindiff.measures.copying.nearest import NONE, Found, Known
from skindiff.measures.copying.rows import NearCopiesSummary, Percentiles
from skindiff.measures.copying.threshold import FEATURES_THRESHOLD, THRESHOLD
from skindiff.seeding import numpy_generator

REPORT_FILE = "near_copies.json"
_SAMPLE = 500


@dataclass(frozen=True)
class Nearest:
    """One synthetic image and the source that it is most like.

    ``own_similarity`` is that with the nearest image of the group of its own source (None where it was made
    from none, or none is known); ``other_source``, ``other_group`` and ``other_similarity`` are of the
    nearest of any other group (patient, lesion, cluster of duplicates; None and -1 where there is none).
    ``nearest_source``, ``nearest_group`` and ``similarity`` are the nearer one of the two, and
    ``of_own_group`` says whether that is of its own source's group.
    """

    image_id: str
    own_source: str | None
    own_group: str | None
    own_similarity: float | None
    nearest_source: str
    nearest_group: str
    similarity: float
    of_own_group: bool
    other_source: str | None
    other_group: str | None
    other_similarity: float


@dataclass(frozen=True)
class NearCopies:
    """Which synthetic images show a source.

    Attributes:
        fingerprint: of the synthetic images (see :func:`fingerprint`), so that a report is used for no other
        set.
        measure: name of the similarity.
        threshold: similarity from which an image counts as a near copy.
        sources: how many images were compared with.
        between_sources: percentiles 50, 95 and 100 of how near real images come to a source of another
            group (held-out ones, where there are such): how alike images of different people are.
        rows: one for each synthetic image, in order.
        threshold_source: whether the threshold was set on held-out images or is the default one.
        held_out_groups: number of groups of those images; None in reports that did not count them.
    """

    fingerprint: str
    measure: str
    threshold: float
    sources: int
    between_sources: Percentiles
    rows: list[Nearest]
    threshold_source: Literal["held-out", "default"]
    held_out_groups: int | None

    @property
    def copies(self) -> list[Nearest]:
        """The images that count as near copies, the nearest first."""
        found = [row for row in self.rows if row.similarity >= self.threshold]
        return sorted(found, key=lambda row: -row.similarity)

    @property
    def basis(self) -> str:
        """Where the threshold comes from, in words."""
        groups = "" if self.held_out_groups is None else f"{self.held_out_groups} groups of "
        if self.threshold_source == "held-out":
            return f"set on {groups}held-out images"
        return f"the default, as {groups}held-out images are too few to set it"

    def summary(self) -> NearCopiesSummary:
        """Return counts and percentiles, without the id of any image or group."""
        own = [row.own_similarity for row in self.rows if row.own_similarity is not None]
        return {
            "measure": self.measure,
            "threshold": self.threshold,
            "threshold_source": self.threshold_source,
            "held_out_groups": self.held_out_groups,
            "images": len(self.rows),
            "sources": self.sources,
            "near_copies": len(self.copies),
            "near_copies_of_own_group": sum(row.of_own_group for row in self.copies),
            "groups_copied": len({row.nearest_group for row in self.copies}),
            "nearest_similarity": percentiles([row.similarity for row in self.rows]),
            "own_similarity": percentiles(own) if own else None,
            "between_sources": self.between_sources,
        }

    def save(self, folder: Path) -> Path:
        """Write ``near_copies.json`` into the data set's folder; it names sources, so it stays there."""
        path, content = folder / REPORT_FILE, asdict(self)
        write_atomically(path, json.dumps({**content, "sha256": _digest(content)}, indent=1) + "\n")
        return path


def load_near_copies(folder: Path) -> NearCopies | None:
    """Return the report that lies in a data set's folder, None if there is none (or one of another measure).

    Reports that do not name their measure were made by one that took crops for something new. Those that do
    not say where their threshold comes from have the default one or one that was set on held-out images.

    Raises:
        RunFolderError: it is not what was written: what is left out of a push would follow from it.
    """
    path = folder / REPORT_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        digest = content.pop("sha256", None)
        damaged = digest is not None and digest != _digest(content)
        if "measure" not in content and not damaged:
            return None
    except (ValueError, AttributeError, TypeError):
        damaged = True
    if damaged:
        raise RunFolderError(f"{path} is not what was written; delete it, and look for copies again")
    source = "default" if content["threshold"] in (THRESHOLD, FEATURES_THRESHOLD) else "held-out"
    former = {"threshold_source": source, "held_out_groups": None}
    return NearCopies(**{**former, **content, "rows": [Nearest(**row) for row in content["rows"]]})


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def between_groups(known: Known, pixels: NDArray[np.uint8]) -> Percentiles:
    """Return percentiles of how near known images (500 of them, at most) come to one of another group."""
    some = numpy_generator("between groups").permutation(len(known.groups))[:_SAMPLE]
    (found,) = known.nearest(pixels[some], [known.groups[row] for row in some])
    return percentiles(found.similarity)


def own_groups(drawn: Dataset, sources: Dataset) -> list[str | None]:
    """Return the group of each synthetic image's source, None where it was made from none.

    Raises:
        SynthesisError: there are no sources, or a synthetic image's own source is not among them.
    """
    groups = dict(zip(sources["image_id"][:], sources["group_id"][:], strict=True))
    own = drawn["source_id"][:]
    missing = [source for source in own if source is not None and source not in groups]
    if missing or not groups:
        what = f"source {missing[0]!r} is not among them" if missing else "there are none"
        raise SynthesisError(f"sources: {what}; give the corpus that the images were made from")
    return [groups[source] if source is not None else None for source in own]


def nearest_rows(
    drawn: Dataset, sources: Dataset, owned: Sequence[str | None], found: Found
) -> list[Nearest]:
    """Put ids to what was found: a row for each synthetic image, in order.

    Args:
        drawn: ``image_id``, ``source_id``.
        sources: ``image_id``, ``group_id``.
        owned: group of each synthetic image's source, from :func:`own_groups`.
        found: of the synthetic images among the sources.
    """
    ids, groups = sources["image_id"][:], sources["group_id"][:]
    rows = []
    named = zip(drawn["image_id"][:], drawn["source_id"][:], owned, strict=True)
    for place, (image_id, own_source, own_group) in enumerate(named):
        other, own = int(found.other[place]), int(found.own[place])
        nearest = own if found.own_similarity[place] >= found.similarity[place] and own != NONE else other
        rows.append(
            Nearest(
                image_id=image_id,
                own_source=own_source,
                own_group=own_group,
                own_similarity=float(found.own_similarity[place]) if own != NONE else None,
                nearest_source=ids[nearest],
                nearest_group=groups[nearest],
                similarity=float(max(found.own_similarity[place], found.similarity[place])),
                of_own_group=groups[nearest] == own_group,
                other_source=ids[other] if other != NONE else None,
                other_group=groups[other] if other != NONE else None,
                other_similarity=float(found.similarity[place]),
            )
        )
    return rows


def fingerprint(drawn: Dataset) -> str:
    """Return the SHA-256 over ids and encoded images of a data set, in order."""
    digest = hashlib.sha256()
    for row in drawn.select_columns(["image_id", "image"]).cast_column("image", Image(decode=False)):
        digest.update(f"{row['image_id']}\n".encode())
        digest.update(hashlib.sha256(row["image"]["bytes"]).digest())
    return digest.hexdigest()


def percentiles(values: Sequence[float] | NDArray[np.float64]) -> Percentiles:
    """Return percentiles 50, 95 and 100 as ``p50``, ``p95`` and ``p100``, with four decimals."""
    p50, p95, p100 = (round(float(np.percentile(values, share)), 4) for share in (50, 95, 100))
    return {"p50": p50, "p95": p95, "p100": p100}
