"""One picture in every encoding gives one probability: a model sees the picture, and not how it is stored."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chest_fixtures import chest
from dicom_fixtures import drawn
from PIL import Image
from pydicom.dataset import Dataset

from attn.apps.chest.predict import ChestPredictor
from attn.apps.chest.probabilities import Calibration

SIDE = 256  # of the picture; lossy encodings change what the model does not see
PICTURE = chest("pneumonia", 7, SIDE)
EXACT: dict[str, Any] = {"WindowCenter": 127.5, "WindowWidth": 255, "VOILUTFunction": "LINEAR_EXACT"}
LOSSLESS, LOSSY = 0.005, 0.02  # how far a probability may be from that of the 8-bit PNG


def png(pixels: np.ndarray, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def deep(bits: int) -> np.ndarray:
    """The picture in so many bits."""
    return np.rint(PICTURE / 255 * (2**bits - 1)).astype(np.uint16)


def dirty(bits: int) -> bytes:
    """Stored in 16 bits, the upper ones of which hold anything."""
    dirt = np.random.default_rng(bits).integers(0, 65536, PICTURE.shape) << bits
    white = 2**bits - 1
    return drawn(
        (deep(bits) | dirt).astype(np.uint16),
        BitsStored=bits,
        **EXACT | {"WindowCenter": white / 2, "WindowWidth": white},
    )


def signed() -> bytes:
    values = PICTURE.astype(np.int16) * 16 - 2048
    changes = {"RescaleSlope": 0.5, "RescaleIntercept": -1000, "PixelRepresentation": 1, "BitsStored": 16}
    return drawn(values.view(np.uint16), **changes, **EXACT | {"WindowCenter": -1004, "WindowWidth": 2040})


def by_table(keyword: str) -> bytes:
    """Stored values are codes in no order, which only the table makes grey values of."""
    codes = np.random.default_rng(0).permutation(256).astype(np.uint8)  # of each grey value
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [256, 0, 16], (np.argsort(codes) * 257).astype("<u2").tobytes()
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "OW"
    voi = EXACT | {"WindowCenter": 65535 / 2, "WindowWidth": 65535} if keyword == "ModalityLUTSequence" else {}
    return drawn(codes[PICTURE], **{keyword: [item]}, **voi)


def window() -> bytes:
    """LINEAR, a part of 12 bits: what is below and above it is black and white."""
    stored = PICTURE.astype(np.uint16) * 4 + 1000
    return drawn(stored, WindowCenter=1510.5, WindowWidth=1021, VOILUTFunction="LINEAR")


ENCODINGS: dict[str, tuple[Callable[[], bytes], float]] = {
    "png-16": (lambda: png(PICTURE.astype(np.uint16) * 257), LOSSLESS),
    "tiff": (lambda: png(PICTURE, "TIFF"), LOSSLESS),
    "monochrome2": (lambda: drawn(PICTURE, **EXACT), LOSSLESS),
    "monochrome1": (lambda: drawn(255 - PICTURE, PhotometricInterpretation="MONOCHROME1", **EXACT), LOSSLESS),
    "signed": (signed, LOSSLESS),
    "10-bits": (lambda: dirty(10), LOSSLESS),
    "12-bits": (lambda: dirty(12), LOSSLESS),
    "16-bits": (lambda: dirty(16), LOSSLESS),
    "window": (window, LOSSLESS),
    "voi-lut": (lambda: by_table("VOILUTSequence"), LOSSLESS),
    "modality-lut": (lambda: by_table("ModalityLUTSequence"), LOSSLESS),
    "big-endian": (lambda: drawn(PICTURE, "big-endian", **EXACT), LOSSLESS),
    "deflated": (lambda: drawn(PICTURE, "deflated", **EXACT), LOSSLESS),
    "rle": (lambda: drawn(PICTURE, "rle", **EXACT), LOSSLESS),
    "jpeg-lossless": (lambda: drawn(PICTURE, "lossless", **EXACT), LOSSLESS),
    "jpeg-ls": (lambda: drawn(PICTURE, "jpegls", **EXACT), LOSSLESS),
    "jpeg-2000": (lambda: drawn(PICTURE, "j2k", **EXACT), LOSSLESS),
    "jpeg": (lambda: drawn(PICTURE, "jpeg", **EXACT), LOSSY),
    "jpeg-ls-near": (lambda: drawn(PICTURE, "jpegls-near", **EXACT), LOSSY),
    "jpeg-2000-lossy": (lambda: drawn(PICTURE, "j2k-lossy", **EXACT), LOSSY),
}


@pytest.fixture(scope="module")
def answer(chest_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], np.ndarray]:
    """The probabilities of a file, not made steep by a temperature."""
    predictor = ChestPredictor.load(chest_model)
    predictor.calibration = Calibration()
    path = tmp_path_factory.mktemp("encodings") / "image"

    def probabilities(data: bytes) -> np.ndarray:
        path.write_bytes(data)
        return np.array([*predictor.predict(path).probabilities.values()])

    return probabilities


def test_another_picture_is_another_probability(answer: Callable[[bytes], np.ndarray]) -> None:
    """As much as a mistake of the reader would change it: polarity, a window that is wider or elsewhere, lost bits."""
    there = answer(png(PICTURE))
    others = {
        "another": chest("normal", 7, SIDE),
        "negative": 255 - PICTURE,
        "wide": PICTURE // 2 + 64,
        "dark": PICTURE // 2,
        "steps": PICTURE // 64 * 64,
    }
    moved = {name: float(np.abs(answer(png(other)) - there).max()) for name, other in others.items()}
    assert min(moved.values()) > 2 * LOSSY, moved


@pytest.mark.parametrize("name", ENCODINGS)
def test_one_picture_is_one_probability(answer: Callable[[bytes], np.ndarray], name: str) -> None:
    encode, tolerance = ENCODINGS[name]
    there, here = answer(png(PICTURE)), answer(encode())
    assert np.abs(here - there).max() <= tolerance
