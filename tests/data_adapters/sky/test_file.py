"""Opening FITS files: what .gz and .bz2 unpack to is bounded, and a damaged card is a sentence."""

import bz2
import gzip
import io
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from attn.core.errors import InputError
from attn.data_adapters.sky import file as sky_file
from attn.data_adapters.sky.file import open_fits
from attn.data_adapters.sky.fits import describe_fits, read_fits
from attn.data_adapters.sky.source import open_sky

GALAXY = np.random.default_rng(0).normal(10, 1, (32, 32)).astype(np.float32)


def plain(data: np.ndarray = GALAXY) -> bytes:
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(data), fits.ImageHDU(data + 1, name="LAST")]).writeto(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_packed_files_are_as_long_as_what_is_inside(tmp_path: Path, pack: object) -> None:
    (tmp_path / "x.fits").write_bytes(pack(plain()))  # type: ignore[operator]
    with open_fits(tmp_path / "x.fits") as file:
        assert file.size == len(plain())
    np.testing.assert_array_equal(read_fits(tmp_path / "x.fits").data[:, :, 0], GALAXY)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_bomb_is_refused_while_it_is_unpacked(tmp_path: Path, pack: object) -> None:
    header = fits.PrimaryHDU(np.zeros((1, 1), np.uint8)).header
    header["NAXIS1"], header["NAXIS2"] = 8_000, 10_000
    bomb = header.tostring().encode() + bytes(80_000_000)
    (tmp_path / "x.fits.gz").write_bytes(pack(bomb))  # type: ignore[operator]
    del bomb
    start = time.process_time()
    with pytest.raises(InputError, match="unpacks to more than 67,108,864 bytes"):
        describe_fits(tmp_path / "x.fits.gz")
    assert time.process_time() - start < 5


def test_a_large_file_may_shrink_as_images_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sky_file, "SMALL", 1000)
    (tmp_path / "x.fits.gz").write_bytes(gzip.compress(plain()))
    assert read_fits(tmp_path / "x.fits.gz").data.shape == (32, 32, 1)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_packed_file_that_is_cut_off(tmp_path: Path, share: float) -> None:
    """An image that is whole is read; one that is not is refused with the byte where it ends."""
    content = gzip.compress(plain(np.random.default_rng(0).normal(10, 1, (64, 64)).astype(np.float32)))
    (tmp_path / "x.fits.gz").write_bytes(content[: int(len(content) * share)])
    if share == 0.3:
        with pytest.raises(InputError, match="truncated: the file ends at byte"):
            read_fits(tmp_path / "x.fits.gz")
    else:
        assert "truncated" in read_fits(tmp_path / "x.fits.gz").flags


@pytest.mark.parametrize(
    "card", [b"BITPIX  =                  -3x", b"BITPIX  = 'a", b"BITPIX  =                1e308"]
)
def test_a_damaged_bitpix_card(tmp_path: Path, card: bytes) -> None:
    content = plain()
    at = content.index(b"BITPIX")
    (tmp_path / "x.fits").write_bytes(content[:at] + card.ljust(80) + content[at + 80 :])
    for read in (read_fits, describe_fits):
        with pytest.raises(InputError, match=r"x\.fits"):
            read(tmp_path / "x.fits")
    with pytest.raises(InputError, match=r"x\.fits"), open_sky(tmp_path / "x.fits") as source:
        source.section(slice(None), slice(None))


@pytest.mark.parametrize("card", [b"BZERO   =                   1x", b"BSCALE  = 'a"])
def test_a_damaged_card_of_the_scale(tmp_path: Path, card: bytes) -> None:
    content = plain(GALAXY.astype(np.uint8))
    at = content.index(b"EXTEND")
    (tmp_path / "x.fits").write_bytes(content[:at] + card.ljust(80) + content[at + 80 :])
    with pytest.raises(InputError, match=r"x\.fits"), open_sky(tmp_path / "x.fits") as source:
        source.section(slice(None), slice(None))
