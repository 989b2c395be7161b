"""Which modality step, VOI and polarity a header asks for."""

import io
from typing import Any

import numpy as np
import pytest
from dicom_fixtures import drawn, picture
from pydicom.dataset import Dataset

from attn.core.errors import UsageError
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.pixels import read_dicom
from attn.data_adapters.dicom.radiograph import Radiograph

PIXELS = picture(bits=12)
UNIT = PIXELS / 4095
EXACT = {"WindowCenter": 2047.5, "WindowWidth": 4095, "VOILUTFunction": "LINEAR_EXACT"}
NAMED = {"WindowCenter": [512, 300], "WindowWidth": [1024, 400], "WindowCenterWidthExplanation": ["SHARP", "SOFT"]}


def read(window: str | None = None, syntax: str = "explicit", **changes: Any) -> Radiograph:
    (found,) = read_dicom(io.BytesIO(drawn(PIXELS, syntax, **changes)), "drawn", window=window)
    return found


def table(descriptor: list[int], data: Any, vr: str = "OW", signed: bool = False) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = descriptor
    item["LUTDescriptor"].VR = "SS" if signed else "US"
    item.LUTData = data
    item["LUTData"].VR = vr
    return item


@pytest.mark.parametrize(
    ("changes", "slope", "intercept", "flags"),
    [
        ({"RescaleSlope": "2", "RescaleIntercept": "-1000"}, 2, -1000, ()),
        ({"RescaleSlope": "0.5"}, 0.5, 0, (Flag.RESCALE_PARTIAL,)),
        ({"RescaleIntercept": "-1000"}, 1, -1000, (Flag.RESCALE_PARTIAL,)),
        ({"RescaleSlope": "-1", "RescaleIntercept": "4095"}, -1, 4095, (Flag.SLOPE_NEGATIVE,)),
        ({"RescaleSlope": "0", "RescaleIntercept": "0"}, 1, 0, (Flag.RESCALE_PARTIAL,)),
    ],
)
def test_rescale(changes: dict[str, str], slope: float, intercept: float, flags: tuple[Flag, ...]) -> None:
    found = read(**EXACT, **changes)
    assert np.abs(found.pixels_hw - np.clip((PIXELS.astype(float) * slope + intercept) / 4095, 0, 1)).max() < 1e-6
    assert found.flags == flags


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({}, Flag.WINDOW_MISSING),
        ({"WindowCenter": "", "WindowWidth": ""}, Flag.WINDOW_MISSING),
        ({"WindowCenter": 100}, Flag.WINDOW_UNREADABLE),
        ({"WindowCenter": 100, "WindowWidth": 0}, Flag.WINDOW_UNREADABLE),
        ({"WindowCenter": 100, "WindowWidth": -5}, Flag.WINDOW_UNREADABLE),
    ],
)
def test_no_window(changes: dict[str, Any], flag: Flag) -> None:
    found = read(**changes)
    low, high = np.percentile(PIXELS, [0.5, 99.5])
    assert np.abs(found.pixels_hw - np.clip((PIXELS - low) / (high - low), 0, 1)).max() < 1e-6
    assert found.flags == (flag,)


def test_window_that_is_no_number() -> None:
    data = drawn(PIXELS, WindowCenter="2047.5", WindowWidth="4095.0").replace(b"2047.5", b"2047,5")
    (found,) = read_dicom(io.BytesIO(data.replace(b"4095.0", b"4095,0")), "drawn")
    assert found.flags == (Flag.WINDOW_UNREADABLE,) and "percentile" in str(found.header["voi_step"])


def test_window_against_the_standard() -> None:
    narrow = read(RescaleSlope="0.0001", RescaleIntercept="0", WindowCenter="0.2", WindowWidth="0.4")
    assert Flag.WINDOW_NONSTANDARD in narrow.flags
    assert np.abs(narrow.pixels_hw - np.clip(PIXELS * 0.0001 / 0.4, 0, 1)).max() < 1e-6
    unknown = read(WindowCenter=2048, WindowWidth=4096, VOILUTFunction="CUBIC")
    assert Flag.WINDOW_NONSTANDARD in unknown.flags and np.abs(unknown.pixels_hw - UNIT).max() < 1e-6


def test_choice_of_window() -> None:
    expected = {None: (512, 1024), "0": (512, 1024), "1": (300, 400), "soft": (300, 400), "2000, 1001": (2000, 1001)}
    for window, (center, width) in expected.items():
        shown = np.clip((PIXELS - (center - 0.5)) / (width - 1) + 0.5, 0, 1)
        assert np.abs(read(window, **NAMED).pixels_hw - shown).max() < 1e-6, window


@pytest.mark.parametrize("window", ["2", "HARD", "1,", "1,0", "x,y", "-1", ""])
def test_unknown_window(window: str) -> None:
    with pytest.raises(UsageError, match="0: LINEAR window SHARP, center 512, width 1024; 1: LINEAR window SOFT"):
        read(window, **NAMED)


def test_voi_lut_comes_before_the_window() -> None:
    ramp = np.arange(4096)[::-1].astype("<u2").tobytes()
    sequence = [table([4096, 0, 12], ramp)]
    sequence[0].LUTExplanation = "NEGATIVE"
    assert np.abs(read(VOILUTSequence=sequence, **EXACT).pixels_hw - (1 - UNIT)).max() < 1e-6
    assert np.abs(read("0", VOILUTSequence=sequence, **EXACT).pixels_hw - UNIT).max() < 1e-6
    assert np.abs(read("negative", VOILUTSequence=sequence, **EXACT).pixels_hw - (1 - UNIT)).max() < 1e-6


@pytest.mark.parametrize(
    ("descriptor", "data", "vr", "flags"),
    [
        ([4096, 0, 8], (np.arange(4096) >> 4).astype("<u2").tobytes(), "OW", ()),
        ([4096, 0, 8], (np.arange(4096) >> 4).astype("u1").tobytes(), "OW", ()),  # packed
        ([4096, 0, 8], (np.arange(4096) >> 4).astype("u1").view("<u2").tolist(), "US", ()),  # packed
        ([4096, 0, 8], (np.arange(4096) >> 4).tolist(), "US", ()),
        ([0, 0, 8], (np.arange(65536) >> 4).clip(0, 255).astype("<u2").tobytes(), "OW", ()),  # 0 is 65,536
        ([5000, 0, 8], (np.arange(4096) >> 4).tolist(), "US", (Flag.LUT_NONSTANDARD,)),  # fewer than declared
    ],
)
@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
def test_voi_luts_of_8_bits(descriptor: list[int], data: Any, vr: str, flags: tuple[Flag, ...], syntax: str) -> None:
    found = read(syntax=syntax, VOILUTSequence=[table(descriptor, data, vr)])
    assert np.abs(found.pixels_hw - (PIXELS >> 4) / 255).max() < 1e-6
    assert found.flags == flags


def test_modality_lut_of_12_bits_and_of_signed_values() -> None:
    ramp = np.arange(4096)
    found = read(ModalityLUTSequence=[table([4096, 0, 12], ramp.astype("<u2").tobytes())], **EXACT)
    assert np.abs(found.pixels_hw - UNIT).max() < 1e-6 and found.flags == (Flag.LUT_NONSTANDARD,)
    for signed in (True, False):  # -2048 or 63488
        item = table([4096, -2048 if signed else 63488, 16], ramp.astype("<u2").tobytes(), signed=signed)
        pixels = PIXELS.astype(np.int16) - 2048
        data = drawn(pixels, PixelRepresentation=1, ModalityLUTSequence=[item], **EXACT)
        (found,) = read_dicom(io.BytesIO(data), "drawn")
        assert np.abs(found.pixels_hw - UNIT).max() < 1e-6


def test_empty_tables_count_as_absent() -> None:
    found = read(VOILUTSequence=[table([4096, 0, 12], b"")], ModalityLUTSequence=[Dataset()], **EXACT)
    assert np.abs(found.pixels_hw - UNIT).max() < 1e-6 and found.flags == (Flag.LUT_NONSTANDARD,)


@pytest.mark.parametrize(
    ("photometric", "shape", "inverse", "flags"),
    [
        ("MONOCHROME1", "INVERSE", True, ()),
        ("MONOCHROME2", "IDENTITY", False, ()),
        ("MONOCHROME2", "INVERSE", False, (Flag.POLARITY_CONTRADICTS,)),
        ("MONOCHROME1", "IDENTITY", True, (Flag.POLARITY_CONTRADICTS,)),
        ("MONOCHROME1", None, True, ()),
    ],
)
def test_polarity(photometric: str, shape: str | None, inverse: bool, flags: tuple[Flag, ...]) -> None:
    found = read(PhotometricInterpretation=photometric, PresentationLUTShape=shape, **EXACT)
    assert np.abs(found.pixels_hw - (1 - UNIT if inverse else UNIT)).max() < 1e-6
    assert found.flags == flags
