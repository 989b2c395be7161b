"""Damaged FITS files, catalogues and Galaxy10 files through their readers."""

import bz2
import gzip
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from fuzz.mutate import fuzz, mutants

from attn.data_adapters.sky.band_files import read_bands
from attn.data_adapters.sky.catalog import Catalog, read_catalog
from attn.data_adapters.sky.cutouts import cut_rows
from attn.data_adapters.sky.detect import Detection, find_sources
from attn.data_adapters.sky.fits import describe_fits, read_fits
from attn.data_adapters.sky.galaxy10 import Galaxy10
from attn.data_adapters.sky.source import open_sky
from attn.data_adapters.sky.stretch import Stretch, render

SIDE = 16


def written(*units: object) -> bytes:
    buffer = io.BytesIO()
    fits.HDUList(list(units)).writeto(buffer)
    return buffer.getvalue()


def galaxy() -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    noise = np.random.default_rng(0).normal(10, 1, (SIDE, SIDE))
    return (noise + 100 * np.exp(-np.hypot(x, y) / 3)).astype(np.float32)


def headers() -> dict[str, dict[str, object]]:
    """World coordinates by projection: plain, distorted, with parameters, and of the sky beside something else."""
    plain = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 8.0, "CRPIX2": 8.0,
        "CDELT1": -1e-4, "CDELT2": 1e-4, "RADESYS": "FK5", "EQUINOX": 2000.0,
    }  # fmt: skip
    sip = {**plain, "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2}
    sip |= {"A_2_0": 1e-7, "B_0_2": -1e-7, "AP_ORDER": 2, "BP_ORDER": 2, "AP_1_1": 1e-7, "BP_1_1": 1e-7}
    zpn = {**plain, "CTYPE1": "RA---ZPN", "CTYPE2": "DEC--ZPN", "PV2_1": 1.0, "PV2_3": 42.0, "LONPOLE": 180.0}
    tpv = {**plain, "CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_0": 0.0, "PV1_1": 1.0, "PV2_1": 1.0}
    matrix = {key: value for key, value in plain.items() if not key.startswith("CDELT")}
    matrix |= {"CD1_1": -1e-4, "CD1_2": 1e-6, "CD2_1": 1e-6, "CD2_2": 1e-4, "CTYPE1": "GLON-SIN", "CTYPE2": "GLAT-SIN"}
    return {"plain": plain, "sip": sip, "zpn": zpn, "tpv": tpv, "matrix": matrix}


def positioned() -> list[bytes]:
    return [written(fits.PrimaryHDU(galaxy(), fits.Header(cards))) for cards in headers().values()]


def images() -> list[bytes]:
    """One band, scaled integers, a cube, extensions, tiles, packed files."""
    data = galaxy()
    scaled = fits.PrimaryHDU(data.astype(np.int16))
    scaled.header["BSCALE"], scaled.header["BZERO"], scaled.header["BLANK"] = 0.5, 3.0, 12
    cube = fits.PrimaryHDU(np.stack([data, data, data]))
    cube.header["BAND1"], cube.header["BAND2"], cube.header["BAND3"] = "g", "r", "i"
    mask = fits.ImageHDU((data > 50).astype(np.uint8), name="DQ")
    extensions = [fits.PrimaryHDU(), fits.ImageHDU(data, name="SCI"), mask]
    tiles = [
        fits.CompImageHDU(data.astype(np.int16), compression_type=kind) for kind in ("RICE_1", "GZIP_2", "HCOMPRESS_1")
    ]
    summed = io.BytesIO()
    fits.PrimaryHDU(data).writeto(summed, checksum=True)
    plain = [written(fits.PrimaryHDU(data)), written(scaled), written(cube), written(*extensions), summed.getvalue()]
    packed = [written(fits.PrimaryHDU(), unit) for unit in tiles]
    return [*plain, *packed, gzip.compress(plain[0]), bz2.compress(plain[0])]


def catalogues() -> list[bytes]:
    columns = {"id": ["a", "b", "c"], "ra": [150.0, 150.0001, 151.0], "dec": [2.0, 2.0001, 3.0], "x": [8.0, 4.0, 9.0]}
    table = Table({**columns, "y": [8.0, 4.0, 9.0], "vector": np.ones((3, 2)), "size": [8.0, 9.0, 10.0]})
    buffer = io.BytesIO()
    table.write(buffer, format="fits")
    variable = fits.Column("list", "PJ()", array=np.array([[1], [2, 3], []], dtype=object))
    number = fits.Column("ra", "D", array=[150.0, 150.1, 150.2])
    other = fits.BinTableHDU.from_columns([number, fits.Column("dec", "D", array=[2.0, 2.1, 2.2]), variable])
    text = fits.TableHDU.from_columns([number, fits.Column("dec", "F8.3", array=[2.0, 2.1, 2.2])])
    return [buffer.getvalue(), written(fits.PrimaryHDU(), other), written(fits.PrimaryHDU(), text)]


@pytest.fixture
def place(tmp_path: Path) -> Callable[[bytes, str], Path]:
    def put(data: bytes, name: str) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return put


Put = Callable[[bytes, str], Path]


def test_images(place: Put, fuzz_count: int) -> None:
    def read(data: bytes) -> None:
        path = place(data, "x.fits")
        image = read_fits(path)
        render(image.data, Stretch())

    outcomes = fuzz(read, mutants(images(), fuzz_count, "images"))
    assert outcomes["read"] and outcomes["InputError"]


def test_descriptions(place: Put, fuzz_count: int) -> None:
    outcomes = fuzz(lambda data: describe_fits(place(data, "x.fits")), mutants(images(), fuzz_count, "describe"))
    assert outcomes["read"] and outcomes["InputError"]


def test_bands(place: Put, fuzz_count: int) -> None:
    good = [place(data, f"good_{band}.fits") for band, data in zip("gr", images(), strict=False)]

    def read(data: bytes) -> None:
        render(read_bands([good[0], place(data, "x_i.fits"), good[0]]).data, Stretch())

    outcomes = fuzz(read, mutants(images()[:3], fuzz_count, "bands"))
    assert outcomes["read"] and outcomes["InputError"]


@cache
def rows() -> Catalog:
    some, none = np.array([150.0, 150.0004, 151]), np.full(3, np.nan)
    return Catalog(["a", "b", "c"], some, np.array([2.0, 2.0001, 2]), none, none, np.array([8.0, 9, 10]), none)


def test_positions(place: Put, fuzz_count: int) -> None:
    def read(data: bytes) -> None:
        with open_sky(place(data, "x.fits")) as source:
            list(cut_rows(source, rows(), Stretch()))

    outcomes = fuzz(read, mutants(positioned(), fuzz_count // 2, "positions"))
    assert outcomes["read"] and outcomes["InputError"]


def test_detections(place: Put, fuzz_count: int) -> None:
    def read(data: bytes) -> None:
        with open_sky(place(data, "x.fits")) as source:
            for found in find_sources(source, Detection(min_area=5)):
                list(cut_rows(source, found, Stretch()))

    outcomes = fuzz(read, mutants(positioned(), fuzz_count // 2, "detections"))
    assert outcomes["read"] and outcomes["InputError"]


def test_catalogues(place: Put, fuzz_count: int) -> None:
    outcomes = fuzz(
        lambda data: read_catalog(place(data, "x.fits")), mutants(catalogues(), fuzz_count // 2, "catalogues")
    )
    assert outcomes["read"] and outcomes["InputError"]


def galaxy10(**options: object) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=options.pop("libver", None)) as file:  # type: ignore[arg-type]
        file.create_dataset("images", data=np.random.default_rng(0).integers(0, 9, (6, 8, 8, 3), np.uint8), **options)
        file["ans"], file["ra"] = np.arange(6, dtype=np.uint8), np.linspace(0, 1, 6)
        file["class_names"] = [f"kind {k}" for k in range(6)]
        file.attrs["source"] = "drawn"
    return buffer.getvalue()


def test_galaxy10(place: Put, fuzz_count: int) -> None:
    packed = {"chunks": (2, 8, 8, 3), "compression": "gzip", "shuffle": True}
    good = [galaxy10(), galaxy10(**packed), galaxy10(libver="latest", **packed)]

    def read(data: bytes) -> None:
        opened = Galaxy10(place(data, "x.h5"))
        for row in range(min(len(opened), 8)):
            opened.read(row)

    outcomes = fuzz(read, mutants(good, fuzz_count, "galaxy10"))
    assert outcomes["read"] and outcomes["InputError"]
