"""Damaged DICOM files of every encoding, and damaged codestreams in good ones, through the reader of radiographs."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from dicom_fixtures import SYNTAXES, compressed, drawn, header, picture, written
from fuzz.mutate import fuzz, mutants
from pydicom.dataset import Dataset

from attn.data_adapters.dicom.read import read_radiographs

DEEP, SHALLOW = picture(40, 36), picture(40, 36, bits=8)
COLOURS = np.stack([SHALLOW, SHALLOW[::-1], SHALLOW[:, ::-1]], -1)


def table(count: int, bits: int, entries: bytes, first: int = 0) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [count, first, bits]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = entries
    item["LUTData"].VR = "OW"
    return item


def palette() -> dict[str, object]:
    names = [f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")]
    entries = np.arange(256, dtype="<u2") << 8
    values: dict[str, object] = {f"{name}Descriptor": [256, 0, 16] for name in names}
    return values | {f"{name}Data": entries.tobytes() for name in names}


def headers() -> list[bytes]:
    """Files whose pixels are plain and whose headers say much."""
    ramp = np.arange(4096, dtype="<u2").tobytes()
    windows = {"WindowCenter": [2000, 1000], "WindowWidth": [3000, 500], "WindowCenterWidthExplanation": ["A", "B"]}
    groups = Dataset()
    item = Dataset()
    item.RescaleSlope, item.RescaleIntercept = 2, -1000
    groups.PixelValueTransformationSequence = [item]
    frames = header(DEEP, NumberOfFrames=3, SharedFunctionalGroupsSequence=[groups], **windows)
    return [
        *(
            drawn(DEEP, syntax, VOILUTFunction="SIGMOID", **windows)
            for syntax in ("implicit", "deflated", "big-endian")
        ),
        drawn(DEEP, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0, PixelPaddingRangeLimit=9),
        drawn(DEEP, VOILUTSequence=[table(4096, 12, ramp)], ModalityLUTSequence=[table(4096, 16, ramp)]),
        drawn(DEEP, RescaleSlope="-1.5", RescaleIntercept="100", PixelRepresentation=1, PixelSpacing=[0.2, 0.1]),
        drawn(SHALLOW, PhotometricInterpretation="PALETTE COLOR", **palette()),
        drawn(COLOURS),
        written(frames, DEEP.tobytes() * 3),
        drawn(DEEP)[132:],
    ]


def read(data: bytes) -> None:
    for radiograph in read_radiographs(io.BytesIO(data), "x.dcm"):
        assert radiograph.pixels_hw.dtype == np.float32
        assert 0 <= radiograph.pixels_hw.min() <= radiograph.pixels_hw.max() <= 1


def in_a_good_file(syntax: str) -> Callable[[bytes], bytes]:
    bits = 8 if syntax == "jpeg" else 16
    return lambda codestream: written(header(SHALLOW if bits == 8 else DEEP), [codestream or b"\0\0"], syntax)


def test_headers(fuzz_count: int) -> None:
    outcomes = fuzz(read, mutants(headers(), fuzz_count // 2, "dicom headers"))
    assert outcomes["read"] and outcomes["InputError"]


@pytest.mark.parametrize("syntax", [name for name in SYNTAXES if name not in ("implicit", "explicit", "deflated")])
def test_files(syntax: str, fuzz_count: int) -> None:
    pixels = SHALLOW if syntax == "jpeg" else DEEP
    seeds = [drawn(pixels, syntax), *([] if syntax == "lossless" else [drawn(COLOURS, syntax)])]
    outcomes = fuzz(read, mutants(seeds, fuzz_count // 16, f"dicom {syntax}"))
    assert outcomes["read"] and outcomes["InputError"]


@pytest.mark.parametrize("syntax", ["jpeg", "lossless", "jpegls", "jpegls-near", "j2k", "j2k-lossy", "rle"])
def test_codestreams(syntax: str, fuzz_count: int) -> None:
    good = compressed(SHALLOW if syntax == "jpeg" else DEEP, syntax)
    wrapped = map(in_a_good_file(syntax), mutants([good], fuzz_count // 16, f"codestream {syntax}"))
    assert fuzz(read, wrapped)["InputError"]


def test_pictures(fuzz_count: int) -> None:
    from PIL import Image

    def saved(pixels: np.ndarray, form: str) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, form)
        return buffer.getvalue()

    seeds = [saved(SHALLOW, form) for form in ("PNG", "JPEG", "TIFF")] + [saved(DEEP, form) for form in ("PNG", "TIFF")]
    outcomes = fuzz(read, mutants([*seeds, saved(COLOURS, "PNG")], fuzz_count // 4, "radiograph pictures"))
    assert outcomes["read"] and outcomes["InputError"]
