"""Catalogues: columns by their many names, and what is no catalogue."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from attn.core.errors import InputError
from attn.data_adapters.sky.catalog import Catalog, read_catalog


def read(tmp_path: Path, text: str) -> Catalog:
    (tmp_path / "x.csv").write_text(text)
    return read_catalog(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("header", "ra", "x"),
    [
        ("RA,Dec", 150, np.nan),
        (" RAJ2000 ,_DEJ2000", 150, np.nan),
        ("ALPHA_J2000,DELTAWIN_J2000", 150, np.nan),
        ("xcentroid,ycentroid", np.nan, 150),
        ("X_IMAGE,Y_IMAGE", np.nan, 149),
        ("x,y_image", None, None),
        ("ra,y", None, None),
    ],
)
def test_positions_by_the_names_that_catalogues_use(
    tmp_path: Path, header: str, ra: float | None, x: float | None
) -> None:
    text = f"{header}\n150,2\n"
    if ra is None:
        with pytest.raises(InputError, match="no columns ra and dec, or x and y; it has"):
            read(tmp_path, text)
    else:
        found = read(tmp_path, text)
        np.testing.assert_array_equal([found.ra[0], found.x[0]], [ra, x])


def test_rows_without_a_name_have_their_number(tmp_path: Path) -> None:
    assert read(tmp_path, "x,y,Name\n1,2,NGC 1\n3,4,\n5,6,  \n").ids == ["NGC 1", "2", "3"]
    assert read(tmp_path, "x,y\n1,2\n3,4\n").ids == ["1", "2"]


def test_cells_that_are_no_number_are_nan(tmp_path: Path) -> None:
    found = read(tmp_path, "ra,dec,size,size_arcsec\n12h30m,2,64,\n,,big,1.5\n")
    np.testing.assert_array_equal(found.ra, [np.nan, np.nan])
    np.testing.assert_array_equal(found.dec, [2, np.nan])
    np.testing.assert_array_equal(found.size, [64, np.nan])
    np.testing.assert_array_equal(found.size_arcsec, [np.nan, 1.5])


def test_columns_of_several_values_are_left_out_of_fits_tables(tmp_path: Path) -> None:
    Table({"ra": [1.0, 2.0], "dec": [3, 4], "x": np.ones((2, 3)), "id": ["a", "b"]}).write(tmp_path / "x.fits")
    found = read_catalog(tmp_path / "x.fits")
    assert found.ids == ["a", "b"] and found.dec.tolist() == [3, 4] and np.isnan(found.x).all()


def test_what_is_no_catalogue(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_catalog(tmp_path / "absent.csv")
    with pytest.raises(InputError, match="has no rows"):
        read(tmp_path, "ra,dec\n")
    fits.PrimaryHDU(np.zeros((8, 8))).writeto(tmp_path / "image.fits")
    with pytest.raises(InputError, match="no table in it"):
        read_catalog(tmp_path / "image.fits")


def test_a_billion_rows_without_bytes_are_refused_at_once(tmp_path: Path) -> None:
    header = fits.Header({"XTENSION": "BINTABLE", "BITPIX": 8, "NAXIS": 2, "NAXIS1": 0, "NAXIS2": 1_000_000_000})
    header.update({"PCOUNT": 0, "GCOUNT": 1, "TFIELDS": 2, "TTYPE1": "ra", "TFORM1": "0A"})
    header.update({"TTYPE2": "dec", "TFORM2": "0A"})
    (tmp_path / "x.fits").write_bytes((fits.PrimaryHDU().header.tostring() + header.tostring()).encode())
    with pytest.raises(InputError, match="declares 1,000,000,000 rows in 5,760 bytes"):
        read_catalog(tmp_path / "x.fits")
