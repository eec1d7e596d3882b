"""The audit of a corpus: which images cannot be used, and which show the same thing.

A split must never put two pictures of one lesion on both sides, so the audit gives every image a group.
Its table goes to a csv file that the loaders of corpora read (their setting ``audit_csv``).
"""

import csv
import hashlib
import json
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from skindiff.corpora import local_features
from skindiff.corpora.known_pairs import KnownPairs, key_of
from skindiff.corpora.near_duplicates import (
    Match,
    NearDuplicateConfig,
    find_matches,
    workers,
)
from skindiff.corpora.picture_quality import Quality, flags, measure
from skindiff.corpora.pixel_notes import ImageRefused
from skindiff.corpora.pixel_reader import read_pixels
from skindiff.corpora.seen import Look, Seen, SeenStore
from skindiff.corpora.table import why_not_opened
from skindiff.corpora.whole_pictures import thumbnail
from skindiff.errors import CorpusError
from skindiff.files import replacing, write_atomically
from skindiff.progress import progress, stage
from skindiff.wrong_settings import refuse

logger = logging.getLogger(__name__)

Status = Literal["ok", "duplicate", "undecodable", "tiny", "constant"]

STATUSES: dict[str, Status] = {status: status for status in get_args(Status)}

COLUMNS = ("image_id", "status", "group_id", "reason", "flags", "remarks")
"""Of the csv file; loaders of corpora read the first four."""

CACHE_VERSION = 4
"""Raised whenever the same files and settings would give other findings."""

LARGE_GROUP = 12
"""Groups of more images than this are held together by strong matches alone, so that no chain of weak ones
joins unrelated images. The largest group of Fitzpatrick17k's 4,087 images has 10, all of one patient."""

STRONG_INLIERS, STRONG_AGREEMENT = 74, 0.9
"""A strong match: as good as the verified pairs of Fitzpatrick17k, whose worst has 101 inliers here, and 74
with a SIFT of OpenCV's own settings on larger images."""


@dataclass
class AuditConfig:
    """What the audit looks for."""

    min_side: int = 32
    """Images whose shorter side has fewer pixels are tiny."""

    min_contrast: float = 2.0
    """Images whose grey levels (0 to 255) have a smaller standard deviation are constant."""

    find_near_duplicates: bool = True
    """Look for near-duplicates (needs OpenCV: the extra skindiff[audit]); exact copies are always found."""

    bit_depth: int | None = None
    """Bits that 16-bit samples use (9 to 16); null is what the files say."""

    near_duplicates: NearDuplicateConfig = field(default_factory=NearDuplicateConfig)
    """How near-duplicates are searched for and what counts as one."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError for a value that cannot work."""
        if self.min_side < 1:
            refuse(f"{path}min_side is {self.min_side}: give 1 or more pixels")
        if self.min_contrast < 0:
            refuse(f"{path}min_contrast is {self.min_contrast}: give 0 or more grey levels")
        if self.bit_depth is not None and not 9 <= self.bit_depth <= 16:
            refuse(f"{path}bit_depth is {self.bit_depth}: give 9 to 16 bits")
        self.near_duplicates.validate(f"{path}near_duplicates.")


class AuditRow(NamedTuple):
    """What the audit says of one image; images that share a ``group_id`` show the same thing."""

    image_id: str
    status: Status
    group_id: str
    reason: str
    flags: str = ""
    """Words with spaces between them, such as ``blurred ruler``: what to look at. They take no image out."""
    remarks: str = ""
    """Why, in as many sentences."""

    def flagged(self, found: Mapping[str, str]) -> "AuditRow":
        """Return the row with further flags, each with its reason."""
        words = " ".join(filter(None, (self.flags, *found)))
        return self._replace(flags=words, remarks="; ".join(filter(None, (self.remarks, *found.values()))))


def audit_images(paths: Mapping[str, Path], config: AuditConfig, cache_dir: Path | None) -> list[AuditRow]:
    """Look at every image of a corpus: can it be used, and does another one show the same thing.

    Args:
        paths: file of each image by image id.
        config: what to look for.
        cache_dir: folder for the findings, keyed by file contents and settings, so that a second call only
            reads the files once; the thresholds of near-duplicates may change without a new search. ``None``
            keeps nothing.

    Returns:
        One row per image in the order of ``paths``. ``duplicate`` is every image of a group of two or more,
        its ``group_id`` the smallest image id of the group; all other images are a group of their own.

    Raises:
        ConfigError: a setting cannot work, or OpenCV is missing.
        CorpusError: a file cannot be opened.
    """
    return audit_with_pairs(paths, config, cache_dir)[0]


def audit_with_pairs(
    paths: Mapping[str, Path], config: AuditConfig, cache_dir: Path | None, kept: Path | None = None
) -> tuple[list[AuditRow], KnownPairs | None]:
    """Look at every image of a corpus as :func:`audit_images` does; say what its groups follow from too.

    Args:
        paths: see there, as ``config`` and ``cache_dir``.
        kept: folder of near-duplicates that were found elsewhere (:class:`KnownPairs`). Those of the same
            files are taken, and none are searched for.

    Returns:
        The rows and the near-duplicates, None where none are searched for.

    Raises:
        ConfigError, CorpusError: see there; a kept file is damaged.
    """
    config.validate()
    unopened = {image_id: reason for image_id, path in paths.items() if (reason := why_not_opened(path))}
    opened = {image_id: path for image_id, path in paths.items() if image_id not in unopened}
    contents = _hash_files(opened, workers(config.near_duplicates))
    files = {contents[image_id]: path for image_id, path in opened.items()}
    pairs = None
    if config.find_near_duplicates:
        pairs = KnownPairs(key_of(files, config.bit_depth), [])
    known = kept / pairs.name if kept is not None and pairs is not None else None
    if known is not None and known.is_file():
        pairs = KnownPairs.read(known)
        logger.info("audit: %d near-duplicates are taken from %s", len(pairs.matches), known)
        unsearched = replace(config, find_near_duplicates=False)
        findings = _cached_findings(files, unsearched, cache_dir)._replace(matches=pairs.matches)
    else:
        findings = _cached_findings(files, config, cache_dir)
    found = {row.image_id: row for row in _rows(contents, findings, config)}
    found |= {name: AuditRow(name, "undecodable", name, reason) for name, reason in unopened.items()}
    rows = [found[image_id] for image_id in paths]
    sizes = Counter(Counter(row.group_id for row in rows).values())
    logger.info("audit: statuses %s", dict(Counter(row.status for row in rows)))
    logger.info("audit: flags %s", dict(Counter(flag for row in rows for flag in row.flags.split())))
    logger.info("audit: groups by number of images %s", dict(sorted(sizes.items())))
    return rows, pairs and replace(pairs, matches=findings.matches)


def write_audit(rows: Iterable[AuditRow], path: Path) -> None:
    """Write the audit as csv, whole or not at all; loaders of corpora read its first four columns."""
    with replacing(path, shared=True) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


class _Findings(NamedTuple):
    """What was seen, by SHA-256 of the files."""

    unfit: dict[str, tuple[Status, str]]
    """Status and reason of those that cannot be used."""
    quality: dict[str, Quality]
    """Of all others."""
    matches: list[Match]


def _hash_files(paths: Mapping[str, Path], threads: int) -> dict[str, str]:
    """SHA-256 of every image's file, by image id."""

    def digest(item: tuple[str, Path]) -> tuple[str, str]:
        image_id, path = item
        try:
            with path.open("rb") as file:
                return image_id, hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise CorpusError(
                f"image {image_id}: {path} cannot be opened ({error.strerror}); "
                "leave it out of the corpus or put the file there"
            ) from error

    with ThreadPoolExecutor(threads) as executor:
        return dict(executor.map(digest, paths.items()))


def _cached_findings(files: Mapping[str, Path], config: AuditConfig, cache_dir: Path | None) -> _Findings:
    if cache_dir is None:
        with tempfile.TemporaryDirectory(prefix="skindiff-audit-") as folder:
            return _look(files, config, Path(folder))
    name = f"audit-{_fingerprint(files, config)}"
    path, unfinished = cache_dir / f"{name}.json", cache_dir / f"{name}.unfinished"
    if not path.is_file():
        try:
            findings = _look(files, config, unfinished)
        except FileNotFoundError:
            if not path.is_file():  # otherwise another process was first with the same files
                raise
        else:
            write_atomically(path, json.dumps(findings._asdict()), shared=True)
            shutil.rmtree(unfinished, ignore_errors=True)
    stored = json.loads(path.read_text())
    return _Findings(
        {key: (status, reason) for key, (status, reason) in stored["unfit"].items()},
        {key: Quality(*measured) for key, measured in stored["quality"].items()},
        [Match(*match) for match in stored["matches"]],
    )


def _fingerprint(files: Mapping[str, Path], config: AuditConfig) -> str:
    """Hash of all that the findings depend on: not the thresholds, which are applied to them later."""
    settings = asdict(config)
    for threshold in ("min_inliers", "min_agreement", "workers"):
        del settings["near_duplicates"][threshold]
    if config.find_near_duplicates:
        settings["opencv"] = local_features.opencv().__version__
    digest = hashlib.sha256(json.dumps([CACHE_VERSION, settings], sort_keys=True).encode())
    for content in sorted(files):
        digest.update(content.encode())
    return digest.hexdigest()[:32]


def _look(files: Mapping[str, Path], config: AuditConfig, folder: Path) -> _Findings:
    """Decode every distinct file and search the good ones for near-duplicates, in a folder that keeps it."""
    contents = sorted(files)
    store = SeenStore(folder, contents, config.near_duplicates.keypoints)
    unfit: dict[str, tuple[Status, str]] = {}
    quality: dict[str, Quality] = {}
    alone = local_features.one_thread_each() if config.find_near_duplicates else nullcontext()
    with alone, ThreadPoolExecutor(workers(config.near_duplicates)) as executor:
        bar = progress(total=len(contents), desc="looking at images", unit="image")
        with stage("audit: features"), bar:
            for said in store.fill(lambda content: _screen(files[content], config), executor):
                unfit |= {content: tuple(one["unfit"]) for content, one in said.items() if "unfit" in one}
                quality |= {content: Quality(*one["fit"]) for content, one in said.items() if "fit" in one}
                bar.update(len(said))
        matches = (
            find_matches(files, store, config.near_duplicates, executor, config.bit_depth)
            if store.counts
            else []
        )
    return _Findings(unfit, quality, matches)


def _screen(path: Path, config: AuditConfig) -> Look:
    """Decode one file: why it cannot be used, or what is kept of it."""

    def unfit(status: Status, reason: str) -> Look:
        return Look({"unfit": (status, reason)}, None)

    try:
        image = read_pixels(path, bit_depth=config.bit_depth).image
    except ImageRefused as error:
        return unfit("undecodable", f"{path.name}: {error}")
    width, height = image.size
    grey = local_features.shrunk_grey(image, config.near_duplicates.shorter_side)
    if min(width, height) < config.min_side:
        return unfit("tiny", f"{width} x {height} pixels, less than {config.min_side}")
    if (contrast := float(grey.std())) < config.min_contrast:
        return unfit("constant", f"grey levels deviate by {contrast:.2f}, less than {config.min_contrast:g}")
    fit = {"fit": measure(grey)}
    if not config.find_near_duplicates:
        return Look(fit, None)
    features = local_features.extract(grey, config.near_duplicates.keypoints)
    return Look(fit, Seen(features, thumbnail(grey), width=grey.shape[1], height=grey.shape[0]))


def _rows(contents: Mapping[str, str], findings: _Findings, config: AuditConfig) -> list[AuditRow]:
    """Turn findings about files into rows about images (several images may be one file)."""
    images: dict[str, list[str]] = {}
    for image_id in sorted(contents):
        images.setdefault(contents[image_id], []).append(image_id)
    edges = [match for match in findings.matches if match.accepted(config.near_duplicates)]
    group_of = _groups(images, edges)
    best: dict[str, Match] = {}
    for edge in sorted(edges, key=lambda edge: (edge.inliers, edge.agreement)):
        if group_of[edge.first] == group_of[edge.second]:
            best[edge.first] = best[edge.second] = edge
    members: dict[str, list[str]] = {}
    for image_id in sorted(contents):
        members.setdefault(group_of[contents[image_id]], []).append(image_id)

    def row(image_id: str, content: str) -> AuditRow:
        if content in findings.unfit:
            status, reason = findings.unfit[content]
            return AuditRow(image_id, status, image_id, reason)
        group = members[group_of[content]]
        copies = [other for other in images[content] if other != image_id]
        if copies:
            return AuditRow(image_id, "duplicate", group[0], f"exact copy of {copies[0]}")
        if content not in best:
            return AuditRow(image_id, "ok", image_id, "")
        match = best[content]
        other = images[match.second if match.first == content else match.first][0]
        flipped = "mirrored " if match.mirrored else ""
        agreed = f"agreement {match.agreement:.2f}"
        if match.correlation:
            reason = f"{flipped}same picture as {other} (correlation {match.correlation:.2f}, {agreed})"
        else:
            reason = f"{flipped}near-duplicate of {other} ({match.inliers} inliers, {agreed})"
        return AuditRow(image_id, "duplicate", group[0], reason)

    flagged = {content: flags(measured) for content, measured in findings.quality.items()}
    return [
        row(image_id, content).flagged(flagged.get(content, {})) for image_id, content in contents.items()
    ]


def _groups(contents: Iterable[str], edges: list[Match]) -> dict[str, str]:
    """Join what matches, directly or through others: a common name per group, for every file."""
    group_of = _connected(contents, edges)
    sizes = Counter(group_of.values())
    large = {group for group, size in sizes.items() if size > LARGE_GROUP}
    if not large:
        return group_of
    kept = [
        edge
        for edge in edges
        if group_of[edge.first] not in large
        or ((edge.inliers >= STRONG_INLIERS or edge.correlation) and edge.agreement >= STRONG_AGREEMENT)
    ]
    logger.info("audit: %d groups of over %d files keep strong matches only", len(large), LARGE_GROUP)
    return _connected(contents, kept)


def _connected(contents: Iterable[str], edges: Iterable[Match]) -> dict[str, str]:
    parent = {content: content for content in contents}

    def root(content: str) -> str:
        while parent[content] != content:
            parent[content] = content = parent[parent[content]]
        return content

    for edge in edges:
        first, second = sorted((root(edge.first), root(edge.second)))
        parent[second] = first
    return {content: root(content) for content in parent}
