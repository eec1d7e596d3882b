"""Image files that Pillow does not write: PNG and TIFF of 16 bits, and DICOM."""

import io
import struct
import zlib

import numpy as np
import tifffile

PATIENT = "Doe^Jane"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples: np.ndarray, *chunks: bytes) -> bytes:
    """Return samples of 16 bits, (height, width, channels), as a PNG."""
    height, width, channels = samples.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(chunks)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def significant(*bits: int) -> bytes:
    return chunk(b"sBIT", bytes(bits))


def tiff(samples: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    photometric = options.pop("photometric", "rgb" if samples.ndim == 3 else "minisblack")
    tifffile.imwrite(stream, samples, photometric=photometric, **options)
    return stream.getvalue()


def dicom(values: np.ndarray, *, syntax: str = "1.2.840.10008.1.2.1", **tags: object) -> bytes:
    """Return values, (height, width) or with colours last, as the pixels of a patient's file."""
    import pydicom

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.77.1.4", "1.2.3"
    found = pydicom.Dataset()
    found.file_meta = meta
    found.PatientName, found.PatientID = PATIENT, "1234"
    bits = 8 * values.dtype.itemsize
    found.Rows, found.Columns = values.shape[:2]
    found.SamplesPerPixel = 3 if values.ndim == 3 else 1
    found.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    if values.ndim == 3:
        found.PlanarConfiguration = 0
    found.BitsAllocated = found.BitsStored = bits
    found.PixelRepresentation = int(values.dtype.kind == "i")
    for name, value in tags.items():
        setattr(found, name, value)
    found.HighBit = found.BitsStored - 1
    if "PixelData" not in found:
        found.PixelData = values.tobytes()
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, found, enforce_file_format=True)
    return stream.getvalue()
