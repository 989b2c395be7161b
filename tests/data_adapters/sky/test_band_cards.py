"""Which bands a header says that its image has."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from attn.data_adapters.sky.band_cards import band_of, plane_bands
from attn.data_adapters.sky.band_files import read_bands
from attn.data_adapters.sky.fits import read_fits

PLANES = np.random.default_rng(1).normal(size=(5, 20, 24)).astype(np.float32)


def header(**cards: object) -> fits.Header:
    return fits.Header({key.replace("__", "."): value for key, value in cards.items()})


def save(path: Path, pixels: np.ndarray, **cards: object) -> Path:
    hdu = fits.PrimaryHDU(pixels)
    for key, value in cards.items():
        hdu.header[f"HIERARCH {key.replace('__', '.')}" if "__" in key else key] = value
    hdu.writeto(path)
    return path


@pytest.mark.parametrize(
    ("cards", "nanometres"),
    [
        ({"FILTER": "HSC-G"}, 478),
        ({"FILTER1": "CLEAR1L", "FILTER2": "F814W"}, 814),
        ({"FILTER1": "F606W", "FILTER2": "CLEAR2L"}, 606),
        ({"FILTER2": "F435W"}, 435),
        ({"FILTERX": "r SDSS k1018"}, 623),
        ({"BAND": 2, "TELESCOP": "WISE"}, 4600),
        ({"BAND": 2, "TELESCOP": "GALEX"}, 153),
        ({"CHNLNUM": 1, "INSTRUME": "IRAC"}, 3550),
        ({"FILTER": "CLEAR", "PUPIL": "F200W", "TELESCOP": "JWST"}, 2000),
        ({"FILTER": "F444W", "PUPIL": "F405N", "TELESCOP": "JWST"}, 4050),
        ({"FILTER": "mystery", "PHOTPLAM": 6250.0}, 625),
        ({"BANDS": "z", "BAND0": "z"}, 905),
        ({"WAVELEN": "3.6 um"}, 3600),
        ({"WAVELNTH": 171, "WAVEUNIT": "Angstroms"}, 17.1),
        ({"WAVELEN": "0.5 MICRONS"}, 500),
        ({"WAVELEN": "6200 A"}, 620),
        ({"WAVELEN": "6200 furlong"}, None),
        ({"WAVELNTH": 171, "WAVEUNIT": "-10"}, None),
        ({"CTYPE3": "WAVE", "CRVAL3": 5, "CUNIT3": "furlong"}, None),
        ({"CTYPE3": "ENER", "CRVAL3": 1e-308, "CUNIT3": "keV"}, None),
        ({"CTYPE3": "WAVE", "CRVAL3": 4.5, "CUNIT3": "um"}, 4500),
        ({"CTYPE3": "FREQ", "CRVAL3": 1.5e9, "CUNIT3": "Hz"}, 299792458 / 1.5),
        ({"FILTER": "mystery"}, None),
        ({}, None),
    ],
)
def test_the_band_of_one_plane(cards: dict[str, object], nanometres: float | None) -> None:
    assert band_of(header(**cards)).nanometres == (nanometres and pytest.approx(nanometres))


@pytest.mark.parametrize(
    ("cards", "names"),
    [
        ({"BANDS": "grz", "BAND0": "g", "BAND1": "r", "BAND2": "z"}, ["g", "r", "z"]),
        ({"BANDS": "griz"}, ["g", "r", "i", "z"]),
        ({"BANDS": "g,z"}, ["g", "z"]),
        ({"BAND0": "g", "BAND1": "z"}, ["g", "z"]),
        ({"BAND1": "i", "BAND2": "r", "BAND3": "g"}, ["i", "r", "g"]),
        ({"FILTER1": "F814W", "FILTER2": "F606W", "FILTER3": "F435W"}, ["F814W", "F606W", "F435W"]),
        ({"NAXIS3": 3, "CTYPE3": "RGB"}, ["red", "green", "blue"]),
        ({"BANDS": "bgr"}, ["b", "g", "r"]),
        ({"BANDS": "12", "BAND0": 1, "BAND1": 2, "SURVEY": "unWISE"}, ["W1", "W2"]),
        ({"BANDS": "nf", "BAND0": "n", "BAND1": "f", "SURVEY": "GALEX"}, ["NUV", "FUV"]),
        ({"WAVE1": 4770, "WAVE2": 6231}, ["4770 nm", "6231 nm"]),
        (
            {"NAXIS3": 2, "CTYPE3": "AWAV", "CRVAL3": 4000, "CRPIX3": 1, "CDELT3": 1000, "CUNIT3": "Angstrom"},
            ["4000 Angstrom", "5000 Angstrom"],
        ),
        ({"NAXIS3": 8, "CTYPE3": "FREQ", "CRVAL3": 1.4e9, "CDELT3": 1e5}, []),
        ({"FILTER": "SDSS r"}, []),
        ({"BAND1": "a", "BAND2": "b"}, []),
    ],
)
def test_the_bands_of_a_cube(cards: dict[str, object], names: list[str]) -> None:
    assert [band.name for band in plane_bands(header(**cards))] == names


@pytest.mark.parametrize(("kind", "reddest"), [("WAVE", 2), ("FREQ", 0)])
def test_a_third_axis_of_wavelengths_orders_the_planes(tmp_path: Path, kind: str, reddest: int) -> None:
    path = save(tmp_path / "x.fits", PLANES[:3], CTYPE3=kind, CRVAL3=5.0, CRPIX3=1.0, CDELT3=1.0)
    image = read_fits(path)
    assert "band_order_assumed" not in image.flags
    np.testing.assert_array_equal(image.data[:, :, 0], PLANES[reddest])


@pytest.mark.parametrize(
    ("kind", "units"),
    [("WAVE", "A ANGSTROM Angstroms MICRON microns NM furlong"), ("FREQ", "HZ GHZ MHz furlong")],
)
def test_however_the_unit_of_an_axis_is_written_it_orders_the_planes(kind: str, units: str) -> None:
    for unit in units.split():
        cards = {"NAXIS3": 3, "CTYPE3": kind, "CRVAL3": 5.0, "CRPIX3": 1.0, "CDELT3": 1.0, "CUNIT3": unit}
        waves = [band.nanometres for band in plane_bands(header(**cards))]
        rising = sorted(wave for wave in waves if wave is not None)
        assert len(rising) == 3 and waves == (rising if kind == "WAVE" else rising[::-1])


def test_a_cube_of_the_legacy_surveys_is_read_reddest_first(tmp_path: Path) -> None:
    three = save(tmp_path / "grz.fits", PLANES[:3], BANDS="grz", BAND0="g", BAND1="r", BAND2="z")
    image = read_fits(three)
    assert (image.bands, image.flags) == (("z", "r", "g"), ("tiny:24x20",))
    np.testing.assert_array_equal(image.data, np.moveaxis(PLANES[2::-1], 0, 2))
    two = read_fits(save(tmp_path / "gz.fits", PLANES[:2], BANDS="gz", BAND0="g", BAND1="z"))
    assert (two.bands, two.flags) == (("z", "g"), ("tiny:24x20",))


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("FILTER", ("F150W", "F277W", "F444W")),
        ("FILTER", ("W-J-B", "W-S-R+", "W-S-I+")),
        ("FILTER", ("HSC-G", "HSC-R2", "HSC-I2")),
        ("FILTER2", ("F435W", "F606W", "F814W")),
        ("FPA__FILTER", ("g.00000", "r.00000", "i.00000")),
        ("PHOTPLAM", (4700.0, 6200.0, 7600.0)),
        ("FILTER", ("W-J-B", "N-B-L816", "W-S-Z+")),
    ],
)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_files_of_one_band_each_need_no_order(
    tmp_path: Path, key: str, names: tuple[object, ...], order: tuple[int, ...]
) -> None:
    paths = [save(tmp_path / f"{k}.fits", PLANES[k], **{key: names[k]}) for k in range(3)]
    image = read_bands([paths[k] for k in order])
    assert image.flags == ("tiny:24x20",)
    np.testing.assert_array_equal(image.data, np.moveaxis(PLANES[2::-1], 0, 2))


@pytest.mark.parametrize("key", [b"FILTER  ", b"EXTNAME "])
def test_a_card_that_cannot_be_understood_leaves_the_pixels(tmp_path: Path, key: bytes) -> None:
    path = save(tmp_path / "x.fits", PLANES[0], **{key.decode().strip(): "g"})
    path.write_bytes(
        path.read_bytes()
        .replace(key + b"= 'g       '", key + b"= g SDSS    ")
        .replace(key + b"= 'G       '", key + b"= g SDSS    ")
    )
    image = read_fits(path)
    assert image.bands == ("unknown",)
    np.testing.assert_array_equal(image.data[:, :, 0], PLANES[0])
