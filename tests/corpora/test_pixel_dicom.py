"""DICOM files made in code: each expected value is computed by hand from what the file says."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skindiff.corpora.pixel_notes import ImageRefused, TooManyPixels
from skindiff.corpora.pixel_reader import read_pixels
from tests.corpora.colour_profiles import display_p3, encoded
from tests.corpora.image_bytes import PATIENT, dicom

pydicom = pytest.importorskip("pydicom")
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit, JPEGLSLossless, RLELossless  # noqa: E402


def shown(content: bytes) -> list[int]:
    return np.asarray(read_pixels(content).image, int)[0, :, 0].tolist()


def test_colours_are_what_is_stored() -> None:
    values = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    reading = read_pixels(dicom(values))
    assert np.array_equal(np.asarray(reading.image), values)
    assert reading.image.info == {}
    assert not reading.notes


def test_grey_is_scaled_by_the_bits_that_are_stored() -> None:
    twelve = np.array([[0, 1000, 2048, 4095]], np.uint16)
    assert shown(dicom(twelve, BitsStored=12)) == [0, 62, 128, 255]  # * 255 / 4095
    assert shown(dicom(twelve)) == [0, 4, 8, 16]  # * 255 / 65535
    assert shown(dicom(twelve, BitsStored=12, PhotometricInterpretation="MONOCHROME1")) == [255, 193, 127, 0]
    signed = np.array([[-2048, 0, 2047, -48]], np.int16)
    assert shown(dicom(signed, BitsStored=12)) == [0, 128, 255, 125]  # (value + 2048) * 255 / 4095


def test_a_window_is_applied_after_rescaling() -> None:
    values = np.array([[0, 1024, 1124, 1074, 1004]], np.uint16)
    rescaled = {"BitsStored": 12, "RescaleSlope": 1, "RescaleIntercept": -1024}
    # Values -1024, 0, 100, 50 and -20 in a window from -50 to 150: by PS3.3 C.11.2.1.2.1,
    # ((value - 49.5) / 199 + 0.5) of the range.
    expected = [0, round(255 * (-49.5 / 199 + 0.5)), round(255 * (50.5 / 199 + 0.5))]
    found = shown(dicom(values, **rescaled, WindowCenter=50, WindowWidth=200))
    assert np.abs(np.subtract(found[:3], expected)).max() <= 1
    assert found[0] == 0
    several = dicom(values, **rescaled, WindowCenter=[50, 400], WindowWidth=[200, 40])
    assert shown(several) == found


def test_frames_are_counted_and_what_is_burned_in_is_warned_of() -> None:
    values = np.zeros((6, 8), np.uint8)
    several = dicom(
        values, NumberOfFrames=3, PixelData=bytes([100]) * 48 + bytes(96), BurnedInAnnotation="YES"
    )
    reading = read_pixels(several)
    assert (np.asarray(reading.image) == 100).all()
    said = [note.text.format(count=note.many) for note in reading.notes]
    assert said == [
        "the file says that names or other words are burned into the picture",
        "2 further pages or frames are not read",
    ]
    assert not read_pixels(dicom(values, BurnedInAnnotation="NO")).notes


def test_a_profile_in_the_file_is_applied() -> None:
    image = Image.new("RGB", (8, 8), (200, 140, 110))
    content = dicom(np.asarray(encoded(image, display_p3())), ICCProfile=display_p3())
    assert np.abs(np.asarray(read_pixels(content).image, int) - (200, 140, 110)).max() <= 2


def test_palettes_are_looked_up() -> None:
    table = np.arange(256, dtype=np.uint16)
    tags = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, values in (("Red", table * 257), ("Green", 65535 - table * 257), ("Blue", table * 0)):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{colour}PaletteColorLookupTableData"] = values.astype("<u2").tobytes()
    content = dicom(np.array([[0, 100]], np.uint8), **tags)
    assert np.asarray(read_pixels(content).image).tolist() == [[[0, 255, 0], [100, 155, 0]]]


def test_syntaxes_are_read_or_refused_by_name() -> None:
    values = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 140, 110)).save(stream, "JPEG", quality=95)
    jpeg = pydicom.encaps.encapsulate([stream.getvalue()])
    photograph = dicom(
        values, syntax=JPEGBaseline8Bit, PixelData=jpeg, PhotometricInterpretation="YBR_FULL_422"
    )
    assert np.abs(np.asarray(read_pixels(photograph).image, int) - (200, 140, 110)).max() <= 3
    plain = pydicom.dcmread(io.BytesIO(dicom(values)))
    plain.compress(RLELossless)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, plain)
    assert np.array_equal(np.asarray(read_pixels(stream.getvalue()).image), values)
    for syntax, name in (
        (JPEGLSLossless, "is compressed as JPEG-LS Lossless"),
        (DeflatedExplicitVRLittleEndian, "is compressed as a whole"),
    ):
        data = {"PixelData": pydicom.encaps.encapsulate([bytes(10)])} if syntax == JPEGLSLossless else {}
        with pytest.raises(ImageRefused, match=name):
            read_pixels(dicom(values, syntax=syntax, **data))


def test_nothing_of_the_patient_is_said_and_the_size_is_judged_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    values = np.zeros((6, 8), np.uint8)
    content = dicom(values)
    with pytest.raises(TooManyPixels, match="8 x 6 pixels, and at most 40"):
        read_pixels(content, most_pixels=40)
    strange = dicom(values, PhotometricInterpretation=PATIENT)
    caplog.clear()
    recwarn.clear()
    for broken in (content[:-20], content[:200], strange, bytes(128) + b"DICM"):
        with pytest.raises(ImageRefused) as error:
            read_pixels(broken)
        assert "\n" not in str(error.value)
        said = [str(error.value), caplog.text, *(str(warning.message) for warning in recwarn)]
        assert not any("Doe" in words for words in said)
    (tmp_path / "a.dcm").write_bytes(content)
    assert (np.asarray(read_pixels(tmp_path / "a.dcm").image) == 0).all()
