"""Pairs of photographs that show the same thing: copies, crops, zooms, flips and shots a moment apart.

Visual words propose pairs (:mod:`.visual_words`), SIFT matches under one affine map count for them, and the
pixels must agree where the map lays one image over the other (:mod:`.local_features`). Perceptual hashes are
not used: duplicates in this field are mostly crops and zooms, which they miss.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skindiff.corpora import local_features
from skindiff.corpora.local_features import read_grey
from skindiff.corpora.seen import SeenStore, kept_in_blocks
from skindiff.corpora.visual_words import candidate_pairs
from skindiff.corpora.whole_pictures import AGREEMENT, SHAPE, SIDE, alike
from skindiff.files import write_atomically
from skindiff.progress import progress, stage
from skindiff.wrong_settings import refuse

logger = logging.getLogger(__name__)

EVIDENCE_INLIERS = 12
"""Fewest inliers for which a match is checked and remembered, whatever the thresholds in use."""


@dataclass
class NearDuplicateConfig:
    """How near-duplicates are searched for and what counts as one."""

    shorter_side: int = 256
    """Pixels of the shorter side at which images are compared (larger images are shrunk)."""

    keypoints: int = 500
    """SIFT keypoints per image, the strongest first."""

    candidates: int = 10
    """How many other images each image is compared with, by shared visual words."""

    mirrored_candidates: int = 2
    """How many other images each image's mirror image is compared with; 0 looks for no flipped copies."""

    min_inliers: int = 20
    """Fewest SIFT matches under one affine map (12 or more): on Fitzpatrick17k the 21 verified pairs have 101
    or more, 150 random pairs at most 10, and two images that share a watermark up to 25."""

    min_agreement: float = 0.6
    """Smallest agreement of the pixels where one image is laid over the other, from 0 to 1: on Fitzpatrick17k
    verified pairs have 0.99 or more, images that share only a watermark at most 0.45."""

    workers: int = 0
    """Threads; 0 uses all cores."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError for a value that cannot work."""
        least = {
            "shorter_side": 64,
            "keypoints": 50,
            "candidates": 1,
            "mirrored_candidates": 0,
            "min_inliers": EVIDENCE_INLIERS,
            "workers": 0,
        }
        for field, value in least.items():
            if getattr(self, field) < value:
                refuse(f"{path}{field} is {getattr(self, field)}: give {value} or more")
        if not 0 <= self.min_agreement <= 1:
            refuse(f"{path}min_agreement is {self.min_agreement}: give a number from 0 to 1")


class Match(NamedTuple):
    """Evidence that two images show the same thing; ``first < second`` are names of images."""

    first: str
    second: str
    mirrored: bool
    inliers: int
    agreement: float
    correlation: float = 0.0
    """Of the whole pictures, where they were compared; 0 for a match of local features."""

    def accepted(self, config: NearDuplicateConfig) -> bool:
        """Whether the evidence is enough under these thresholds."""
        if self.correlation:
            return self.agreement >= AGREEMENT
        return self.inliers >= config.min_inliers and self.agreement >= config.min_agreement


def workers(config: NearDuplicateConfig) -> int:
    """The number of threads to use."""
    return config.workers or os.cpu_count() or 1


def find_matches(
    files: Mapping[str, Path],
    store: SeenStore,
    config: NearDuplicateConfig,
    executor: Executor,
    bit_depth: int | None = None,
) -> list[Match]:
    """Search all images for pairs that match, loosely: by local features, or as whole pictures.

    Args:
        files: of the images, by name; those of pairs worth a look are decoded once more.
        store: of the images that take part; what was compared is kept in its folder, for the next call.
        config: the thresholds in it are not applied here (see :meth:`Match.accepted`).
        executor: where the work runs; OpenCV and BLAS are kept to one thread by the caller.
        bit_depth: bits that 16-bit samples use; null is what the files say.

    Returns:
        At most one match per pair (the better way round), sorted by names; that of the whole pictures only
        where local features were not enough.
    """
    found: dict[tuple[str, str], Match] = {}
    with stage("audit: candidates"):
        tasks = _tasks(store, config, executor)
    read = partial(read_grey, shorter_side=config.shorter_side, bit_depth=bit_depth)
    compare = partial(_compare, files=files, store=store, read=read)
    compared = sum(len(task.others) for task in tasks)
    bar = progress(total=compared, desc="comparing pairs", unit="pair")
    with stage("audit: verification"), bar:
        for block, matches in kept_in_blocks(store.folder, "pairs", tasks, compare, executor):
            bar.update(sum(len(task.others) for task in block))
            for match in (Match(*one) for one in matches):
                pair = (match.first, match.second)
                found[pair] = max(found.get(pair, match), match, key=lambda m: (m.agreement, m.inliers))
    known = {pair for pair, match in found.items() if match.accepted(config)}
    lay = partial(_laid, files=files, read=read)
    with stage("audit: candidates that look alike as a whole"):
        alikes = [pair for pair in _whole(store, config) if pair[:2] not in known]
    with stage("audit: verification of wholes"):
        for _, matches in kept_in_blocks(store.folder, "whole", alikes, lay, executor):
            for match in (Match(*one) for one in matches):
                pair = (match.first, match.second)
                if pair not in known:
                    known.add(pair)
                    found[pair] = match
    logger.info("compared %d and %d pairs of images, %d match", compared, len(alikes), len(found))
    return [found[pair] for pair in sorted(found)]


_Read = Callable[[Path], NDArray[np.uint8]]


class _Task(NamedTuple):
    """One image (or its mirror image) to be compared with others."""

    first: str
    mirrored: bool
    others: list[str]


def _tasks(store: SeenStore, config: NearDuplicateConfig, executor: Executor) -> list[_Task]:
    """Return what is to be compared by local features."""
    file = store.folder / "candidates.json"
    if not file.is_file():
        names = sorted(name for name, count in store.counts.items() if count >= EVIDENCE_INLIERS)
        pairs = candidate_pairs(
            [store.counts[name] for name in names], lambda place: store.features(names[place]),
            config.candidates, config.mirrored_candidates, executor,
        )  # fmt: skip
        tasks = [
            _Task(names[first], mirrored, [names[pair[1]] for pair in group])
            for (first, mirrored), group in groupby(sorted(pairs, key=_way), key=_way)
        ]
        write_atomically(file, json.dumps(tasks), shared=True)
    return [_Task(*task) for task in json.loads(file.read_text())]


def _way(pair: tuple[int, int, bool]) -> tuple[int, bool]:
    return pair[0], pair[2]


def _compare(task: _Task, files: Mapping[str, Path], store: SeenStore, read: _Read) -> list[Match]:
    own = store.features(task.first)
    mine = own.mirrored() if task.mirrored else own
    descriptors, laid = mine.rooted(), None
    matches = []
    for other in task.others:
        theirs = store.features(other)
        here, there = local_features.match(descriptors, theirs.rooted())
        if len(here) < EVIDENCE_INLIERS:
            continue
        inliers, affine = local_features.affine_inliers(mine.points[here], theirs.points[there])
        if affine is None or inliers < EVIDENCE_INLIERS:
            continue
        if laid is None:
            laid = _laying(read(files[task.first]), task.mirrored)
        agreement = local_features.agreement(laid, read(files[other]), affine)
        matches.append(Match(task.first, other, task.mirrored, inliers, round(agreement, 3)))
    return matches


def _laying(grey: NDArray[np.uint8], mirrored: bool) -> NDArray[np.uint8]:
    return np.ascontiguousarray(grey[:, ::-1]) if mirrored else grey


def _whole(store: SeenStore, config: NearDuplicateConfig) -> list[tuple[str, str, bool, float]]:
    """Return pairs of whole pictures of one shape that look alike, as they are and mirrored, and how much."""
    names = sorted(store.counts)
    table, shapes = store.thumbnails(names)
    square = table.reshape(len(table), SIDE, SIDE)
    found = []
    for mirrored in [False, True] if config.mirrored_candidates else [False]:
        other = square[:, :, ::-1].reshape(table.shape) if mirrored else table
        for first, second, correlation in alike(other, table):
            if first < second and abs(shapes[first] - shapes[second]) <= SHAPE:
                found.append((names[first], names[second], mirrored, correlation))
    return found


def _laid(pair: tuple[str, str, bool, float], files: Mapping[str, Path], read: _Read) -> list[Match]:
    """Lay a whole picture over another: a match if they agree."""
    first, second, mirrored, correlation = pair
    laid = _laying(read(files[first]), mirrored)
    under = read(files[second])
    agreement = local_features.agreement(laid, under, local_features.scaling(laid, under))
    if agreement < AGREEMENT:
        return []
    return [Match(first, second, mirrored, 0, round(agreement, 3), round(correlation, 3))]
