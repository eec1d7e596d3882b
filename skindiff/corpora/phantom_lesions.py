"""What lies on phantom skin: seven lesion classes, and generic marks that belong to none of them.

The classes carry names of elementary morphology, not of diseases: a phantom must not be mistaken for a
diagnosis. Each is a set of fields over the image plane (added blood, added melanin, scale, crust, relief),
rendered by the same optics as the skin, so that contrast depends on skin tone as it does in life: erythema
lies under the melanin and shows less on dark skin, hyperpigmentation shows less on it too, scale shows more.
Sizes, colours and counts of different classes overlap on purpose.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skindiff.corpora.phantom_optics import FloatArray

LESION_CLASSES = (
    "nodule",
    "ulcer",
    "papules",
    "track",
    "ring",
    "excoriations",
    "plaque",
)


@dataclass
class Fields:
    """Fields over the image plane, each ``(height, width)`` float32.

    ``blood`` and ``melanin`` are added volume fractions (melanin relative to the skin's own: 1 doubles it),
    ``scale`` and ``crust`` are coverages in [0, 1], ``relief`` is a height in units of half the image,
    ``paint`` is a coverage of foreign colour ``paint_rgb`` (linear), ``mask`` is the true extent.
    """

    blood: FloatArray
    melanin: FloatArray
    scale: FloatArray
    crust: FloatArray
    relief: FloatArray
    mask: NDArray[np.bool_]
    paint: FloatArray
    paint_rgb: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Plane:
    """Coordinates of an image plane, in [-1, 1], and the noise rendered on it."""

    x: FloatArray
    y: FloatArray
    rng: np.random.Generator

    def noise(self, cells: int, octaves: int = 3) -> FloatArray:
        """Return fractal value noise of about zero mean and unit variance.

        The lattices do not depend on the resolution, so one seed gives one picture at any size.
        """
        import torch  # here, so that the table of corpora loads without it

        size = self.x.shape[0]
        total = np.zeros((size, size), dtype=np.float32)
        for octave in range(octaves):
            side = cells * 2**octave + 3
            lattice = torch.from_numpy(self.rng.standard_normal((1, 1, side, side)).astype(np.float32))
            grown = torch.nn.functional.interpolate(lattice, (size, size), mode="bicubic", align_corners=True)
            total += grown[0, 0].numpy() * np.float32(0.6**octave)
        return total * np.float32(1.3)


def empty_fields(plane: Plane) -> Fields:
    """Return fields of bare skin."""
    zero = [np.zeros_like(plane.x) for _ in range(6)]
    return Fields(zero[0], zero[1], zero[2], zero[3], zero[4], np.zeros(plane.x.shape, bool), zero[5])


def _edge(distance: NDArray[np.floating[Any]], softness: float) -> FloatArray:
    """Return 1 inside (negative distance), 0 outside, with a soft edge."""
    return (1.0 / (1.0 + np.exp(np.clip(distance / softness, -30, 30)))).astype(np.float32)


def _blob(plane: Plane, centre: NDArray[np.float64], radius: float, irregular: float) -> FloatArray:
    """Return the signed distance (roughly) to an irregular, tilted ellipse."""
    rng = plane.rng
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.45)
    dx, dy = plane.x - centre[0], plane.y - centre[1]
    u = (np.cos(angle) * dx + np.sin(angle) * dy) * stretch
    v = (-np.sin(angle) * dx + np.cos(angle) * dy) / stretch
    theta = np.arctan2(v, u)
    wobble = np.zeros_like(dx)
    for order in range(2, 8):
        wobble += rng.normal() / order * np.cos(order * theta + rng.uniform(0, 2 * np.pi)).astype(np.float32)
    return (np.hypot(u, v) - radius * (1.0 + irregular * wobble)).astype(np.float32)


def _dome(distance: FloatArray, radius: float) -> FloatArray:
    return np.sqrt(np.clip(-distance / radius, 0, 1)).astype(np.float32) * np.float32(radius)


def _nodule(plane: Plane, zoom: float) -> Fields:
    rng, f = plane.rng, empty_fields(plane)
    radius = zoom * rng.uniform(0.24, 0.46)
    d = _blob(plane, rng.uniform(-0.3, 0.3, 2), radius, rng.uniform(0.02, 0.12))
    body = _edge(d, 0.03)
    vessels = _edge(np.abs(plane.noise(5, 2)) - 0.16, 0.05) * _edge(
        np.abs(d + radius * 0.4) - radius * 0.4, 0.05
    )
    f.blood += body * rng.uniform(0.004, 0.03) + vessels * body * rng.uniform(0.01, 0.05)
    f.melanin += body * rng.uniform(-0.25, 0.35)
    f.relief += _dome(d, radius) * rng.uniform(0.35, 0.8)
    if rng.random() < 0.3:
        f.crust += _edge(_blob(plane, np.zeros(2), radius * 0.3, 0.3), 0.03) * body * rng.uniform(0.3, 0.8)
    f.mask = body > 0.5
    return f


def _ulcer(plane: Plane, zoom: float) -> Fields:
    rng, f = plane.rng, empty_fields(plane)
    radius = zoom * rng.uniform(0.28, 0.52)
    d = _blob(plane, rng.uniform(-0.3, 0.3, 2), radius, rng.uniform(0.12, 0.35))
    body, pit = _edge(d, 0.04), _edge(d + radius * rng.uniform(0.3, 0.6) + 0.04 * plane.noise(5), 0.03)
    f.blood += body * rng.uniform(0.01, 0.04) + pit * rng.uniform(0.02, 0.08)
    f.melanin += body * rng.uniform(0.0, 0.5)
    f.crust += pit * np.clip(plane.noise(4) * 0.5 + rng.uniform(0.1, 0.7), 0, 0.9)
    f.scale += (body - pit).clip(0) * np.clip(plane.noise(7) * 0.4 + rng.uniform(-0.2, 0.3), 0, 0.7)
    f.relief += body * radius * 0.35 - pit * radius * 0.5
    f.mask = body > 0.5
    return f


def _papules(plane: Plane, zoom: float) -> Fields:
    rng, f = plane.rng, empty_fields(plane)
    for _ in range(int(rng.integers(6, 22))):
        radius = zoom * rng.uniform(0.035, 0.11)
        d = _blob(plane, rng.uniform(-0.9, 0.9, 2), radius, 0.08)
        halo, head = _edge(d - radius * 0.5, 0.05), _edge(d + radius * 0.45, 0.02)
        f.blood += halo * rng.uniform(0.008, 0.04)
        f.melanin += halo * rng.uniform(0.0, 0.4)
        if rng.random() < 0.6:
            f.scale = np.maximum(f.scale, head * rng.uniform(0.3, 0.8))
        f.relief += _dome(d, radius) * rng.uniform(0.4, 0.9)
        f.mask |= halo > 0.5
    return f


def _track(plane: Plane, zoom: float) -> Fields:
    rng, f = plane.rng, empty_fields(plane)
    steps = 90
    heading = np.cumsum(rng.normal(0, 0.22, steps)) + rng.uniform(0, 2 * np.pi)
    heading += rng.uniform(0.5, 1.4) * np.sin(np.arange(steps) * rng.uniform(0.12, 0.3))
    stride = zoom * rng.uniform(0.018, 0.03)
    points = np.stack([np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading))], 1) * stride
    points += rng.uniform(-0.25, 0.25, 2) - points.mean(0)
    distance = np.full(plane.x.shape, 9.0, np.float32)
    for px, py in points:
        distance = np.minimum(distance, np.hypot(plane.x - px, plane.y - py).astype(np.float32))
    width = zoom * rng.uniform(0.035, 0.075)
    line, halo = _edge(distance - width, 0.025), _edge(distance - 2.2 * width, 0.06)
    f.blood += line * rng.uniform(0.015, 0.06) + halo * rng.uniform(0.0, 0.015)
    f.melanin += line * rng.uniform(0.0, 0.5)
    f.scale += line * np.clip(plane.noise(8) * 0.4 + rng.uniform(-0.4, 0.1), 0, 0.6)
    f.relief += line * width * rng.uniform(0.5, 1.2)
    f.mask = line > 0.5
    return f


def _ring(plane: Plane, zoom: float) -> Fields:
    rng, f = plane.rng, empty_fields(plane)
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        radius = zoom * rng.uniform(0.26, 0.55)
        d = _blob(plane, rng.uniform(-0.45, 0.45, 2), radius, rng.uniform(0.05, 0.2))
        width = radius * rng.uniform(0.14, 0.34)
        rim, inside = _edge(np.abs(d + width) - width * 0.8, 0.03), _edge(d, 0.03)
        rim = rim * np.clip(0.85 + 0.35 * plane.noise(3, 2), 0, 1)
        f.blood += rim * rng.uniform(0.01, 0.05) + inside * rng.uniform(0.0, 0.012)
        f.melanin += inside * rng.uniform(-0.1, 0.35)
        f.scale += rim * np.clip(plane.noise(8) * 0.4 + rng.uniform(-0.4, 0.3), 0, 0.7)
        f.relief += rim * width * rng.uniform(0.1, 0.5)
        f.mask |= inside > 0.5
    return f


def _excoriations(plane: Plane, zoom: float) -> Fields:
    rng, f = plane.rng, empty_fields(plane)
    for _ in range(int(rng.integers(3, 9))):
        radius = zoom * rng.uniform(0.08, 0.19)
        d = _blob(plane, rng.uniform(-0.8, 0.8, 2), radius, rng.uniform(0.05, 0.25))
        body, top = _edge(d, 0.03), _edge(d + radius * rng.uniform(0.3, 0.6), 0.03)
        f.melanin += body * rng.uniform(0.3, 1.3)
        f.blood += body * rng.uniform(0.005, 0.03)
        if rng.random() < 0.7:
            f.crust = np.maximum(f.crust, top * rng.uniform(0.3, 0.9))
        f.relief += _dome(d, radius) * rng.uniform(0.3, 0.8)
        f.mask |= body > 0.5
    return f


def _plaque(plane: Plane, zoom: float) -> Fields:
    rng, f = plane.rng, empty_fields(plane)
    for _ in range(int(rng.choice([1, 1, 2, 3, 4]))):
        radius = zoom * rng.uniform(0.22, 0.6)
        d = _blob(plane, rng.uniform(-0.5, 0.5, 2), radius, rng.uniform(0.1, 0.3))
        body = _edge(d, 0.025)
        f.blood += body * rng.uniform(0.012, 0.05)
        f.melanin += body * rng.uniform(-0.1, 0.5)
        flakes = np.clip(plane.noise(9) * 0.6 + rng.uniform(-0.5, 0.5), 0, 0.9)
        f.scale = np.maximum(f.scale, body * flakes)
        f.relief += body * 0.05
        f.mask |= body > 0.5
    return f


_LESIONS = {
    "nodule": _nodule,
    "ulcer": _ulcer,
    "papules": _papules,
    "track": _track,
    "ring": _ring,
    "excoriations": _excoriations,
    "plaque": _plaque,
}


def lesion_fields(name: str, plane: Plane) -> Fields:
    """Return the fields of one lesion of class ``name`` (one of :data:`LESION_CLASSES`)."""
    return _LESIONS[name](plane, float(plane.rng.uniform(0.75, 1.25)))


def generic_marks(plane: Plane) -> tuple[Fields, str]:
    """Return marks that belong to no lesion class, and the words for them.

    They give a generator that is pre-trained on bare skin something to learn besides skin: random patches,
    spots, strokes and foreign paint. No ring, no domed crust, no track: the classes stay unknown to it.
    """
    rng, f = plane.rng, empty_fields(plane)
    shape = str(rng.choice(["patch", "spots", "lines"]))
    colour = str(rng.choice(["red", "brown", "pale", "painted"]))
    for _ in range(
        int({"patch": rng.integers(1, 3), "spots": rng.integers(2, 12), "lines": rng.integers(1, 4)}[shape])
    ):
        centre = rng.uniform(-0.8, 0.8, 2)
        if shape == "lines":
            angle = rng.uniform(0, np.pi)
            across = np.cos(angle) * (plane.x - centre[0]) + np.sin(angle) * (plane.y - centre[1])
            d = (np.abs(across) - rng.uniform(0.02, 0.08)).astype(np.float32)
        else:
            radius = rng.uniform(0.2, 0.6) if shape == "patch" else rng.uniform(0.04, 0.2)
            d = _blob(plane, centre, radius, rng.uniform(0.0, 0.35))
        body = _edge(d, rng.uniform(0.015, 0.08)) * np.clip(
            1 + rng.uniform(0, 0.6) * plane.noise(6), 0.2, 1.5
        )
        f.blood += body * (rng.uniform(0.01, 0.07) if colour == "red" else rng.uniform(0, 0.008))
        f.melanin += body * (rng.uniform(0.3, 1.5) if colour == "brown" else rng.uniform(-0.1, 0.1))
        f.scale = np.maximum(f.scale, body.clip(0, 1) * (rng.uniform(0.2, 0.9) if colour == "pale" else 0.0))
        if colour == "painted":
            f.paint = np.maximum(f.paint, body.clip(0, 1) * rng.uniform(0.4, 0.95))
        f.relief += body * rng.uniform(-0.05, 0.08)
        f.mask |= body > 0.5
    red, green, blue = rng.uniform(0.02, 0.8, 3)
    f.paint_rgb = (float(red), float(green), float(blue))
    return f, f"{colour} {shape}"
