"""Features of images, computed once per image and view, and shared by all arms, splits and seeds of a run."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from skindiff.corpora.image_table import ImageTable
from skindiff.files import replacing
from skindiff.foreign_tables import open_arrays
from skindiff.measures.backbones import Backbone
from skindiff.progress import progress
from skindiff.training.augmentation import Augment, Augmenter, working_size

logger = logging.getLogger(__name__)
FloatArray = NDArray[np.float32]
_SHARD = 512
"""Images whose features are kept in one file: what an interruption can lose."""


class FeatureStore:
    """Features by what decides them: pixels, view, weights and preprocessing.

    Every forward pass has as many images (the last is filled up), so features do not depend on what else was
    asked for: several processes, or an interruption, change nothing.

    Args:
        folder: where they are kept; several processes may share it.
        backbone: what computes them.
        quiet: show no progress.
    """

    def __init__(self, folder: Path, backbone: Backbone, *, quiet: bool = False) -> None:
        self.folder, self.backbone, self.quiet = folder / backbone.digest[:16], backbone, quiet
        self._known: dict[str, FloatArray] = {}
        self._read: set[str] = set()

    def __call__(self, images: ImageTable, augment: Augment = "none", views: int = 0) -> FloatArray:
        """Return the features of images.

        Args:
            images: of any size.
            augment: how further views are made.
            views: how many, besides the image itself; pixels and number decide a view.

        Returns:
            Shape ``(n, 1 + views, width)``: the image itself first.
        """
        names = [hashlib.sha256(str(one.shape).encode() + one.tobytes()).hexdigest() for one in images.pixels]
        kinds = ["", *(f" {augment} {number}" for number in range(1, views + 1))]
        for number, kind in enumerate(kinds):
            if self._missing(names, kind):
                self._look()
                self._compute(images, self._missing(names, kind), kind, augment, number)
        return np.array([[self._known[name + kind] for kind in kinds] for name in names])

    def _missing(self, names: Sequence[str], kind: str) -> list[tuple[str, int]]:
        return list({name: row for row, name in enumerate(names) if name + kind not in self._known}.items())

    def _look(self) -> None:
        """Read the files that another process, or an earlier one, has written."""
        for file in sorted(self.folder.glob("*.npz")):
            if file.name not in self._read:
                try:
                    with open_arrays(file) as stored:
                        self._known |= dict(zip(stored["keys"].tolist(), stored["features"], strict=True))
                # Its checksum, or nearly anything that reading it meets.
                except Exception as error:
                    logger.warning("%s is damaged (%s): its features are computed again", file, error)
                    file.unlink(missing_ok=True)
                self._read.add(file.name)

    def _compute(
        self, images: ImageTable, rows: list[tuple[str, int]], kind: str, augment: Augment, number: int
    ) -> None:
        with progress(desc="features", unit="image", total=len(rows), disable=self.quiet) as bar:
            for start in range(0, len(rows), _SHARD):
                part = rows[start : start + _SHARD]
                full = part + part[:1] * (-len(part) % self.backbone.batch_size)
                table = images.select([row for _, row in full])
                seen = table.pixels if number == 0 else self._view(table, full, augment, number)
                found = self.backbone(seen).numpy()[: len(part)]
                self._keep([name + kind for name, _ in part], found)
                bar.update(len(part))

    def _view(
        self, table: ImageTable, rows: Sequence[tuple[str, int]], augment: Augment, number: int
    ) -> torch.Tensor:
        size = self.backbone.image_size
        held = torch.from_numpy(table.resized(working_size(size, augment)).pixels)
        positions = torch.tensor([int(name[:15], 16) for name, _ in rows])
        return Augmenter(augment, size, 0.0, seed=0)(
            held.permute(0, 3, 1, 2).float() / 255, number, positions
        )

    def _keep(self, keys: list[str], features: FloatArray) -> None:
        file = self.folder / f"{hashlib.sha256(' '.join(keys).encode()).hexdigest()[:32]}.npz"
        with replacing(file, shared=True) as partial, partial.open("wb") as stream:
            np.savez(stream, keys=np.array(keys), features=features)
        self._known |= dict(zip(keys, features, strict=True))
        self._read.add(file.name)
