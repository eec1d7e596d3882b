"""What is said of how images were read, and why others are not."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from PIL import Image as PILImage

from skindiff.errors import CorpusError

DARKEST = 4095
"""Largest sample of 12 bits: a corpus of 16-bit images without a larger one was hardly recorded with 16."""


class ImageRefused(CorpusError):
    """An image is not read; the message is a reason of one line, without the content of the file."""


class UnknownFormat(ImageRefused):
    """It is no image, or of none of the formats that are read."""


class TooManyPixels(ImageRefused):
    """Its header announces more pixels than are decoded; ``size`` is width and height, where known."""

    def __init__(self, most: int, size: tuple[int, int] | None = None) -> None:
        self.size = size
        found = f"has {size[0]} x {size[1]} pixels" if size else "has too many pixels"
        super().__init__(f"{found}, and at most {most:,} are decoded; make it smaller")


class Note(NamedTuple):
    """What is to be said of how an image was read; ``{count}`` in ``text`` stands for ``many``."""

    text: str
    many: int = 0


@dataclass(frozen=True)
class Reading:
    """An image, and what is to be said of how it was read."""

    image: PILImage.Image
    """Upright, of mode RGB and in sRGB."""
    notes: Sequence[Note] = ()
    peak: int | None = None
    """The largest sample, where it was taken for one of 16 bits since nothing said otherwise."""
    deep: bool = False
    """Whether its file has more than 8 bits a channel."""


@dataclass
class ReadingLog:
    """What is to be said of many images, put together."""

    _notes: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    _peaks: list[int] = field(default_factory=list)
    deep: int = 0
    """Images of more than 8 bits a channel."""

    def add(self, image_id: str, reading: Reading) -> None:
        """Add an image."""
        for note in reading.notes:
            first, images, total = self._notes.get(note.text, (image_id, 0, 0))
            self._notes[note.text] = (first, images + 1, total + note.many)
        self.deep += reading.deep
        if reading.peak is not None:
            self._peaks.append(reading.peak)

    def warnings(self) -> list[str]:
        """Return a sentence for each kind of note, and one where no image uses the bits that it has."""
        found = [
            f"{images} image{'s' * (images > 1)} (such as {first}): {text.format(count=total)}"
            for text, (first, images, total) in self._notes.items()
        ]
        if self._peaks and max(self._peaks) <= DARKEST:
            found.append(
                f"no 16-bit image has a sample above {max(self._peaks):,} of 65,535, so all are nearly "
                "black: if they were recorded with fewer bits, say so, such as by corpus.bit_depth "
                f"{max(9, max(self._peaks).bit_length())}"
            )
        return found
