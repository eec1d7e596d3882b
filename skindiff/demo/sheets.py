"""A contact sheet: the images of a result with their captions, as one picture for slides."""

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from skindiff.demo.photographs import Pixels

_SIDE, _GAP, _LINE, _SIZE = 220, 14, 17, 14
_COLUMNS = 6
_CHARACTERS = 30
_PLAIN = str.maketrans("−⚠", "-!")
"""Signs that the font of the sheet lacks."""


def contact_sheet(images: Sequence[tuple[Pixels, str]], columns: int = _COLUMNS) -> Pixels:
    """Return one picture of images, each of them 220 pixels wide with its caption below.

    Args:
        images: (height, width, 3) uint8 sRGB, and what is said of each.
        columns: most images in a row.
    """
    columns = min(columns, len(images))
    wrapped = [textwrap.wrap(caption.translate(_PLAIN), _CHARACTERS) for _, caption in images]
    below = max(map(len, wrapped)) * _LINE + 6
    rows = -(-len(images) // columns)
    size = (_GAP + columns * (_SIDE + _GAP), _GAP + rows * (_SIDE + below + _GAP))
    sheet = PILImage.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=_SIZE)
    for place, ((pixels, _), lines) in enumerate(zip(images, wrapped, strict=True)):
        left = _GAP + place % columns * (_SIDE + _GAP)
        top = _GAP + place // columns * (_SIDE + below + _GAP)
        picture = PILImage.fromarray(pixels)
        scale = _SIDE / max(picture.size)
        shown = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        sheet.paste(picture.resize(shown, PILImage.Resampling.BICUBIC), (left, top))
        for number, line in enumerate(lines):
            draw.text((left, top + _SIDE + 4 + number * _LINE), line, fill="#1b1b1b", font=font)
    return np.array(sheet)
