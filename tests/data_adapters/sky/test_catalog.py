"""Catalogues: columns by their many names, and what is no catalogue."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from astropy.coordinates import SkyCoord
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
        ("Right Ascension,Declination", 150, np.nan),
        ("X_WORLD,Y_WORLD", 150, np.nan),
        ("plug_ra,plug_dec", 150, np.nan),
        ("TARGETRA,TARGETDEC", 150, np.nan),
        ("RA_deg_J2000,DE_deg_J2000", 150, np.nan),
        ("pmra,pmdec,x,y", np.nan, 3),
        ("plug_ra,plug_dec,x,y", np.nan, 3),
        ("e_rajd,e_decjd", None, None),
        ("x,y_image", None, None),
        ("ra,y", None, None),
    ],
)
def test_positions_by_the_names_that_catalogues_use(
    tmp_path: Path, header: str, ra: float | None, x: float | None
) -> None:
    text = f"{header}\n{'150,2,3,4' if header.count(',') == 3 else '150,2'}\n"
    if ra is None:
        with pytest.raises(InputError, match="no columns ra and dec, or x and y; it has"):
            read(tmp_path, text)
    else:
        found = read(tmp_path, text)
        np.testing.assert_array_equal([found.ra[0], found.x[0]], [ra, x])


def test_named_pixels_win_over_a_pair_of_other_columns(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,c,r,plug_ra,plug_dec\na,10,20,1.2,-3\n")
    found = read_catalog(tmp_path / "x.csv", {"x": "c", "y": "r"})
    assert (found.x[0], found.y[0]) == (10, 20) and np.isnan(found.ra).all()


def test_rows_without_a_name_have_their_number(tmp_path: Path) -> None:
    assert read(tmp_path, "x,y,Name\n1,2,NGC 1\n3,4,\n5,6,  \n").ids == ["NGC 1", "2", "3"]
    assert read(tmp_path, "x,y\n1,2\n3,4\n").ids == ["1", "2"]


def test_cells_that_are_no_number_are_nan(tmp_path: Path) -> None:
    found = read(tmp_path, "ra,dec,x,y,size,size_arcsec\ntwelve,2,1,1,64,\n,,1,1,big,1.5\n")
    np.testing.assert_array_equal(found.ra, [np.nan, np.nan])
    np.testing.assert_array_equal(found.dec, [2, np.nan])
    np.testing.assert_array_equal(found.size, [64, np.nan])
    np.testing.assert_array_equal(found.size_arcsec, [np.nan, 1.5])


def test_columns_of_several_values_are_left_out_of_fits_tables(tmp_path: Path) -> None:
    Table({"ra": [1.0, 2.0], "dec": [3, 4], "x": np.ones((2, 3)), "id": ["a", "b"]}).write(tmp_path / "x.fits")
    found = read_catalog(tmp_path / "x.fits")
    assert found.ids == ["a", "b"] and found.dec.tolist() == [3, 4] and np.isnan(found.x).all()


def test_further_columns_are_carried_along(tmp_path: Path) -> None:
    text = (
        "name,RAJ2000,_RAJ2000,dec,label,mag,survey,y\nA,10:00:00,150,2,spiral,17.5,DR7,9\nB,10:00:04,150.1,2,,,DR8,\n"
    )
    found = read(tmp_path, text)
    assert found.ids == ["A", "B"] and found.ra.tolist() == [150, 150.1]
    others = {name: list(cells) for name, cells in found.extra.items()}
    assert others == {
        "RAJ2000": ["10:00:00", "10:00:04"],
        "given_label": ["spiral", None],
        "mag": [17.5, None],
        "survey": ["DR7", "DR8"],
        "given_y": [9, None],  # without x it is no position
    }
    Table({"X": [1.0], "Y": [2.0], "Z": [0.5], "note": ["ü"]}).write(tmp_path / "x.vot", format="votable")
    extra = read_catalog(tmp_path / "x.vot").extra
    assert {name: list(cells) for name, cells in extra.items()} == {"Z": [0.5], "note": ["ü"]}


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


RA, DEC = [150.0021, 149.9978], [1.99858, -0.00149]


def texts() -> dict[str, str]:
    """One catalogue in many forms."""
    plain = "\n".join(f"{k},{ra},{dec}" for k, (ra, dec) in enumerate(zip(RA, DEC, strict=True), 1)) + "\n"
    blanks = plain.replace(",", " ")
    hours = "1,10:00:00.504,+01:59:54.888\n2,09:59:59.472,-00:00:05.364\n"
    ecsv = "# %ECSV 1.0\n# ---\n# datatype:\n" + "".join(
        f"# - {{name: {name}, datatype: {kind}}}\n"
        for name, kind in (("id", "int64"), ("ra", "float64"), ("dec", "float64"))
    )
    return {
        "plain.csv": "id,ra,dec\n" + plain,
        "blanks.csv": "id, ra, dec\n" + plain.replace(",", ", "),
        "comments.csv": "# from TOPCAT\n# more\nid,ra,dec\n" + plain.replace("\n2", "\n# note\n2"),
        "semicolons.csv": "id;ra;dec\n" + plain.replace(",", ";"),
        "units.csv": "id,RA (deg),Dec [deg]\n" + plain,
        "target.csv": "TARGETID,TARGET_RA,TARGET_DEC\n" + plain,
        "radeg.csv": "Name,RAdeg,DEdeg\n" + plain,
        "named.dat": '# id ra dec\n"1" 150.0021 1.99858\n"2" 149.9978 -0.00149\n',
        "mixed.csv": "id,ra,dec\n1,150.0021,1.99858\n" + hours.split("\n")[1],
        "bars.txt": "| id | ra | dec |\n"
        + "".join(f"| {k} | {ra} | {dec} |\n" for k, ra, dec in zip((1, 2), RA, DEC, strict=True)),
        "empty.txt": "|id|ra|dec|note|\n" + "".join(f"||{ra}|{dec}||\n" for ra, dec in zip(RA, DEC, strict=True)),
        "numeral.csv": "# made today\nid,ra,dec,24\n" + plain.replace("\n", ",7\n"),
        "quoted.dat": '# id ra dec note\n1 150.0021  1.99858 "NGC 1"\n2 149.9978 -0.00149 "NGC 2"\n',
        "lines.txt": "id ra dec\n-- --- ---\n" + blanks,
        "hours.csv": "id,ra,dec\n" + hours,
        "spaced.csv": "id,ra,dec\n" + hours.replace(":", " "),
        "letters.csv": "id,ra,dec\n1,10h00m00.504s,+01d59m54.888s\n2,09h59m59.472s,-00d00m05.364s\n",
        "blanks.txt": "id ra dec\n" + blanks,
        "commented.dat": "# id ra dec\n" + blanks,
        "table.ecsv": ecsv + "id ra dec\n" + blanks,
        "sextractor.cat": "#   1 NUMBER  Running number\n#   2 ALPHA_J2000  ra [deg]\n#   3 DELTA_J2000  dec [deg]\n"
        + blanks,
        "vizier.tsv": "#\n#RESOURCE=yCat\n_RAJ2000\tid\tRAJ2000\t_DEJ2000\tDEJ2000\n"
        'deg\t \t"h:m:s"\tdeg\t"d:m:s"\n---\t-\t---\t---\t---\n'
        + "".join(f"{ra}\t{k}\t10 00 00\t{dec}\t+01 00 00\n" for k, ra, dec in zip((1, 2), RA, DEC, strict=True)),
        "vizier.csv": "id,RAJ2000,DEJ2000,_RAJ2000,_DEJ2000\n"
        + "".join(f"{k},10 00 00,+01 00 00,{ra},{dec}\n" for k, (ra, dec) in enumerate(zip(RA, DEC, strict=True), 1)),
    }


@pytest.mark.parametrize("name", texts())
def test_catalogues_as_people_have_them(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(texts()[name])
    found = read_catalog(tmp_path / name)
    assert found.ids == ["1", "2"]
    np.testing.assert_allclose(found.ra, RA, atol=1e-9)
    np.testing.assert_allclose(found.dec, DEC, atol=1e-9)


@pytest.mark.parametrize(
    "form", ["votable", "fits", "fits.gz", "ldac", "ipac", "mrt", "parquet", "radians", "skycoord", "csv.gz"]
)
def test_catalogues_in_formats_of_their_own(tmp_path: Path, form: str) -> None:
    table = Table({"id": [1, 2], "ra": RA, "dec": DEC})
    table["ra"].unit = table["dec"].unit = "deg"
    path = tmp_path / f"catalogue.{form}"
    if form == "ldac":
        head = fits.BinTableHDU(Table({"Field Header Card": ["SIMPLE"]}), name="LDAC_IMHEAD")
        fits.HDUList([fits.PrimaryHDU(), head, fits.BinTableHDU(table, name="LDAC_OBJECTS")]).writeto(path)
    elif form == "parquet":
        pl.DataFrame({name: list(table[name]) for name in table.colnames}).write_parquet(path)
    elif form == "csv.gz":
        path.write_bytes(gzip.compress(texts()["plain.csv"].encode()))
    elif form == "skycoord":
        sky = SkyCoord(table["ra"], table["dec"])
        Table({"id": [1, 2], "sky_centroid": sky}).write(path, format="ascii.ecsv")
    elif form == "radians":
        table["ra"], table["dec"] = table["ra"].to("rad"), table["dec"].to("rad")
        table.write(path, format="fits")
    else:
        table.write(path, format={"ipac": "ascii.ipac", "mrt": "ascii.mrt"}.get(form, form.removesuffix(".gz")))
    found = read_catalog(path)
    assert found.ids == ["1", "2"]
    np.testing.assert_allclose(found.ra, RA, atol=1e-9)
    np.testing.assert_allclose(found.dec, DEC, atol=1e-9)


def test_columns_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,ra,dec,lon,lat,who\n1,1,2,150,2,a\n")
    found = read_catalog(tmp_path / "x.csv", {"ra": "lon", "dec": "lat", "id": "who"})
    assert (found.ids, found.ra[0], found.dec[0]) == (["a"], 150, 2)
    with pytest.raises(InputError, match="no column 'long'; it has id, ra, dec, lon, lat, who; choose one with --ra"):
        read_catalog(tmp_path / "x.csv", {"ra": "long"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"id,ra,dec\n1,north,2\n", "'north' in its column 'ra' is no angle; write degrees"),
        (b"id,ra,dec\n1,10:61:00,2\n", "'10:61:00' in its column 'ra' is no angle"),
        (b"\x89HDF\r\n\x1a\n" + bytes(80), "an HDF5 file, not a table; CSV, TSV, ECSV"),
        (b"\xff\xd8\xff" + bytes(80), "a JPEG picture, not a table"),
        (b"<?xml version='1.0'?><svg></svg>", "is not a table"),
        (gzip.compress(b"PAR1" + bytes(80), mtime=0), "a Parquet file, packed or by another name; unpack it"),
        (b"# %ECSV 1.0\n# nothing\n", "is not a table"),
    ],
)
def test_what_is_no_position_or_no_table_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.cat").write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_catalog(tmp_path / "x.cat")
