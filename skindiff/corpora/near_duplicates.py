"""Pairs of photographs that show the same thing: copies, crops, zooms, flips and shots a moment apart.

Visual words propose pairs (:mod:`.visual_words`), SIFT matches under one affine map count for them, and the
pixels must agree where the map lays one image over the other (:mod:`.local_features`). Perceptual hashes are
not used: duplicates in this field are mostly crops and zooms, which they miss.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skindiff.corpora import local_features
from skindiff.corpora.local_features import LocalFeatures, read_grey
from skindiff.corpora.visual_words import candidate_pairs
from skindiff.corpora.whole_pictures import AGREEMENT, SHAPE, SIDE, alike
from skindiff.errors import ConfigError
from skindiff.progress import progress

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
        """Raise :class:`ConfigError` for a value that cannot work."""
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
                raise ConfigError(f"{path}{field} is {getattr(self, field)}: give {value} or more")
        if not 0 <= self.min_agreement <= 1:
            raise ConfigError(f"{path}min_agreement is {self.min_agreement}: give a number from 0 to 1")


class Seen(NamedTuple):
    """What is kept of an image that takes part in the search."""

    features: LocalFeatures
    thumbnail: NDArray[np.float32]
    width: int
    height: int


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
    seen: Mapping[str, Seen],
    config: NearDuplicateConfig,
    bit_depth: int | None = None,
) -> list[Match]:
    """Search all images for pairs that match, loosely: by local features, or as whole pictures.

    Args:
        files: of the images, by name; those of pairs worth a look are decoded once more.
        seen: of the images that take part, by name.
        config: the thresholds in it are not applied here (see :meth:`Match.accepted`).
        bit_depth: bits that 16-bit samples use; null is what the files say.

    Returns:
        At most one match per pair (the better way round), sorted by names; that of the whole pictures only
        where local features were not enough.
    """
    features = {name: one.features for name, one in seen.items()}
    names = sorted(name for name, one in features.items() if len(one.points) >= EVIDENCE_INLIERS)
    with local_features.one_thread_each(), ThreadPoolExecutor(workers(config)) as executor:
        pairs = candidate_pairs(
            [features[name] for name in names], config.candidates, config.mirrored_candidates, executor
        )
        tasks = [
            _Task(names[first], mirrored, [names[pair[1]] for pair in group])
            for (first, mirrored), group in groupby(sorted(pairs, key=_way), key=_way)
        ]
        read = partial(read_grey, shorter_side=config.shorter_side, bit_depth=bit_depth)
        compare = partial(_compare, files=files, features=features, read=read)
        found: dict[tuple[str, str], Match] = {}
        with progress(total=len(pairs), desc="comparing pairs", unit="pair") as bar:
            for task, matches in zip(tasks, executor.map(compare, tasks), strict=True):
                bar.update(len(task.others))
                for match in matches:
                    pair = (match.first, match.second)
                    found[pair] = max(found.get(pair, match), match, key=lambda m: (m.agreement, m.inliers))
        for match in _whole(files, seen, config, bit_depth):
            pair = (match.first, match.second)
            if pair not in found or not found[pair].accepted(config):
                found[pair] = match
    logger.info("compared %d pairs of %d images, %d match", len(pairs), len(names), len(found))
    return [found[pair] for pair in sorted(found)]


def _whole(
    files: Mapping[str, Path],
    seen: Mapping[str, Seen],
    config: NearDuplicateConfig,
    bit_depth: int | None,
) -> Iterator[Match]:
    """Yield pairs of whole pictures of one shape, as they are and mirrored, that agree where they are laid
    over one another."""
    names = sorted(seen)
    table = np.stack([seen[name].thumbnail for name in names]) if names else np.zeros((0, 1), np.float32)
    sides = [False, True] if config.mirrored_candidates else [False]
    for mirrored in sides:
        square = table.reshape(len(table), SIDE, SIDE)
        other = square[:, :, ::-1].reshape(len(table), -1) if mirrored else table
        for first, second, correlation in alike(other, table):
            here, there = names[first], names[second]
            shapes = (np.log(seen[name].width / seen[name].height) for name in (here, there))
            if first >= second or abs(np.subtract(*shapes)) > SHAPE:
                continue
            grey = [read_grey(files[name], config.shorter_side, bit_depth) for name in (here, there)]
            laid = np.ascontiguousarray(grey[0][:, ::-1]) if mirrored else grey[0]
            found = local_features.agreement(laid, grey[1], local_features.scaling(laid, grey[1]))
            if found >= AGREEMENT:
                yield Match(here, there, mirrored, 0, round(found, 3), round(correlation, 3))


class _Task(NamedTuple):
    """One image (or its mirror image) to be compared with others."""

    first: str
    mirrored: bool
    others: list[str]


def _way(pair: tuple[int, int, bool]) -> tuple[int, bool]:
    return pair[0], pair[2]


def _compare(
    task: _Task,
    files: Mapping[str, Path],
    features: Mapping[str, LocalFeatures],
    read: Callable[[Path], NDArray[np.uint8]],
) -> list[Match]:
    mine = features[task.first].mirrored() if task.mirrored else features[task.first]
    descriptors = mine.rooted()
    matches = []
    for other in task.others:
        theirs = features[other]
        here, there = local_features.match(descriptors, theirs.rooted())
        if len(here) < EVIDENCE_INLIERS:
            continue
        inliers, affine = local_features.affine_inliers(mine.points[here], theirs.points[there])
        if affine is None or inliers < EVIDENCE_INLIERS:
            continue
        grey = read(files[task.first])
        laid = np.ascontiguousarray(grey[:, ::-1]) if task.mirrored else grey
        agreement = local_features.agreement(laid, read(files[other]), affine)
        matches.append(Match(task.first, other, task.mirrored, inliers, round(agreement, 3)))
    return matches
