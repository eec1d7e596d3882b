"""Local features of photographs (SIFT), their matching under an affine map, and the look at the pixels.

OpenCV comes with the extra ``skindiff[audit]`` and is imported only when a function here is called.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from skindiff.corpora.pixel_reader import read_pixels
from skindiff.errors import ConfigError

CONTRAST_THRESHOLD = 0.01
"""SIFT's contrast threshold. OpenCV's own 0.04 leaves smooth skin with too little: on Fitzpatrick17k at
256 px some images keep 3 keypoints and a verified duplicate pair matches with 13 inliers; with 0.01 every
image has at least 84, and the worst verified pair 101."""

RATIO = 0.8
"""Lowe's ratio between the best and the second-best distance."""

REPROJECTION = 3.0
"""Pixels by which an inlier of the affine map may be off (on images whose shorter side is 256 px)."""

MAX_ANISOTROPY = 1.3
"""Stretch of the map along one axis over the other. On Fitzpatrick17k no accepted pair reached 1.25, and
maps hung on a watermark alone went up to 1.6."""

MAX_ZOOM = 8.0
"""Largest change of scale; the strongest zoom between two pictures of one lesion seen here is 3.9."""

MIN_TEXTURED = 0.2
"""Part of the overlap that must show any texture before its agreement says something."""

TEXTURE_VARIANCE = 4.0
"""Variance (squared grey levels of 255) from which a neighbourhood counts as textured."""

_MIRROR = np.arange(128).reshape(4, 4, 8)[::-1][:, :, -np.arange(8) % 8].ravel()


def opencv() -> ModuleType:
    """Import OpenCV.

    Raises:
        ConfigError: when the extra ``audit`` is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise ConfigError(
            "find_near_duplicates: true needs OpenCV, which cannot be imported: install skindiff[audit], "
            "or set find_near_duplicates to false"
        ) from error
    return cv2


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Keep OpenCV and BLAS to one thread per call, for work that is itself spread over threads."""
    cv2 = opencv()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        cv2.setNumThreads(threads)


def read_grey(path: Path, shorter_side: int, bit_depth: int | None = None) -> np.ndarray:
    """Read an image file and return its grey levels (see :func:`shrunk_grey`).

    Raises:
        ImageRefused: it cannot be read.
    """
    return shrunk_grey(read_pixels(path, bit_depth=bit_depth).image, shorter_side)


def shrunk_grey(image: Image.Image, shorter_side: int) -> np.ndarray:
    """Return an image as grey levels, shrunk (never enlarged) to ``shorter_side`` pixels.

    Returns:
        uint8 array of shape (height, width). The longer side is at most four times ``shorter_side``.
    """
    grey = image.convert("L")
    ratio = min(1.0, shorter_side / min(grey.size), 4 * shorter_side / max(grey.size))
    if ratio < 1:
        width, height = (max(1, round(side * ratio)) for side in grey.size)
        grey = grey.resize((width, height), Image.Resampling.BOX)
    return np.asarray(grey)


@dataclass(frozen=True)
class LocalFeatures:
    """The strongest keypoints of one image.

    Attributes:
        points: float32 (n, 2), x and y in pixels.
        descriptors: uint8 (n, 128), SIFT.
        width: of the image in pixels.
    """

    points: np.ndarray
    descriptors: np.ndarray
    width: int

    def mirrored(self) -> "LocalFeatures":
        """The features of the image flipped left to right (what SIFT itself finds there)."""
        points = self.points * np.array([-1, 1], np.float32) + np.array([self.width - 1, 0], np.float32)
        return LocalFeatures(points, self.descriptors[:, _MIRROR], self.width)

    def rooted(self) -> np.ndarray:
        """RootSIFT: float32 (n, 128) of unit length, whose dot product is the Hellinger kernel."""
        return rooted(self.descriptors)


def rooted(descriptors: np.ndarray) -> np.ndarray:
    """Turn SIFT descriptors (uint8, (n, 128)) into RootSIFT (float32, (n, 128), unit length)."""
    values = descriptors.astype(np.float32)
    result: np.ndarray = np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1))
    return result


def extract(grey: np.ndarray, keypoints: int) -> LocalFeatures:
    """Find the ``keypoints`` strongest SIFT features of a grey image (uint8, (height, width))."""
    sift = opencv().SIFT_create(nfeatures=keypoints, contrastThreshold=CONTRAST_THRESHOLD)
    found, descriptors = sift.detectAndCompute(grey, None)
    if descriptors is None:
        return LocalFeatures(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8), grey.shape[1])
    keys = np.array([(*point.pt, point.angle, point.response) for point in found], np.float32)
    order = np.lexsort((keys[:, 2], keys[:, 1], keys[:, 0], -keys[:, 3]))[:keypoints]
    return LocalFeatures(keys[order, :2], descriptors[order].astype(np.uint8), grey.shape[1])


def match(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Match RootSIFT descriptors, (n, 128) and (m, 128): mutual nearest neighbours that pass the ratio test.

    Returns:
        Two index arrays of the same length, into ``first`` and ``second``.
    """
    similarity = first @ second.T
    rows = np.arange(len(first))
    nearest = similarity.argmax(axis=1)
    best = similarity[rows, nearest]
    similarity[rows, nearest] = -1
    # Unit vectors: the squared distance is 2 - 2 * similarity.
    passed = np.flatnonzero(1 - best < RATIO**2 * (1 - similarity.max(axis=1)))
    similarity[rows, nearest] = best
    # Few rows pass, so that few columns have to be gone through.
    kept = passed[similarity[:, nearest[passed]].argmax(axis=0) == passed]
    return kept, nearest[kept]


def affine_inliers(first: np.ndarray, second: np.ndarray) -> tuple[int, np.ndarray | None]:
    """Fit an affine map from matched points to matched points, both float32 (n, 2), by RANSAC.

    Returns:
        The number of inliers and the map (2, 3); ``0, None`` when no map fits or it is no photograph's:
        mirrored, stretched beyond :data:`MAX_ANISOTROPY` or zoomed beyond :data:`MAX_ZOOM`.
    """
    cv2 = opencv()
    affine, inliers = cv2.estimateAffine2D(
        first, second, method=cv2.RANSAC, ransacReprojThreshold=REPROJECTION, maxIters=500
    )
    if affine is None:
        return 0, None
    large, small = np.linalg.svd(affine[:, :2], compute_uv=False)
    plausible = small * MAX_ZOOM > 1 and large < MAX_ZOOM and large < MAX_ANISOTROPY * small
    if not plausible or np.linalg.det(affine[:, :2]) < 0:
        return 0, None
    return int(inliers.sum()), affine


def scaling(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the map (2, 3) that lays the whole of one grey image over the whole of another."""
    ratios = np.array([second.shape[1] / first.shape[1], second.shape[0] / first.shape[0]], np.float32)
    return np.column_stack([np.diag(ratios), (ratios - 1) / 2])


def agreement(first: np.ndarray, second: np.ndarray, affine: np.ndarray) -> float:
    """Say how well two grey images (uint8) agree where ``affine`` lays the first over the second.

    The correlation of every neighbourhood (a Gaussian of 8 px) with its counterpart, and of these the median
    over the textured part of the overlap. Two pictures that share a watermark, a ruler, a frame or a round
    shape agree there and nowhere else, so the median is low; a copy agrees everywhere, whatever was done to
    its brightness.

    Returns:
        A number from -1 to 1; 0 when the overlap is too small or too smooth to say.
    """
    cv2 = opencv()
    scale = float(np.sqrt(np.linalg.det(affine[:, :2])))
    if scale > 1:
        first, second, affine = second, first, cv2.invertAffineTransform(affine)
        scale = 1 / scale
    size = (second.shape[1], second.shape[0])
    covered = cv2.warpAffine(np.full_like(first, 255), affine, size) == 255
    sharp = cv2.GaussianBlur(first, (0, 0), 0.6 / scale) if scale < 0.8 else first
    laid = cv2.GaussianBlur(cv2.warpAffine(sharp, affine, size).astype(np.float32), (0, 0), 1.5)
    under = cv2.GaussianBlur(second.astype(np.float32), (0, 0), 1.5)
    # The blurred rim is left out, and neighbourhoods are weighted so that they end there.
    covered = cv2.erode(covered.astype(np.uint8), np.ones((9, 9)), borderValue=0)
    weight = np.maximum(cv2.GaussianBlur(covered.astype(np.float32), (0, 0), 8), 1e-6)

    def around(values: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.GaussianBlur(values * covered, (0, 0), 8)) / weight

    laid_mean, under_mean = around(laid), around(under)
    laid_variance = np.maximum(around(laid * laid) - laid_mean**2, 0)
    under_variance = np.maximum(around(under * under) - under_mean**2, 0)
    covariance = around(laid * under) - laid_mean * under_mean
    textured = (covered > 0) & (np.maximum(laid_variance, under_variance) >= TEXTURE_VARIANCE)
    if textured.sum() < max(256, MIN_TEXTURED * covered.sum()):
        return 0.0
    # One grey level of noise under the root: a flat neighbourhood agrees with nothing.
    correlation = covariance / np.sqrt(np.maximum(laid_variance, 1) * np.maximum(under_variance, 1))
    return float(np.median(correlation[textured]))
