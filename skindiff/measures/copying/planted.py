"""Copies made on purpose, as a generator or a hand might disguise them: what must be found is known.

Ranges are ours: crops keep 70-95% of the area at a random place (sides up to 10% apart), JPEG has quality
30-90 after a detour over half the size or more, colours move by up to 36 degrees of hue, saturation by
0.6-1.5, brightness by 0.7-1.3, gamma by 0.7-1.5, and a tone moves to that of any skin type as in the arm
`real+colour`.
"""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from skimage.color import hsv2rgb, rgb2hsv

from skindiff.corpora.schema import SKIN_TYPES
from skindiff.seeding import numpy_generator
from skindiff.synthesis.colour_transfer import transfer_colour

Pixels = NDArray[np.uint8]
Change = Callable[[Pixels, np.random.Generator], Pixels]


def mirrored(image: Pixels, stream: np.random.Generator) -> Pixels:
    """Flip left to right."""
    return image[:, ::-1]


def upside_down(image: Pixels, stream: np.random.Generator) -> Pixels:
    """Flip top to bottom."""
    return image[::-1]


def turned(image: Pixels, stream: np.random.Generator) -> Pixels:
    """Turn by one to three quarters."""
    return np.rot90(image, int(stream.integers(1, 4)))


def cropped(image: Pixels, stream: np.random.Generator) -> Pixels:
    """Enlarge a window of 70-95% of the area to the whole size."""
    side = image.shape[0]
    area, ratio = stream.uniform(0.7, 0.95), np.exp(stream.uniform(-np.log(1.1), np.log(1.1)))
    width = min(1.0, float(np.sqrt(area * ratio)))
    height = min(1.0, area / width)
    left, top = stream.uniform(0, 1 - width), stream.uniform(0, 1 - height)
    box = tuple(float(edge) * side for edge in (left, top, left + width, top + height))
    whole = PILImage.fromarray(np.ascontiguousarray(image))
    return np.asarray(whole.resize((side, side), PILImage.Resampling.BICUBIC, box=box))


def recompressed(image: Pixels, stream: np.random.Generator) -> Pixels:
    """Shrink to 50-100% of the side, enlarge again, and store as JPEG of quality 30-90."""
    side = image.shape[0]
    small = int(stream.integers(side // 2, side))
    whole = PILImage.fromarray(np.ascontiguousarray(image))
    whole = whole.resize((small, small), PILImage.Resampling.LANCZOS)
    file = io.BytesIO()
    whole.resize((side, side), PILImage.Resampling.BICUBIC).save(
        file, "JPEG", quality=int(stream.integers(30, 91))
    )
    return np.asarray(PILImage.open(file).convert("RGB"))


def recoloured(image: Pixels, stream: np.random.Generator) -> Pixels:
    """Move hue, saturation, brightness and gamma."""
    colours = rgb2hsv(image)
    colours[..., 0] = (colours[..., 0] + stream.uniform(-0.1, 0.1)) % 1
    colours[..., 1] = np.clip(colours[..., 1] * stream.uniform(0.6, 1.5), 0, 1)
    values = np.clip(hsv2rgb(colours) * stream.uniform(0.7, 1.3), 0, 1) ** stream.uniform(0.7, 1.5)
    return np.round(255 * values).astype(np.uint8)


def retoned(image: Pixels, stream: np.random.Generator) -> Pixels:
    """Move the skin tone from the image's own to that of some skin type."""
    return transfer_colour(image[None], [None], [str(stream.choice(SKIN_TYPES))])[0]


def noisy(image: Pixels, stream: np.random.Generator) -> Pixels:
    """Add Gaussian noise of 2 to 8 grey levels to every channel."""
    noise = stream.normal(0, stream.uniform(2, 8), image.shape)
    return np.round(np.clip(image + noise, 0, 255)).astype(np.uint8)


KINDS: dict[str, tuple[Change, ...]] = {
    "exact": (),
    "mirrored": (mirrored,),
    "upside down": (upside_down,),
    "cropped": (cropped,),
    "recompressed": (recompressed,),
    "recoloured": (recoloured,),
    "retoned": (retoned,),
}
"""Kinds of copies by name: what is done to an image, in order."""
HARDER: dict[str, tuple[Change, ...]] = {
    "turned": (turned,),
    "noisy": (noisy,),
    "cropped, mirrored": (cropped, mirrored),
    "cropped, recoloured": (cropped, recoloured),
    "cropped, recompressed": (cropped, recompressed),
    "mirrored, recoloured, recompressed": (mirrored, recoloured, recompressed),
    "cropped, turned, recoloured, recompressed": (cropped, turned, recoloured, recompressed),
}
"""Further kinds, and several at once."""


def plant(images: Pixels, kind: str, *key: str | int) -> Pixels:
    """Return a copy of one kind of every image, ``(n, side, side, 3)`` uint8.

    Args:
        images: RGB, of that shape.
        kind: one of :data:`KINDS` or :data:`HARDER`.
        key: names the random stream, of which each place in ``images`` has its own.
    """
    changes = (KINDS | HARDER)[kind]
    copies = images.copy()
    for place, image in enumerate(images):
        stream = numpy_generator("planted copy", kind, place, *key)
        for change in changes:
            image = change(image, stream)
        copies[place] = image
    return copies
