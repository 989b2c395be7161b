"""A second opinion on what a file shows: pydicom's own functions. Where opinions differ, the reason is here."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_fixtures import drawn, picture
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut

from attn.data_adapters.dicom.read import read_radiographs

BUNDLED = [  # with pydicom
    "693_J2KI.dcm", "CT_small.dcm", "ExplVR_BigEnd.dcm", "J2K_pixelrep_mismatch.dcm", "JPEG2000.dcm",
    "JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm", "MR_small.dcm", "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_padded.dcm",
    "SC_jpeg_no_color_transform.dcm", "SC_jpeg_no_color_transform_2.dcm", "SC_rgb_dcmtk_+eb+cr.dcm",
    "SC_rgb_dcmtk_+eb+cy+n1.dcm", "SC_rgb_dcmtk_+eb+cy+s4.dcm", "SC_rgb_gdcm_KY.dcm", "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_jpeg_app14_dcmd.dcm", "SC_rgb_jpeg_lossy_gdcm.dcm", "SC_rgb_rle_16bit.dcm", "SC_rgb_rle_32bit.dcm",
    "SC_rgb_small_odd.dcm", "SC_rgb_small_odd_big_endian.dcm", "SC_rgb_small_odd_jpeg.dcm", "examples_jpeg2k.dcm",
    "examples_overlay.dcm", "examples_palette.dcm", "examples_ybr_color.dcm", "image_dfl.dcm", "rtdose_1frame.dcm",
    "rtdose_rle_1frame.dcm",
]  # fmt: skip
DIFFERENT = {  # of the published cases, in pydicom 3.0.2
    "c02_voilut_4096_entries_8bit.dcm": "apply_voi_lut wraps the index into a table of 8-bit entries at 256",
    "c06_modality_lut_12bit.dcm": "apply_modality_lut raises for entries of 12 bits",
    "c08_negative_slope.dcm": "apply_windowing swaps its output range for a negative slope",
    "c09_slope_without_intercept.dcm": "apply_modality_lut ignores a slope alone, apply_windowing raises",
    "c15_linear_width_below_1.dcm": "apply_windowing raises for a width below 1",
    "c18_window_decimal_comma.dcm": "apply_windowing raises for a window that is no number",
    "c20_padding_range_mono1.dcm": "its functions do not know padding",
    "c29_float_pixel_data.dcm": "apply_windowing needs Bits Stored, which floats do not have",
}
UNREADABLE = ("c33", "c47", "c48")  # by both


def opinion(dataset: Dataset) -> Any:
    """The first frame by pydicom, 0 to 1: its modality and VOI functions, over the output range that it documents."""
    many = int(dataset.get("NumberOfFrames") or 1) > 1
    stored = pixel_array(dataset, index=0) if many else pixel_array(dataset)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(stored, dataset)
        return colours @ np.array([0.299, 0.587, 0.114]) / np.iinfo(colours.dtype).max
    if stored.ndim == 3:
        return stored @ np.array([0.299, 0.587, 0.114]) / (2**dataset.BitsStored - 1)
    values = apply_modality_lut(stored, dataset)
    shown = apply_voi_lut(values, dataset).astype(float)
    low, high = 0.0, 2.0**dataset.BitsStored - 1
    if "VOILUTSequence" in dataset:
        high = 2.0 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif dataset.get("WindowWidth") is None:
        low, high = np.percentile(values.astype(float), [0.5, 99.5])
    elif "ModalityLUTSequence" in dataset:
        high = 2.0 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    else:
        if dataset.PixelRepresentation:
            low, high = -(2.0 ** (dataset.BitsStored - 1)), 2.0 ** (dataset.BitsStored - 1) - 1
        if "RescaleSlope" in dataset:
            ends = (float(dataset.RescaleSlope) * end + float(dataset.RescaleIntercept) for end in (low, high))
            low, high = sorted(ends)
    shown = np.clip((shown - low) / (high - low), 0, 1)
    return 1 - shown if dataset.PhotometricInterpretation == "MONOCHROME1" else shown


def difference(source: Path | bytes) -> float:
    """The largest difference between both opinions on the first frame."""
    ours = next(read_radiographs(source if isinstance(source, Path) else io.BytesIO(source), "x.dcm")).pixels_hw
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = opinion(dcmread(source if isinstance(source, Path) else io.BytesIO(source)))
    return float(np.abs(ours - theirs).max())


@pytest.mark.parametrize("name", BUNDLED)
def test_files_of_pydicom(name: str) -> None:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("this pydicom comes without the file")
    assert difference(Path(path)) < 1e-5


@pytest.mark.parametrize("name", ["JPEG-lossy.dcm", "JPGExtended.dcm"])
def test_jpeg_of_12_bits(name: str) -> None:
    """The pixels that pydicom's own tests state, of a decoder that is not here; its plugins refuse these files."""
    path = get_testdata_file(name, download=False)
    (found,) = read_radiographs(Path(str(path)), name, window="2047.5,4096")
    values = found.pixels_hw * 4095 - 0.5
    assert (values[420, 140], values[230, 120]) == pytest.approx((244, 95), abs=0.01)
    assert found.header["decoder"] == "gdcm"


@pytest.mark.real_data
def test_published_cases(data_dir: Path) -> None:
    differ = {}
    for path in sorted((data_dir / "chest" / "cases").glob("*.dcm")):
        if not path.name.startswith(UNREADABLE):
            try:
                differ[path.name] = difference(path) > 1e-3
            except (TypeError, ValueError, AttributeError):  # pydicom's; ours would be an AttnError
                differ[path.name] = True
    assert {name for name, true in differ.items() if true} == set(DIFFERENT)


@pytest.mark.real_data
def test_collection(data_dir: Path) -> None:
    strange = ("GH220", "badVR", "no_meta", "emri_small_jpeg_2k")  # of which pydicom has no opinion
    for path in sorted((data_dir / "chest" / "dicom").glob("*.dcm")):
        if not path.name.startswith(strange):
            assert difference(path) < 1e-5, path.name


WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


def table(descriptor: list[int], data: bytes) -> Dataset:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = descriptor, data
    item["LUTDescriptor"].VR, item["LUTData"].VR = ("SS" if descriptor[1] < 0 else "US"), "OW"
    return item


@pytest.mark.parametrize(
    "changes",
    [
        WINDOW,
        {**WINDOW, "VOILUTFunction": "SIGMOID", "PhotometricInterpretation": "MONOCHROME1"},
        {**WINDOW, "RescaleSlope": "2", "RescaleIntercept": "-1000"},
        {"WindowCenter": 700, "WindowWidth": 1, "VOILUTFunction": "LINEAR"},
        {"VOILUTSequence": [table([4096, 0, 12], np.arange(4096)[::-1].astype("<u2").tobytes())]},
        {**WINDOW, "ModalityLUTSequence": [table([4000, 50, 16], (np.arange(4000) ** 2 >> 8).astype("<u2").tobytes())]},
    ],
)
def test_drawn_files(changes: dict[str, Any]) -> None:
    assert difference(drawn(picture(bits=12), **changes)) < 1e-5


def test_where_pydicom_is_wrong() -> None:
    """Drawn files of the faults that `DIFFERENT` names, so that a pydicom that mends them is noticed."""
    ramp = (np.arange(4096) >> 4).astype("<u2").tobytes()
    pixels = picture(bits=12)
    assert difference(drawn(pixels, VOILUTSequence=[table([4096, 0, 8], ramp)])) > 0.5
    negative = {"RescaleSlope": "-1", "RescaleIntercept": "4095"}
    assert difference(drawn(pixels, **negative, **WINDOW)) > 0.5
    with pytest.raises(TypeError, match="uint12"):
        difference(drawn(pixels, **WINDOW, ModalityLUTSequence=[table([4096, 0, 12], ramp)]))
    with pytest.raises(ValueError, match="Window Width must be greater"):
        difference(drawn(pixels, WindowCenter=1, WindowWidth=0.5))
