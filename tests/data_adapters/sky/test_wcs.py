"""Positions on the sky come from the worker process, are astropy's, and a bad header costs a flag."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from attn.core.errors import InputError
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.sky import wcs as sky_wcs
from attn.data_adapters.sky.catalog import Catalog
from attn.data_adapters.sky.cutouts import cut_rows
from attn.data_adapters.sky.detect import Detection, find_sources
from attn.data_adapters.sky.source import open_sky
from attn.data_adapters.sky.stretch import Stretch
from attn.data_adapters.sky.wcs import sky_positions

PLAIN = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 32.0, "CRPIX2": 32.0,
    "CD1_1": -1e-4, "CD1_2": 1e-6, "CD2_1": 2e-6, "CD2_2": 1e-4,
}  # fmt: skip
SIP = {**PLAIN, "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-6}
FRAMES = {
    "icrs": {**PLAIN, "RADESYS": "ICRS"},
    "fk4": {**PLAIN, "RADESYS": "FK4", "EQUINOX": 1950.0},
    "galactic": {**PLAIN, "CTYPE1": "GLON-SIN", "CTYPE2": "GLAT-SIN"},
    "sip": SIP,
    "cube": {**PLAIN, "WCSAXES": 3, "CTYPE3": "FREQ", "CRVAL3": 1e9, "CDELT3": 1e6},
}
BAD = {
    "huge order": {**SIP, "A_ORDER": 2**31 - 1, "B_ORDER": 2**31 - 1},
    "negative order": {**SIP, "A_ORDER": -5},
    "text": {**SIP, "A_ORDER": "two"},
    "parameters": {**PLAIN, "CTYPE1": "RA---ZPN", "CTYPE2": "DEC--ZPN", "PV2_40": 1.0},
    "no number": {**PLAIN, "CRVAL1": "ten"},
    "one axis": {**PLAIN, "CTYPE2": "FREQ"},
    "two kinds": {**PLAIN, "CTYPE2": "GLAT-TAN"},
    "no such projection": {**PLAIN, "CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"},
}
NONE: dict[str, dict[str, object]] = {"none": {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}, "nothing": {}}


@pytest.mark.parametrize("frame", FRAMES)
def test_positions_are_those_of_astropy(frame: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sky_wcs, "BLOCK", 7)
    header = fits.Header(FRAMES[frame])
    found = sky_positions(header, "x.fits")
    assert found is not None
    assert found.arcsec_per_pixel == pytest.approx(0.36, rel=1e-3)
    x, y = np.random.default_rng(0).uniform(0, 64, (2, 20))
    with warnings.catch_warnings(action="ignore"):
        sky: SkyCoord = WCS(header).celestial.pixel_to_world(x, y).icrs
    ra, dec = found.to_sky(x, y)
    np.testing.assert_allclose(ra, sky.ra.deg, rtol=0, atol=1e-10)
    np.testing.assert_allclose(dec, sky.dec.deg, rtol=0, atol=1e-10)
    ra[3], dec[4] = np.nan, 91
    back_x, back_y = found.to_pixels(ra, dec)
    assert np.isnan(back_x[[3, 4]]).all() and np.isnan(back_y[[3, 4]]).all()
    good = np.delete(np.arange(20), [3, 4])
    np.testing.assert_allclose(back_x[good], x[good], atol=1e-4)
    np.testing.assert_allclose(back_y[good], y[good], atol=1e-4)


@pytest.mark.parametrize("name", BAD)
def test_a_header_that_does_not_work_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match=r"x\.fits: its WCS cannot be used"):
        sky_positions(fits.Header(BAD[name]), "x.fits")


@pytest.mark.parametrize("name", NONE)
def test_a_header_without_two_axes_of_the_sky_has_no_positions(name: str) -> None:
    assert sky_positions(fits.Header(NONE[name]), "x.fits") is None


@pytest.mark.parametrize("cards", [*BAD.values(), *NONE.values()], ids=[*BAD, *NONE])
def test_sources_are_found_and_cut_without_a_wcs_that_works(tmp_path: Path, cards: dict[str, object]) -> None:
    y, x = np.mgrid[:64, :64]
    image = np.random.default_rng(0).normal(10, 1, (64, 64)) + 100 * np.exp(-np.hypot(x - 30, y - 30) / 4)
    fits.PrimaryHDU(image.astype(np.float32), fits.Header(cards)).writeto(tmp_path / "x.fits")
    with open_sky(tmp_path / "x.fits") as source:
        rows = next(find_sources(source, Detection()))
        assert isinstance(next(cut_rows(source, rows, Stretch())), Cutout)
        assert ("wcs_unusable" in source.file.flags) == (cards in BAD.values())
        none, here = np.full(1, np.nan), np.full(1, 150.0)
        with pytest.raises(InputError, match="WCS cannot be used" if cards in BAD.values() else "has no WCS"):
            next(cut_rows(source, Catalog(["a"], here, here / 75, none, none, none, none), Stretch()))


@pytest.mark.parametrize("extra", [{}, {"WCSAXES": 3, "CTYPE3": "FREQ", "CRVAL3": 1e9, "CDELT3": 1e6}])
def test_declination_may_be_the_first_axis(extra: dict[str, object]) -> None:
    """As in the fpC frames of SDSS: the same sky, rows and columns as without the exchange of the axes' cards."""
    swapped = {**PLAIN, "CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": 2.0, "CRVAL2": 150.0}
    swapped |= {"CD1_1": PLAIN["CD2_1"], "CD1_2": PLAIN["CD2_2"], "CD2_1": PLAIN["CD1_1"], "CD2_2": PLAIN["CD1_2"]}
    first, second = (sky_positions(fits.Header({**cards, **extra}), "x.fits") for cards in (PLAIN, swapped))
    assert first is not None and second is not None
    x, y = np.array([3.0, 50.0]), np.array([40.0, 7.0])
    np.testing.assert_allclose(second.to_sky(x, y), first.to_sky(x, y), atol=1e-9)
    np.testing.assert_allclose(second.to_pixels(*first.to_sky(x, y)), (x, y), atol=1e-4)


def test_tables_of_distortion_are_applied(tmp_path: Path) -> None:
    """As in HST's flt files: a table of shifts in pixels, here 2 in x everywhere."""
    image = fits.ImageHDU(np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32), name="SCI")
    tables = []
    for axis, shift in ((1, 2.0), (2, 0.0)):
        image.header.update({**PLAIN, f"CPDIS{axis}": "LOOKUP", f"CPERR{axis}": 2.0})
        for key, value in (("EXTVER", axis), ("NAXES", 2), ("AXIS.1", 1), ("AXIS.2", 2)):
            image.header.append(fits.Card.fromstring(f"DP{axis}     = '{key}: {value}.0'"))
        table = fits.ImageHDU(np.full((8, 8), shift, np.float32), name="WCSDVARR", ver=axis)
        table.header.update(CRPIX1=0.0, CRPIX2=0.0, CRVAL1=0.0, CRVAL2=0.0, CDELT1=10.0, CDELT2=10.0)
        tables.append(table)
    fits.HDUList([fits.PrimaryHDU(), image, *tables]).writeto(tmp_path / "x.fits")
    plain = sky_positions(fits.Header(PLAIN), "x.fits")
    assert plain is not None
    with open_sky(tmp_path / "x.fits") as source:
        assert source.wcs is not None
        x, y = np.array([30.0]), np.array([20.0])
        np.testing.assert_allclose(source.wcs.to_sky(x, y), plain.to_sky(x + 2, y), atol=1e-9)
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "y.fits")
    with open_sky(tmp_path / "y.fits") as source:
        assert source.wcs is None and "wcs_unusable" in source.file.flags


def test_numbers_of_a_header_that_are_written_as_texts_are_numbers() -> None:
    texts = {key: str(value) if isinstance(value, float) else value for key, value in PLAIN.items()}
    found, plain = sky_positions(fits.Header(texts), "x.fits"), sky_positions(fits.Header(PLAIN), "x.fits")
    assert found is not None and plain is not None
    np.testing.assert_array_equal(
        found.to_sky(np.array([3.0]), np.array([9.0])), plain.to_sky(np.array([3.0]), np.array([9.0]))
    )


@pytest.mark.parametrize("equinox", ["J2000", "j2000.0", "", "2000"])
def test_an_equinox_or_a_turn_that_is_no_number_costs_no_position(equinox: str) -> None:
    odd = fits.Header({**PLAIN, "EQUINOX": equinox, "CROTA2": ""})
    found, plain = sky_positions(odd, "x.fits"), sky_positions(fits.Header({**PLAIN, "EQUINOX": 2000.0}), "x.fits")
    assert found is not None and plain is not None
    x, y = np.array([3.0]), np.array([9.0])
    np.testing.assert_allclose(found.to_sky(x, y), plain.to_sky(x, y), rtol=0, atol=2e-5)
    assert odd["EQUINOX"] == equinox


@pytest.mark.parametrize("card", [{"CROTA2": "45 deg"}, {"EQUINOX": "next"}])
def test_a_turn_or_an_equinox_that_cannot_be_read_is_refused(card: dict[str, str]) -> None:
    with pytest.raises(InputError, match=rf"its card {next(iter(card))} has no number"):
        sky_positions(fits.Header({**PLAIN, **card}), "x.fits")


@pytest.mark.parametrize(
    ("kind", "frame", "equinox"),
    [
        ("E", "barycentricmeanecliptic", None),
        ("E", "barycentricmeanecliptic", 1950.0),
        ("E", "barycentricmeanecliptic", 2015.5),
        ("S", "supergalactic", None),
    ],
)
def test_ecliptic_and_supergalactic_axes_are_turned_to_icrs(kind: str, frame: str, equinox: float | None) -> None:
    cards = {**PLAIN, "CTYPE1": f"{kind}LON-TAN", "CTYPE2": f"{kind}LAT-TAN"}
    found = sky_positions(fits.Header(cards | ({"EQUINOX": equinox} if equinox else {})), "x.fits")
    assert found is not None
    ra, dec = found.to_sky(np.array([31.0]), np.array([31.0]))
    of = {1950.0: "B1950", 2015.5: "J2015.5"}
    right = SkyCoord(150, 2, unit="deg", frame=frame, **({"equinox": of[equinox]} if equinox else {})).icrs
    np.testing.assert_allclose([ra[0], dec[0]], [right.ra.deg, right.dec.deg], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.to_pixels(ra, dec), [[31], [31]], atol=1e-6)


def test_axes_of_another_body_have_no_positions() -> None:
    header = fits.Header({**PLAIN, "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN"})
    with pytest.raises(InputError, match="nobody knows where HPLN lies on the sky"):
        sky_positions(header, "x.fits")
