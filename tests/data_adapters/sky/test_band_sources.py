"""A survey image of a file per band is cut and searched as the cube of the same bands."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from astropy.io import fits

from attn.core.errors import InputError
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.sky.band_sources import open_survey
from attn.data_adapters.sky.cutouts import catalog_cutouts
from attn.data_adapters.sky.detect import detected_cutouts
from attn.data_adapters.sky.stretch import Stretch

HEIGHT, WIDTH = 220, 260
PLACES = [(60, 50), (200, 60), (70, 160), (190, 170)]  # x, y
WCS = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 130.0, "CRPIX2": 110.0,
    "CDELT1": -1e-4, "CDELT2": 1e-4,
}  # fmt: skip


@pytest.fixture(scope="module")
def planes() -> dict[str, np.ndarray]:
    """Three bands whose sources differ in colour."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    light = sum(60 * np.exp(-np.hypot(x - px, (y - py) * 1.3) / 5) for px, py in PLACES)
    return {band: (rng.normal(100, 2, light.shape) + k * light).astype(np.float32) for k, band in enumerate("gri", 1)}


def write(folder: Path, planes: dict[str, np.ndarray]) -> list[Path]:
    """A file for each band, the i band moved by 7 and -4 pixels."""
    paths = []
    for band, plane in planes.items():
        cards = dict(WCS, FILTER=f"SDSS {band}")
        if band == "i":
            plane = np.pad(plane, ((0, 4), (7, 0)), constant_values=100)[4:, :WIDTH]
            cards |= {"CRPIX1": WCS["CRPIX1"] + 7, "CRPIX2": WCS["CRPIX2"] - 4}
        hdu = fits.PrimaryHDU(plane)
        hdu.header.update(cards)
        hdu.writeto(folder / f"{band}.fits")
        paths.append(folder / f"{band}.fits")
    return paths


def write_cube(folder: Path, planes: dict[str, np.ndarray]) -> Path:
    hdu = fits.PrimaryHDU(np.stack([planes[band] for band in "irg"]))
    hdu.header.update(WCS | {"BAND1": "i", "BAND2": "r", "BAND3": "g"})
    hdu.writeto(folder / "cube.fits")
    return folder / "cube.fits"


def test_a_catalogue_is_cut_as_from_one_file_with_all_bands(tmp_path: Path, planes: dict[str, np.ndarray]) -> None:
    files, cube = write(tmp_path, planes), write_cube(tmp_path, planes)
    pl.DataFrame({"x": [x for x, _ in PLACES], "y": [y for _, y in PLACES]}).write_csv(tmp_path / "c.csv")
    several = list(catalog_cutouts(files, tmp_path / "c.csv", Stretch()))
    one = list(catalog_cutouts(cube, tmp_path / "c.csv", Stretch()))
    for found, expected in zip(several, one, strict=True):
        assert isinstance(found, Cutout) and isinstance(expected, Cutout)
        assert found.flags == ("shifted:-7,4",)
        np.testing.assert_array_equal(found.pixels, expected.pixels)


def test_sources_are_found_in_all_bands_together(tmp_path: Path, planes: dict[str, np.ndarray]) -> None:
    found = list(detected_cutouts(write(tmp_path, planes), Stretch()))
    places = sorted((round(float(cutout.values["x"]), -1), round(float(cutout.values["y"]), -1)) for cutout in found)
    assert places == sorted((float(x), float(y)) for x, y in PLACES)
    assert all({"ra", "dec"} <= cutout.values.keys() for cutout in found)
    assert all(
        cutout.pixels[..., 0].max() > cutout.pixels[..., 2].max() for cutout in found if isinstance(cutout, Cutout)
    )


def test_a_section_beyond_a_shifted_band_has_no_value_there(tmp_path: Path, planes: dict[str, np.ndarray]) -> None:
    with open_survey(write(tmp_path, planes)) as source:
        assert source.shape == (HEIGHT, WIDTH)
        data, _ = source.section(slice(0, HEIGHT), slice(0, WIDTH))
    missing = np.isnan(data)
    assert not missing[:, :, 1:].any()
    assert missing[:4, :, 0].all() and missing[:, -7:, 0].all() and not missing[4:, :-7, 0].any()
    np.testing.assert_array_equal(data[4:, :-7, 0], planes["i"][4:, :-7])


def test_files_that_are_no_bands_of_one_field(tmp_path: Path, planes: dict[str, np.ndarray]) -> None:
    files, cube = write(tmp_path, planes), write_cube(tmp_path, planes)
    with (
        pytest.raises(InputError, match=r"cube\.fits: has 3 bands; give a single band per file"),
        open_survey([*files, cube]),
    ):
        pass
    fits.setval(files[1], "CRVAL2", value=3.0)
    with pytest.raises(InputError, match=r"r\.fits: shows another part of the sky than .*g\.fits"), open_survey(files):
        pass
