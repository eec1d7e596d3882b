"""DICOM files: the first frame as a viewer shows it, and of all else in the file nothing.

Only the tags that say how pixels are stored and shown are read; no name, number or date of a patient is.
"""

from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from pydicom import Dataset, config, dcmread
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, get_decoder, pixel_array

from skindiff.corpora.pixel_colours import to_srgb
from skindiff.corpora.pixel_notes import ImageRefused, Note, Reading, TooManyPixels

_GREY = ("MONOCHROME1", "MONOCHROME2")
_DEFLATED = "1.2.840.10008.1.2.1.99"
_TAGS = (
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored"),
    *("HighBit", "PixelRepresentation", "PlanarConfiguration", "NumberOfFrames", "ICCProfile"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "VOILUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "BurnedInAnnotation", "RecognizableVisualFeatures"),
    *(
        f"{colour}PaletteColorLookupTableD{rest}"
        for colour in ("Red", "Green", "Blue")
        for rest in ("escriptor", "ata")
    ),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
)
_SAID: Mapping[str, str] = {
    "BurnedInAnnotation": "the file says that names or other words are burned into the picture",
    "RecognizableVisualFeatures": "the file says that the person can be recognised",
}


def read_dicom(stream: BinaryIO, most_pixels: int) -> Reading:
    """Return the first frame of a DICOM file: windowed as it says, black to white, colours in sRGB.

    Grey values go through the modality LUT or rescaling and the first VOI LUT or window; without a window all
    the bits stored (or those that rescaling gives) are shown. MONOCHROME1 is inverted.

    Args:
        stream: the file, at its beginning.
        most_pixels: largest width times height; read from the header, before anything is decoded.

    Raises:
        ImageRefused: it is too large or damaged, holds no pixels, or is compressed in a way that is not read.
    """
    try:
        # What is inflated as a whole has no bound; the name of the syntax stands at the beginning.
        deflated = _DEFLATED.encode() in stream.read(4096)
        stream.seek(0)
        if deflated:
            raise ImageRefused(
                f"is compressed as a whole (transfer syntax {_DEFLATED}); save it uncompressed"
            )
        with config.disable_value_validation():
            facts = dcmread(stream, stop_before_pixels=True, specific_tags=list(_TAGS))
            return _read(stream, facts, most_pixels)
    except ImageRefused:
        raise
    # What pydicom says may quote the file, and with it a patient.
    except Exception as error:
        raise ImageRefused(f"cannot be decoded as DICOM ({type(error).__name__})") from None


def _read(stream: BinaryIO, facts: Dataset, most_pixels: int) -> Reading:
    if "Rows" not in facts or "Columns" not in facts:
        raise ImageRefused("is a DICOM file without an image")
    size = int(facts.Columns), int(facts.Rows)
    if size[0] * size[1] > most_pixels:
        raise TooManyPixels(most_pixels, size)
    _refuse_unread_syntax(facts)
    stream.seek(0)
    values = pixel_array(stream, index=0)
    kind = facts.PhotometricInterpretation
    profile: bytes = facts.get("ICCProfile") or b""
    if kind in _GREY:
        shown = _grey(values, facts)
        image = PILImage.fromarray(255 - shown if kind == "MONOCHROME1" else shown)
        profile = b""  # profiles of DICOM are for colours
    else:
        bits = int(facts.BitsStored)
        if kind == "PALETTE COLOR":
            values = apply_color_lut(values, facts)
            bits = 8 * values.dtype.itemsize
        image = PILImage.fromarray(_eight(values, 0, 2**bits - 1))
    image, notes = to_srgb(image, profile)
    notes = [*notes, *(Note(text) for tag, text in _SAID.items() if facts.get(tag) == "YES")]
    if (frames := int(facts.get("NumberOfFrames") or 1)) > 1:
        notes.append(Note("{count} further pages or frames are not read", frames - 1))
    return Reading(image, notes)


def _refuse_unread_syntax(facts: Dataset) -> None:
    syntax = facts.file_meta.TransferSyntaxUID
    try:
        read = not syntax.is_compressed or get_decoder(syntax).is_available
    except NotImplementedError:
        read = False
    if not read:
        raise ImageRefused(
            f"is compressed as {syntax.name}, which is not read; decompress it, as dcmdjpeg or gdcmconv do"
        )


def _grey(values: NDArray[Any], facts: Dataset) -> NDArray[np.uint8]:
    """Return grey values as they are shown, before MONOCHROME1 is turned round."""
    bits, signed = int(facts.BitsStored), facts.PixelRepresentation == 1
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    ends = [float(least), float(most)]
    if facts.get("ModalityLUTSequence"):
        ends = [0.0, 2.0 ** int(facts.ModalityLUTSequence[0].LUTDescriptor[2]) - 1]
    elif "RescaleSlope" in facts and "RescaleIntercept" in facts:
        ends = [end * float(facts.RescaleSlope) + float(facts.RescaleIntercept) for end in ends]
    values = apply_modality_lut(values, facts)
    if facts.get("VOILUTSequence"):
        shown = apply_voi_lut(values, facts, index=0)
        ends = [0.0, 2.0 ** int(facts.VOILUTSequence[0].LUTDescriptor[2]) - 1]
    elif "WindowCenter" in facts and "WindowWidth" in facts:
        shown = apply_voi_lut(values, facts, index=0)
    else:
        shown, ends = values, sorted(ends)
    return _eight(shown, *ends)


def _eight(values: NDArray[Any], least: float, most: float) -> NDArray[np.uint8]:
    scaled = (values.astype(np.float64) - least) * (255.0 / (most - least))
    return np.clip(np.floor(scaled + 0.5), 0, 255).astype(np.uint8)
