"""DICOM files drawn in memory, in every encoding that is read."""

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate

SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "deflated": "1.2.840.10008.1.2.1.99",
    "big-endian": "1.2.840.10008.1.2.2",
    "jpeg": "1.2.840.10008.1.2.4.50",
    "lossless": "1.2.840.10008.1.2.4.70",
    "jpegls": "1.2.840.10008.1.2.4.80",
    "jpegls-near": "1.2.840.10008.1.2.4.81",
    "j2k": "1.2.840.10008.1.2.4.90",
    "j2k-lossy": "1.2.840.10008.1.2.4.91",
    "rle": "1.2.840.10008.1.2.5",
}
NATIVE = ("implicit", "explicit", "deflated", "big-endian")


def picture(rows: int = 48, columns: int = 40, bits: int = 12) -> np.ndarray:
    """A smooth picture with a little noise, which begins with the darkest and the lightest value: unsigned."""
    y, x = np.mgrid[:rows, :columns]
    light = 0.5 + 0.4 * np.sin(x / 9) * np.cos(y / 7) + np.random.default_rng(0).normal(0, 0.01, x.shape)
    pixels = np.rint(light.clip(0, 1) * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)
    pixels[0, :2] = 0, 2**bits - 1
    return pixels


def header(pixels: np.ndarray, **changes: Any) -> Dataset:
    """The header of one grey frame or of one in colours (H, W, 3); None in `changes` removes an element."""
    bits = 8 * pixels.itemsize
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    values = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1",
        "SOPInstanceUID": "1.2.826.0.1.3680043.8.498.1",
        "Modality": "DX",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "PatientName": "TEST^PATIENT",
        "SamplesPerPixel": samples,
        "PhotometricInterpretation": "MONOCHROME2" if samples == 1 else "RGB",
        "PlanarConfiguration": None if samples == 1 else 0,
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": bits,
        "BitsStored": bits if bits == 8 else 12,
        "PixelRepresentation": 0,
    }
    values |= changes
    values.setdefault("HighBit", (values["BitsStored"] or bits) - 1)
    dataset = Dataset()
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def file_bits(dataset: Dataset) -> int:
    bits = dataset.get("BitsAllocated")
    return bits if isinstance(bits, int) else 16


def written(dataset: Dataset, data: bytes | Sequence[bytes], syntax: str = "explicit") -> bytes:
    """The file with these bytes as its pixels, or with one codestream per frame. `syntax` is a name or a UID."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = SYNTAXES.get(syntax, syntax)
    form = {"is_implicit_VR": syntax == "implicit", "is_little_endian": syntax != "big-endian"}
    narrow = file_bits(dataset) <= 8 and syntax != "implicit"
    file = FileDataset("drawn", dataset, file_meta=meta, preamble=bytes(128), **form)
    if isinstance(data, bytes):
        file.PixelData = data + b"\0" * (len(data) % 2)
        file["PixelData"].VR = "OB" if narrow else "OW"
    else:
        file.PixelData = encapsulate(list(data))
        file["PixelData"].VR = "OB"
        file["PixelData"].is_undefined_length = True
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def drawn(pixels: np.ndarray, syntax: str = "explicit", **changes: Any) -> bytes:
    """A DICOM file of `pixels`: (H, W), or (H, W, 3); what is compressed is so by the encoder of its syntax."""
    dataset = header(pixels, **changes)
    if syntax in NATIVE:
        order = ">" if syntax == "big-endian" else "<"
        return written(dataset, pixels.astype(pixels.dtype.newbyteorder(order)).tobytes(), syntax)
    return written(dataset, [compressed(pixels, syntax)], syntax)


def compressed(pixels: np.ndarray, syntax: str) -> bytes:
    """The codestream of one frame."""
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    match syntax:
        case "jpeg":
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
            return buffer.getvalue()
        case "jpegls" | "jpegls-near":
            import jpeg_ls

            near = 2 if syntax.endswith("near") else 0
            return bytes(jpeg_ls.encode_array(pixels, lossy_error=near, interleave_mode=2 if samples > 1 else None))
        case "j2k" | "j2k-lossy":
            from openjpeg.utils import encode_array

            ratios = [4] if syntax.endswith("lossy") else None
            return bytes(
                encode_array(pixels, photometric_interpretation=2 if samples == 1 else 1, compression_ratios=ratios)
            )
        case "rle":
            from rle.utils import encode_pixel_data

            form = {"rows": pixels.shape[0], "columns": pixels.shape[1], "samples_per_pixel": samples}
            form |= {"bits_allocated": 8 * pixels.itemsize, "number_of_frames": 1}
            return bytes(encode_pixel_data(pixels.tobytes(), byteorder="<", **form))
        case "lossless":
            return _lossless(pixels)
    raise ValueError(syntax)


def _lossless(pixels: np.ndarray) -> bytes:
    """JPEG lossless, selection value 1 (ITU-T T.81 annex H): differences from the left, all codes of five bits."""
    rows, columns = pixels.shape
    precision = 8 * pixels.itemsize
    values = pixels.astype(np.int64)
    before = np.empty_like(values)
    before[:, 1:], before[1:, 0], before[0, 0] = values[:, :-1], values[:-1, 0], 1 << (precision - 1)
    difference = ((values - before + 32768) % 65536 - 32768).ravel()
    category = np.array([number.bit_length() for number in range(32769)])[np.abs(difference)]
    extra = np.where(category == 16, 0, category)  # bits after the code of the category
    coded = (category << extra) | (difference + (difference < 0) * ((1 << category) - 1)) * (extra > 0)
    length = 5 + extra
    bit = np.arange(19, -1, -1, dtype=np.int32)
    stream = ((coded.astype(np.int32)[:, None] >> bit) & 1).astype(np.uint8)[bit < length[:, None]]
    stream = np.append(stream, np.ones(-len(stream) % 8, np.uint8))
    scan = np.packbits(stream).tobytes().replace(b"\xff", b"\xff\x00")
    frame = struct.pack(">BHHB3B", precision, rows, columns, 1, 1, 0x11, 0)
    codes = bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    segments = [(0xC3, frame), (0xC4, codes), (0xDA, bytes([1, 1, 0, 1, 0, 0]))]
    head = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
    return b"\xff\xd8" + head + scan + b"\xff\xd9"
