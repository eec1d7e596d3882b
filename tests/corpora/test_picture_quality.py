"""What may be wrong with a photograph that can be used all the same."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from skindiff.corpora.picture_quality import LEAST_TICKS, Quality, border, flags, measure, ticks
from tests.corpora.test_audit import photograph


def grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L"))


def ruled(angle: float, gap: float, image: Image.Image) -> Image.Image:
    """Draw 14 marks of a ruler, every fifth of them long."""
    drawn, pencil = image.copy(), ImageDraw.Draw(image.copy())
    pencil = ImageDraw.Draw(drawn)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    for number in range(14):
        start = np.array(image.size) / 2 + (number - 7) * gap * along
        end = start + across * (16 if number % 5 == 0 else 8)
        pencil.line([*start, *end], fill=(10, 10, 10), width=1)
    return drawn


def test_a_good_photograph_has_no_flag() -> None:
    assert flags(measure(grey(photograph(0)))) == {}


def test_a_blurred_photograph_is_flagged() -> None:
    sharp = photograph(1)
    blurred = measure(grey(sharp.filter(ImageFilter.GaussianBlur(3))))
    assert "blurred" in flags(blurred)
    assert blurred.blur > measure(grey(sharp)).blur + 0.1


def test_a_dark_photograph_is_flagged_and_a_dark_one_with_light_in_it_is_not() -> None:
    dark = grey(photograph(2)) // 3
    assert "dark" in flags(measure(dark))
    lit = dark.copy()
    lit[:, :30] = 120
    assert "dark" not in flags(measure(lit))


@pytest.mark.parametrize("level", [0, 255])
def test_a_frame_and_a_round_surround_are_borders_and_a_dark_lesion_is_not(level: int) -> None:
    plain = np.clip(grey(photograph(3)), 40, 220)
    framed = np.full((240, 300), level, np.uint8)
    framed[20:220, 20:280] = plain
    assert border(framed) == pytest.approx(1 - 200 * 260 / (240 * 300), abs=0.01)
    y, x = np.mgrid[:200, :260]
    outside = ((y - 100) / 110) ** 2 + ((x - 130) / 140) ** 2 > 1
    assert border(np.where(outside, level, plain).astype(np.uint8)) == pytest.approx(outside.mean(), abs=0.01)
    lesion = ((y - 100) / 40) ** 2 + ((x - 130) / 50) ** 2 < 1
    assert border(np.where(lesion, level, plain).astype(np.uint8)) == 0


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.57, 2.5])
@pytest.mark.parametrize("gap", [5.0, 9.0])
def test_a_ruler_is_seen_at_any_angle(angle: float, gap: float) -> None:
    skin = Image.fromarray(np.full((200, 260, 3), 180, np.uint8)).convert("RGB")
    assert ticks(grey(ruled(angle, gap, skin))) >= LEAST_TICKS
    assert ticks(grey(skin)) == 0


def test_flags_say_why() -> None:
    said = flags(Quality(blur=0.5, brightest=60.0, border=0.25, ticks=9))
    assert list(said) == ["blurred", "dark", "border", "ruler"]
    assert "25%" in said["border"]
    assert "9 marks" in said["ruler"]
