"""phantom: a procedural corpus of skin images with known tone and known lesion masks.

Deterministic by seed, any size, the same schema as every other corpus. It stands in for photographs where
there are none (a bare machine, the tests) and is the yardstick where truth is needed: the true ITA of the
skin and the true lesion mask come with each image.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset, Features, Image, Value
from numpy.typing import NDArray
from PIL import Image as PILImage
from skimage.color import rgb2lab

from skindiff.corpora.phantom_lesions import (
    LESION_CLASSES,
    Fields,
    Plane,
    empty_fields,
    generic_marks,
    lesion_fields,
)
from skindiff.corpora.phantom_optics import MELANOSOME_FRACTION, FloatArray, linear_to_srgb, skin_reflectance
from skindiff.corpora.schema import SKIN_TYPES, corpus_features
from skindiff.corpora.table import CorpusEntry, LoadedCorpus
from skindiff.seeding import numpy_generator
from skindiff.wrong_settings import refuse


@dataclass
class PhantomConfig:
    """A phantom corpus: how many images of each class and skin type, at what size."""

    seed: int = 0
    """Seed of every parameter of every image; another seed is another population."""
    image_size: int = 64
    """Side of the square images in pixels, 16 to 1024."""
    classes: list[str] = field(default_factory=lambda: list(LESION_CLASSES))
    """Lesion classes, in the order of their codes."""
    images_per_class: dict[str, int] = field(default_factory=lambda: {"I": 30, "II": 60, "V": 20, "VI": 20})
    """Images of each class for each Fitzpatrick skin type."""
    repeat_share: float = 0.05
    """Share of images that are a second view of the image before (same ``group_id``), in [0, 0.5]."""
    with_truth: bool = False
    """Add the columns ``lesion_mask`` (image, 0 or 255) and ``true_ita`` (degrees)."""

    def validate(self, path: str = "") -> None:
        """Raise ConfigError on the first setting that cannot work."""
        unknown = [name for name in self.classes if name not in LESION_CLASSES]
        if unknown:
            refuse(f"{path}classes: unknown class {unknown[0]!r}; choose from {', '.join(LESION_CLASSES)}")
        types = [name for name in self.images_per_class if name not in SKIN_TYPES]
        if types:
            refuse(f"{path}images_per_class: unknown skin type {types[0]!r}; use I, II, III, IV, V or VI")
        if negative := [name for name, count in self.images_per_class.items() if count < 0]:
            count = self.images_per_class[negative[0]]
            refuse(f"{path}images_per_class: {count} of {negative[0]} is below 0; give 0 or more")
        if not 16 <= self.image_size <= 1024:
            refuse(f"{path}image_size: {self.image_size} is outside 16 to 1024 pixels")
        if not 0 <= self.repeat_share <= 0.5:
            refuse(f"{path}repeat_share: {self.repeat_share} is outside 0 to 0.5")


@dataclass(frozen=True)
class PhantomImage:
    """One rendered image with its truth.

    ``pixels`` is ``(size, size, 3)`` uint8 sRGB, ``lesion_mask`` ``(size, size)`` bool, ``true_ita`` the
    individual typology angle in degrees of the bare skin under white light, ``marks`` the words for what
    lies on the skin.
    """

    pixels: NDArray[np.uint8]
    lesion_mask: NDArray[np.bool_]
    true_ita: float
    marks: str


def _plane(rng: np.random.Generator, size: int) -> Plane:
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return Plane(x.astype(np.float32), y.astype(np.float32), rng)


def _second_view(plane: Plane, view: np.random.Generator) -> Plane:
    """Return the same plane seen closer, shifted and turned, as by a second photograph."""
    angle, zoom = view.uniform(-0.4, 0.4), view.uniform(0.7, 0.95)
    cos, sin = np.float32(np.cos(angle) * zoom), np.float32(np.sin(angle) * zoom)
    shift = view.uniform(-0.12, 0.12, 2).astype(np.float32)
    return Plane(
        cos * plane.x + sin * plane.y + shift[0], cos * plane.y - sin * plane.x + shift[1], plane.rng
    )


def _hairs(plane: Plane) -> tuple[FloatArray, str]:
    """Return the coverage of hairs in [0, 1]; half of all skin has none."""
    rng = plane.rng
    cover = np.zeros_like(plane.x)
    if rng.random() < 0.5:
        return cover, "smooth"
    lean = rng.uniform(0, np.pi)
    for _ in range(int(rng.integers(3, 18))):
        cx, cy = rng.uniform(-1, 1, 2)
        angle, length, bend = lean + rng.normal(0, 0.3), rng.uniform(0.2, 0.7), rng.normal(0, 0.5)
        along = np.cos(angle) * (plane.x - cx) + np.sin(angle) * (plane.y - cy)
        across = -np.sin(angle) * (plane.x - cx) + np.cos(angle) * (plane.y - cy) - bend * along**2
        strand = np.exp(-((across / 0.018) ** 2)) * (np.abs(along) < length / 2)
        cover = np.maximum(cover, strand.astype(np.float32) * np.float32(rng.uniform(0.3, 0.9)))
    return cover, "hairy"


def _shade(relief: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return Lambertian shading of a relief by one lamp, around 1."""
    size = relief.shape[0]
    dy, dx = np.gradient(relief, 2.0 / size)
    azimuth = rng.uniform(0, 2 * np.pi)
    slope = np.cos(azimuth) * dx + np.sin(azimuth) * dy
    return np.clip(1.0 + 0.22 * slope, 0.55, 1.45).astype(np.float32)


def _illumination(plane: Plane, rng: np.random.Generator) -> FloatArray:
    """Return the lamp over the image, ``(size, size, 3)`` around 1: level, colour, fall-off."""
    level, warmth = rng.uniform(0.82, 1.08), rng.normal(0, 0.035)
    colour = np.array([1 + warmth, 1.0, 1 - warmth], dtype=np.float32)
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.14)
    ramp = 1 + slope * (np.cos(angle) * plane.x + np.sin(angle) * plane.y)
    vignette = 1 - rng.uniform(0, 0.12) * (plane.x**2 + plane.y**2)
    return (level * ramp * vignette)[..., None].astype(np.float32) * colour


def _ita(linear_rgb: FloatArray) -> float:
    lab = rgb2lab(linear_to_srgb(linear_rgb)[None, None])[0, 0]
    return float(np.degrees(np.arctan2(lab[0] - 50.0, lab[2])))


def render_phantom(
    skin_type: str, lesion: str | None, size: int, *key: str | int, view: int = 0
) -> PhantomImage:
    """Render one image; a pure function of its arguments.

    Args:
        skin_type: Fitzpatrick type, ``"I"`` to ``"VI"``.
        lesion: one of the seven classes, ``"marks"`` for generic marks, or None for bare skin.
        size: side in pixels; rendered at twice the size and averaged down.
        key: names the random stream.
        view: 0 for the first photograph; other values re-photograph the same lesion from elsewhere.
    """
    rng = numpy_generator("phantom", *key)
    camera = numpy_generator("phantom camera", *key, view)
    plane = _plane(rng, 2 * size)
    seen = plane if view == 0 else _second_view(plane, camera)
    base_melanin, base_blood = rng.uniform(*MELANOSOME_FRACTION[skin_type]), rng.uniform(0.002, 0.008)
    words = "skin"
    if lesion is None:
        fields: Fields = empty_fields(seen)
    elif lesion == "marks":
        fields, words = generic_marks(seen)
    else:
        fields = lesion_fields(lesion, seen)
        words = lesion
    mottling = 1 + 0.10 * plane.noise(3)
    melanin = base_melanin * np.clip(mottling + fields.melanin, 0.25, 3.0) + 0.012 * fields.melanin.clip(0)
    blood = base_blood * np.clip(1 + 0.25 * plane.noise(4), 0.3, 2) + fields.blood
    linear = skin_reflectance(melanin.clip(0.005, 0.75), blood.clip(0.0005, 0.14))
    linear = _cover(linear, fields, base_melanin)
    hairs, hair_word = _hairs(seen)
    hair_colour = np.array([0.05, 0.035, 0.025], dtype=np.float32) * np.float32(rng.uniform(0.4, 2.5))
    linear = linear * (1 - hairs[..., None]) + hair_colour * hairs[..., None]
    furrows = 0.012 * plane.noise(24, 2)
    linear = linear * _shade(fields.relief + furrows * 0.35, camera)[..., None] * _illumination(plane, camera)
    linear = linear.reshape(size, 2, size, 2, 3).mean((1, 3))
    pixels = linear_to_srgb(linear) + camera.normal(0, 0.008, linear.shape)
    mask = fields.mask.reshape(size, 2, size, 2).mean((1, 3)) > 0.5
    tone = np.array([[base_melanin], [base_blood]], dtype=np.float32)
    bare = skin_reflectance(tone[0], tone[1])[0]
    marks = f"{hair_word} skin" if lesion is None else words
    return PhantomImage((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8), mask, _ita(bare), marks)


def _cover(linear: FloatArray, fields: Fields, base_melanin: float) -> FloatArray:
    """Lay scale, crust and paint over the skin."""
    ashen = 0.75 - 0.55 * base_melanin
    scale_colour = np.array([ashen, ashen * 0.96, ashen * 0.92], dtype=np.float32)
    crust_colour = np.array([0.16, 0.085, 0.04], dtype=np.float32)
    for cover, colour in (
        (fields.scale, scale_colour),
        (fields.crust, crust_colour),
        (fields.paint, np.array(fields.paint_rgb, dtype=np.float32)),
    ):
        cover = cover.clip(0, 1)[..., None]
        linear = linear * (1 - cover) + colour * cover
    return linear


def _rows(config: PhantomConfig) -> Iterator[dict[str, object]]:
    for label, name in enumerate(config.classes):
        for skin_type, count in config.images_per_class.items():
            original = 0
            for number in range(count):
                chance = numpy_generator("phantom repeat", config.seed, name, skin_type, number).random()
                repeated = number > 0 and chance < config.repeat_share
                original = original if repeated else number
                key = (config.seed, name, skin_type, original)
                drawn = render_phantom(skin_type, name, config.image_size, *key, view=number - original)
                identity = f"phantom-{config.seed}-{name}-{skin_type}-"
                row: dict[str, object] = {
                    "image": PILImage.fromarray(drawn.pixels),
                    "label": label,
                    "skin_type": skin_type,
                    "image_id": f"{identity}{number:05d}",
                    "group_id": f"{identity}{original:05d}",
                    "corpus": "phantom",
                }
                if config.with_truth:
                    row["lesion_mask"] = PILImage.fromarray(drawn.lesion_mask.astype(np.uint8) * 255)
                    row["true_ita"] = drawn.true_ita
                yield row


def phantom_features(config: PhantomConfig) -> Features:
    """Return the schema, with the truth columns where they are asked for."""
    features = corpus_features(config.classes)
    if config.with_truth:
        features["lesion_mask"], features["true_ita"] = Image(), Value("float32")
    return features


def load_phantom(config: PhantomConfig) -> Dataset:
    """Render a phantom corpus as a :class:`datasets.Dataset` with the schema's columns, in memory.

    Raises:
        ConfigError: a class, a skin type, the size or the repeat share is out of range.
    """
    config.validate("phantom.")
    return Dataset.from_list(list(_rows(config)), features=phantom_features(config))


PHANTOM = CorpusEntry(
    "phantom",
    PhantomConfig,
    lambda settings: LoadedCorpus(load_phantom(settings), [], []),
    not_audited="its groups are known",
    shows_patients=False,
    public_ids=True,
)
