"""Wavelengths by the names that surveys and instruments give their filters."""

import pytest

from attn.data_adapters.sky.band_names import wavelength


@pytest.mark.parametrize(
    ("name", "nanometres"),
    [
        ("r", 623),
        ("SDSS r", 623),
        ("r.MP9601", 623),
        ("r DECam SDSS c0002 6415.0 1480.0", 623),
        ("HSC-I", 763),
        ("HSC-R2", 623),
        ("g.00000", 478),
        ("i_39", 763),
        ("rp", 623),
        ("GIMG", 478),
        ("Bessell V", 551),
        ("H-alpha", 656),
        ("Ha", 656),
        ("NB0921", 921),
        ("IA624", 624),
        ("F606W", 606),
        ("F814W;CLEAR2L", 814),
        ("F160W", 1600),
        ("F444W", 4440),
        ("F1500W", 15000),
        ("N964 DECam c0008 9645.0 94.0", 964),
        ("N-B-L816", 816),
        ("HA6563", 656),
        ("gSDSS", 478),
        ("zg", 478),
        ("Roman F184", 1840),
        ("s-plus_F861", 861),
        ("f158_r", 623),
        ("UVM2", 225),
        ("POSSII-J", 460),
        ("SERC-I", 830),
        ("RG610", 650),
        ("IRAC 3.6", 3600),
        ("IRAC 4.5um", 4500),
        ("24 micron", 24000),
        ("PLW", 500000),
    ],
)
def test_a_band_is_known_by_one_of_its_words(name: str, nanometres: float) -> None:
    assert wavelength(name) == nanometres


@pytest.mark.parametrize(
    ("name", "band"),
    [("W-J-B", "b"), ("W-J-V", "v"), ("W-S-R+", "r"), ("W-C-RC", "rc"), ("W-S-I+", "i"), ("W-S-Z+", "z")],
)
def test_the_letter_of_subarus_filter_system_is_no_band(name: str, band: str) -> None:
    assert wavelength(name) == wavelength(band) != wavelength("J")


@pytest.mark.parametrize(
    "name", ["Clear", "OG590", "SCI", "", "F675", "GPSF", "F410M", "NGC4321", "n4321", "field_f430"]
)
def test_other_names_are_no_bands(name: str) -> None:
    assert wavelength(name) is None


@pytest.mark.parametrize(
    ("name", "instrument", "nanometres"),
    [
        ("F410M", "JWST NIRCAM", 4100),
        ("F410M", "HST WFC3 UVIS", 410),
        ("F200W", "NIRISS", 2000),
        ("F300W", "HST WFPC2", 300),
        ("F170W", "HST WFPC2", 170),
        ("F110W", "HST NICMOS", 1100),
        ("F222M", "HST NICMOS", 2220),
        ("F105W", "HST WFC3 IR", 1050),
        ("F770W", "JWST MIRI", 7700),
        ("v", "SkyMapper", 384),
        ("F158", "ROMAN WFI", 1580),
        ("F430", "T80Cam", 430),
    ],
)
def test_the_instrument_says_what_the_number_of_a_filter_counts(name: str, instrument: str, nanometres: float) -> None:
    assert wavelength(name, instrument) == nanometres
