"""Does a drawn image show the photograph it came from? Nearest-source similarity, without any weights.

An image is reduced to the structure of its luminance on a grid of 16 x 16: the mean goes and the contrast is
made one, so that neither tone, exposure nor a change of skin colour counts. The similarity of two images is
the correlation of their structures, of the image or its mirror image, from -1 to 1.

Measured on 610 photographs of Fitzpatrick17k at 64 px and 1,220 images that a tiny pipeline re-drew from them
at strength 0.3: the photographs' nearest neighbours of other groups are at 0.74 (median), 0.87 (95th
percentile) and 0.93 (one pair), while the re-drawn images are at 0.95 (median) of their own source, which is
the nearest of all 610 for 98% of them. Above the threshold an image therefore shows its source rather than
something like it. Below it nothing is proven: this is a sieve for near copies of the whole picture, not a
proof of anonymity.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Image
from numpy.typing import NDArray
from PIL import Image as PILImage
from tqdm.auto import tqdm

from skindiff.errors import SynthesisError
from skindiff.runs import write_atomically

THRESHOLD = 0.93
"""Similarity from which an image counts as a near copy."""
GRID = 16
"""Side of the grid that images are reduced to."""
REPORT_FILE = "near_copies.json"
_CHUNK = 512

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Nearest:
    """One drawn image and the source that it is most like.

    ``own_similarity`` is that with its own source (None where it was drawn from none), ``nearest_group`` the
    group (patient, lesion, cluster of duplicates) of the nearest source, and ``of_own_group`` says whether
    that is the group of its own source.
    """

    image_id: str
    own_source: str | None
    own_group: str | None
    own_similarity: float | None
    nearest_source: str
    nearest_group: str
    similarity: float
    of_own_group: bool


@dataclass(frozen=True)
class NearCopies:
    """What :func:`near_copies` found.

    Attributes:
        fingerprint: of the drawn images (see :func:`fingerprint`), so that a report speaks for no other set.
        threshold: similarity from which an image counts as a near copy.
        sources: how many images were compared with.
        between_sources: percentiles 50, 95 and 100 of each source's nearest source of another group: how
            alike images of different people are.
        rows: one for each drawn image, in order.
    """

    fingerprint: str
    threshold: float
    sources: int
    between_sources: dict[str, float]
    rows: list[Nearest]

    @property
    def copies(self) -> list[Nearest]:
        """The images that count as near copies, the nearest first."""
        found = [row for row in self.rows if row.similarity >= self.threshold]
        return sorted(found, key=lambda row: -row.similarity)

    def summary(self) -> dict[str, Any]:
        """Return counts and percentiles, without the id of any image or group."""
        own = [row.own_similarity for row in self.rows if row.own_similarity is not None]
        return {
            "measure": f"correlation of luminance on a grid of {GRID} x {GRID}, or of its mirror image",
            "threshold": self.threshold,
            "images": len(self.rows),
            "sources": self.sources,
            "near_copies": len(self.copies),
            "near_copies_of_own_group": sum(row.of_own_group for row in self.copies),
            "groups_copied": len({row.nearest_group for row in self.copies}),
            "nearest_similarity": _percentiles([row.similarity for row in self.rows]),
            "own_similarity": _percentiles(own) if own else None,
            "between_sources": self.between_sources,
        }

    def save(self, folder: Path) -> Path:
        """Write ``near_copies.json`` into the data set's folder; it names sources, so it stays there."""
        path = folder / REPORT_FILE
        write_atomically(path, json.dumps(asdict(self), indent=1) + "\n")
        return path


def load_near_copies(folder: Path) -> NearCopies | None:
    """Return the report that lies in a data set's folder, None if there is none."""
    path = folder / REPORT_FILE
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    return NearCopies(**{**content, "rows": [Nearest(**row) for row in content["rows"]]})


def near_copies(drawn: Dataset, sources: Dataset, threshold: float = THRESHOLD) -> NearCopies:
    """Compare every drawn image with every source.

    Args:
        drawn: ``image``, ``image_id``, ``source_id`` (null where drawn from none).
        sources: ``image``, ``image_id``, ``group_id``: the corpus that the generator learnt from or re-drew.
        threshold: similarity from which an image counts as a near copy.

    Raises:
        SynthesisError: there are no sources, or a drawn image's own source is not among them.
    """
    ids, groups = list(sources["image_id"]), list(sources["group_id"])
    own_ids = list(drawn["source_id"])
    place = {image_id: row for row, image_id in enumerate(ids)}
    missing = [source for source in own_ids if source is not None and source not in place]
    if missing or not ids:
        what = f"source {missing[0]!r} is not among them" if missing else "there are none"
        raise SynthesisError(f"sources: {what}; give the corpus that the images were drawn from")
    known = structures(_images(sources, "sources"))
    mirrored = known.reshape(-1, GRID, GRID)[:, :, ::-1].reshape(len(known), -1)
    found = structures(_images(drawn, "drawn images"))
    rows = []
    for start in range(0, len(found), _CHUNK):
        chunk = found[start : start + _CHUNK]
        similarity = np.maximum(chunk @ known.T, chunk @ mirrored.T)
        for row, image_id in enumerate(drawn[start : start + _CHUNK]["image_id"]):
            own, nearest = own_ids[start + row], int(similarity[row].argmax())
            group = groups[place[own]] if own is not None else None
            rows.append(
                Nearest(
                    image_id=image_id,
                    own_source=own,
                    own_group=group,
                    own_similarity=_rounded(similarity[row, place[own]]) if own is not None else None,
                    nearest_source=ids[nearest],
                    nearest_group=groups[nearest],
                    similarity=_rounded(similarity[row, nearest]),
                    of_own_group=groups[nearest] == group,
                )
            )
    return NearCopies(fingerprint(drawn), threshold, len(ids), _between(known, mirrored, groups), rows)


def structures(images: Iterable[PILImage.Image]) -> Features:
    """Return the structure of each image as a row of length one (of zeros, where an image shows nothing)."""
    rows = [np.zeros((0, GRID * GRID), np.float32)]
    for image in images:
        small = image.convert("L").resize((GRID, GRID), PILImage.Resampling.BOX)
        values = np.asarray(small, np.float32).reshape(1, -1)
        values = values - values.mean()
        rows.append(values / max(float(np.linalg.norm(values)), 1e-6))
    return np.concatenate(rows)


def fingerprint(drawn: Dataset) -> str:
    """Return the SHA-256 over ids and encoded images of a data set, in order."""
    digest = hashlib.sha256()
    for row in drawn.select_columns(["image_id", "image"]).cast_column("image", Image(decode=False)):
        digest.update(f"{row['image_id']}\n".encode())
        digest.update(hashlib.sha256(row["image"]["bytes"]).digest())
    return digest.hexdigest()


def _images(dataset: Dataset, name: str) -> Iterable[PILImage.Image]:
    rows = dataset.select_columns(["image"])
    return (row["image"] for row in tqdm(rows, desc=f"near copies: {name}", unit="image", delay=2))


def _between(known: Features, mirrored: Features, groups: list[str]) -> dict[str, float]:
    """Return how near each source comes to one of another group."""
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    nearest = []
    for start in range(0, len(known), _CHUNK):
        chunk = known[start : start + _CHUNK]
        similarity = np.maximum(chunk @ known.T, chunk @ mirrored.T)
        similarity[codes[start : start + _CHUNK, None] == codes[None]] = -1.0
        nearest.extend(similarity.max(axis=1).tolist())
    return _percentiles(nearest)


def _percentiles(values: list[float]) -> dict[str, float]:
    return {f"p{share}": _rounded(np.percentile(values, share)) for share in (50, 95, 100)}


def _rounded(value: float) -> float:
    return round(float(value), 4)
