"""What programs of astronomers hold is read as its file would be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, NDData
from astropy.table import Table

from attn.apps.galaxy.objects import each_input
from attn.apps.galaxy.read import read_cutout, source_id
from attn.core.errors import InputError, UsageError
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.sky.labelled import read_image
from attn.data_adapters.sky.stretch import Stretch

Y, X = np.mgrid[:60, :64]
GALAXY = (np.random.default_rng(0).normal(0, 1, (60, 64)) + 200 * np.exp(-np.hypot(X - 32, Y - 30) / 6)).astype("f4")
MASK = np.zeros((60, 64), bool)
MASK[:, 20:24] = True
SPOILT = np.where(MASK, 900 + GALAXY, GALAXY)


def read(x: Any) -> Cutout:
    return read_cutout(x, Stretch())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda a: a,
        lambda a: a.astype(np.float64),
        lambda a: a * units.adu,
        lambda a: CCDData(a, unit="adu"),
        NDData,
        fits.PrimaryHDU,
        fits.ImageHDU,
        lambda a: fits.CompImageHDU(a, compression_type="GZIP_1", quantize_level=0),
        lambda a: fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(a, name="SCI")]),
        lambda a: np.ma.MaskedArray(a, np.zeros(a.shape, bool)),
    ],
    ids=[
        "array",
        "float64",
        "Quantity",
        "CCDData",
        "NDData",
        "PrimaryHDU",
        "ImageHDU",
        "CompImageHDU",
        "HDUList",
        "masked",
    ],
)
def test_an_object_is_read_as_its_file_would_be(tmp_path: Path, wrap: Any) -> None:
    fits.writeto(tmp_path / "x.fits", GALAXY)
    expected = read_image(tmp_path / "x.fits").pixels
    found = read(wrap(GALAXY))
    np.testing.assert_allclose(found.pixels.astype(int), expected, atol=1)
    assert found.id == "array"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda a, m: np.ma.MaskedArray(a, m),
        lambda a, m: CCDData(a, mask=m, unit="adu"),
        lambda a, m: NDData(a, mask=m),
        lambda a, m: fits.HDUList([fits.PrimaryHDU(a), fits.ImageHDU(m.astype(np.uint8), name="MASK")]),
        lambda a, m: np.where(m, np.nan, a),
    ],
    ids=["masked", "CCDData", "NDData", "HDUList", "NaN"],
)
def test_what_is_masked_is_missing(wrap: Any) -> None:
    found = read(wrap(SPOILT, MASK))
    assert "nan_filled:6%" in found.flags
    np.testing.assert_allclose(found.pixels.astype(int), read(np.where(MASK, np.nan, GALAXY)).pixels, atol=1)


def test_masked_display_pixels_are_black() -> None:
    picture = np.ma.MaskedArray(np.full((20, 20, 3), 200, np.uint8), np.zeros((20, 20, 3), bool))
    picture[3, 4] = np.ma.masked
    found = read(picture).pixels
    assert found[3, 4].tolist() == [0, 0, 0] and found[4, 4].tolist() == [200, 200, 200]


@pytest.mark.parametrize("x", [7, None, {"a": 1}, np.array(["a"]), b"bytes"])
def test_other_objects_are_named(x: Any) -> None:
    with pytest.raises(InputError, match=r"is no image; give a path, an array|is not an image"):
        read(x)


def test_the_inputs_of_a_stream() -> None:
    assert list(each_input("x.fits")) == ["x.fits"] and list(each_input(Path("x.fits"))) == [Path("x.fits")]
    for one in (GALAXY, CCDData(GALAXY, unit="adu"), fits.ImageHDU(GALAXY), fits.HDUList([fits.PrimaryHDU(GALAXY)])):
        (same,) = each_input(one)
        assert same is one
    ids = [source_id(x) for x in each_input(["a.fits", GALAXY, ("g", "r"), fits.ImageHDU(GALAXY)])]
    assert ids == ["a.fits", "array 1", "g+r", "array 3"]
    assert [source_id(x) for x in each_input(np.stack([GALAXY] * 4))] == ["array 0", "array 1", "array 2", "array 3"]
    assert list(each_input(Table({"path": ["a", "b"], "z": [1, 2]}))) == ["a", "b"]
    with pytest.raises(UsageError, match="no column path or file or filename or image; it has ra"):
        list(each_input(Table({"ra": [1.0]})))
