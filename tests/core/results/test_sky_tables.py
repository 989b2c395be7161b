"""FITS, ECSV and VOTable: what a table holds comes back out of astropy's readers."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from astropy.io import fits
from astropy.table import Table

from attn.core.errors import UsageError
from attn.core.results.sky_tables import FORMATS, write_sky_table
from attn.core.results.tables import TableWriter

SUFFIXES = sorted(FORMATS)


def read(path: Path) -> Table:
    table = Table.read(path, format=FORMATS[path.suffix])
    table.convert_bytestring_to_unicode()
    return table


@pytest.fixture(params=SUFFIXES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"rows{request.param}"


def cells(table: Table, name: str) -> list[object]:
    return [None if cell == "" else cell for cell in np.ma.asarray(table[name]).tolist()]


def test_types_and_nulls(path: Path) -> None:
    columns = {
        "text": ["M 51; NGC 5194", None, "bärig", "", "<&>'\""],
        "whole": [999_999, None, -(2**62), 0, 1],
        "number": [0.1, None, -1e300, 0.0, 1.0],
        "small": pl.Series([1, None, 127, 0, -128], dtype=pl.Int8),
        "huge": pl.Series([2**64 - 1, None, 0, 1, 2], dtype=pl.UInt64),
        "yes": [True, False, True, False, False],
        "nothing": [None] * 5,
    }
    write_sky_table(pl.DataFrame(columns), path, path.suffix)
    table = read(path)
    assert table.colnames == [*columns]
    assert cells(table, "text") == ["M 51; NGC 5194", None, "bärig", None, "<&>'\""]
    assert cells(table, "whole") == columns["whole"]
    assert cells(table, "number") == columns["number"]
    assert cells(table, "small") == [1, None, 127, 0, -128]
    assert [None if cell is None else int(str(cell)) for cell in cells(table, "huge")] == [2**64 - 1, None, 0, 1, 2]
    assert cells(table, "yes") == columns["yes"]
    assert cells(table, "nothing") == [None] * 5


def test_whole_numbers_stay_whole(path: Path) -> None:
    write_sky_table(pl.DataFrame({"objid": [1237648720693755918, None]}), path, path.suffix)
    assert cells(read(path), "objid") == [1237648720693755918, None]


def test_control_characters_are_spelt_out(path: Path) -> None:
    write_sky_table(pl.DataFrame({"a\nb": ["line\nbreak\x00\x1b[31m"]}), path, path.suffix)
    table = read(path)
    (name,) = table.colnames
    assert table[name][0] == r"line\nbreak\x00\x1b[31m"


@pytest.mark.parametrize("names", [("p_é", "p_ü"), ("p_S", "p_s"), ("p a", "p_a")])
def test_names_that_a_format_takes_for_one_stay_two_columns(path: Path, names: tuple[str, str]) -> None:
    write_sky_table(pl.DataFrame({names[0]: [1.0], names[1]: [2.0]}), path, path.suffix)
    if path.suffix == ".fits":
        with fits.open(path) as hdus:
            assert [hdus[1].data.field(k)[0] for k in (0, 1)] == [1, 2]
        return
    table = read(path)
    assert [table[name][0] for name in table.colnames] == [1, 2]


def test_a_table_without_rows(path: Path) -> None:
    write_sky_table(pl.DataFrame({"id": [], "p": []}, schema={"id": pl.String, "p": pl.Float64}), path, path.suffix)
    assert (read(path).colnames, len(read(path))) == (["id", "p"], 0)


def test_more_columns_than_fits_has_are_told_with_the_first_rows(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"at most 999 columns, .* 1,000"), TableWriter(tmp_path / "r.fits") as table:
        table.write([{f"e{k}": 0.0 for k in range(1000)}])
