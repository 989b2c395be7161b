"""Every file of the published cases and of the collection has the outcome that their table says."""

import csv
from pathlib import Path

import numpy as np
import pytest

from attn.core.errors import InputError
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.radiograph import NotAnImageError, Radiograph
from attn.data_adapters.dicom.read import read_radiographs

NUMBERS = (1, 2, 5, 6, 8, 9, 11, 12, 13, 15, 18, 20, 21, 23, 25, 26, 27, 29, 30, 32, 33, 35, 41, 42, 43, 44, 45, 47, 48)
CASES = [f"c{number:02}" for number in (*NUMBERS, 50, 51, 54, 57, 58, 61, 63, 65, 70)]
FLAGS = {
    "c06": Flag.LUT_NONSTANDARD,
    "c08": Flag.SLOPE_NEGATIVE,
    "c09": Flag.RESCALE_PARTIAL,
    "c11": Flag.WINDOW_MISSING,
    "c15": Flag.WINDOW_NONSTANDARD,
    "c18": Flag.WINDOW_UNREADABLE,
    "c20": Flag.WINDOW_MISSING,
    "c21": Flag.OVERLAY,
    "c25": Flag.POLARITY_CONTRADICTS,
    "c26": Flag.SYNTAX_CONTRADICTS,
    "c27": Flag.COLOUR,
    "c32": Flag.LOSSY,
    "c41": Flag.LATERAL,
    "c42": Flag.LATERAL,
    "c44": Flag.LATERAL,
    "c45": Flag.PIXELS_NOT_SQUARE,
    "c50": Flag.ENCODING_CONTRADICTS,
    "c57": Flag.FOR_PROCESSING,
    "c58": Flag.BURNED_IN,
    "c65": Flag.WINDOW_MISSING,
    "c70": Flag.DEEP,
}
REFUSED = {"c33": "1.2.840.113845.1.2.1", "c47": "(7FE0,0010)", "c48": "50,176 bytes"}
COLLECTION = {"GH220.dcm": "skipped", "badVR.dcm": "(0028,0008)", "no_meta.dcm": "not a readable DICOM file"}
FRAMES = {"SC_rgb_rle_16bit_2frame.dcm": 2, "emri_small_RLE.dcm": 10, "emri_small_jpeg_2k_lossless_too_short.dcm": 10}


def read(path: Path, **options: str) -> Radiograph:
    (radiograph,) = read_radiographs(path, path.name, **options)
    return radiograph


@pytest.mark.real_data
@pytest.mark.parametrize("case", CASES)
def test_case(data_dir: Path, case: str) -> None:
    folder = data_dir / "chest" / "cases"
    with (folder / "index.csv").open() as file:
        row = next(row for row in csv.DictReader(file) if row["file"].startswith(case))
    path = folder / row["file"]
    if case in REFUSED:
        with pytest.raises(InputError, match=r"^[^\n]+$") as refused:
            read(path)
        assert REFUSED[case] in str(refused.value)
        return
    found = read(path)
    assert case not in FLAGS or FLAGS[case] in found.flags
    if not row["expected_array"]:
        return
    compare(found.pixels_hw, np.load(folder / row["expected_array"]), row["check"], float(row["tolerance"]))
    for name in row["other_arrays"].split():
        if ".window" in name:
            index = name.split(".window")[1].split(".")[0]
            compare(read(path, window=index).pixels_hw, np.load(folder / name), "exact", float(row["tolerance"]))


def compare(pixels: np.ndarray, expected: np.ndarray, check: str, tolerance: float) -> None:
    assert pixels.shape == expected.shape and pixels.dtype == np.float32
    assert pixels.min() >= 0 and pixels.max() <= 1
    compared = np.isfinite(expected)
    if "affine" not in check:
        assert np.abs(pixels - expected)[compared].max() <= tolerance
        return
    inside = compared & (expected > 0)  # the frame of c20 is padding
    assert np.corrcoef(pixels[inside], expected[inside])[0, 1] > 0.9995
    assert np.percentile(pixels[compared], 99) > 0.5


@pytest.mark.real_data
def test_collection(data_dir: Path) -> None:
    files = sorted((data_dir / "chest" / "dicom").iterdir())
    assert len(files) == 21
    for path in files:
        if (reason := COLLECTION.get(path.name)) is None:
            frames = list(read_radiographs(path, path.name))
            assert len(frames) == FRAMES.get(path.name, 1)
            assert all(0.05 < frame.pixels_hw.mean() < 0.95 for frame in frames)
            continue
        with pytest.raises(InputError, match=r"^[^\n]+$") as refused:
            list(read_radiographs(path, path.name))
        assert isinstance(refused.value, NotAnImageError) if reason == "skipped" else reason in str(refused.value)


@pytest.mark.parametrize(
    ("content", "name", "skipped"),
    [
        (b"<!DOCTYPE html><html><body>login</body></html>", "scan.dcm", False),
        (b"<html></html>", "page", True),
        (b"%PDF-1.4 \x00", "report.pdf", True),
        (b"Dear reader,\n", "readme.txt", True),
        (b"\x00\x01\x02" * 50, "blob", True),
        (b"\x00\x01\x02" * 50, "blob.dcm", False),
        (b"", "empty.dcm", False),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, name: str, skipped: bool) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^[^\n]+$") as refused:
        list(read_radiographs(path, name))
    assert isinstance(refused.value, NotAnImageError) == skipped
