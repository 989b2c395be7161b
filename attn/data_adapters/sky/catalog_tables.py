"""Tables of sources as people have them, read by astropy: the columns as text or numbers, with their units.

CSV and other delimited text with comments and blanks, ECSV, SExtractor's ASCII_HEAD, IPAC, VizieR's tab-separated and
machine-readable files, VOTable, FITS (LDAC too), each of them packed as well; Parquet, which packs its columns itself.
"""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from attn.core.errors import InputError
from attn.data_adapters.boundary import boundary
from attn.data_adapters.images.pictures import check_regular_file
from attn.data_adapters.library_warnings import caught_warnings
from attn.data_adapters.sky.file import complaints, open_fits, unpacked
from attn.data_adapters.sky.kinds import HEAD, in_words
from attn.data_adapters.tables.header import separator_of
from attn.data_adapters.tables.small import MAX_BYTES, read_table

FORMATS = "CSV, TSV, ECSV, SExtractor's ASCII_HEAD, IPAC, VOTable, FITS and Parquet are read"
_MACHINE_READABLE = "Byte-by-byte Description"  # of the journals of the AAS, and of the CDS
_DASHES = re.compile(r"[-\s|;,]*-[-\s|;,]*")  # below the units of a VizieR table


@dataclass(frozen=True)
class TableColumn:
    """Cells (N,), text or numbers, and their unit as the table writes it. A missing cell is empty text or NaN."""

    cells: NDArray[Any]
    unit: str = ""


def read_columns(path: Path) -> dict[str, TableColumn]:
    """The columns of one value a row, in the order of the table. InputError: unreadable, or no table."""
    check_regular_file(path)
    with unpacked(path) as stream:
        start = stream.read(HEAD)
        if start.startswith(b"PAR1"):
            if not path.name.lower().endswith(".parquet"):
                raise InputError(
                    "a Parquet file, packed or by another name", where=path, hint="unpack it to NAME.parquet"
                )
            return {column.name: TableColumn(_of_polars(column)) for column in read_table(path)}
        if start.startswith(b"SIMPLE"):
            return _of_fits(path)
        words = in_words(start)
        if words not in (None, "a text file", "a VOTable", "a web page or another XML document"):
            raise InputError(f"{words}, not a table", where=path, hint=FORMATS)
        content = start + stream.read(MAX_BYTES)
    if len(content) > MAX_BYTES:
        raise InputError(f"has more than {MAX_BYTES:,} bytes; no larger table is read whole", where=path)
    with boundary(path, "is not a table", f"check the file: {FORMATS}"), caught_warnings():
        if start.lstrip().startswith(b"<"):
            return _of_astropy(_votable(content))
        return _of_astropy(_text(content.decode("utf-8-sig", "replace"), tabs=".tsv" in path.name.lower()))


def _votable(content: bytes) -> Any:
    from astropy.io.votable import parse_single_table

    return parse_single_table(io.BytesIO(content)).to_table(use_names_over_ids=True)


def _text(text: str, *, tabs: bool) -> Any:
    """An astropy table of text in any of its formats, told by how it begins. Cells of delimited text stay text."""
    from astropy.io import ascii

    as_text = {"*": [ascii.convert_numpy(str)]}
    lines = [line for line in text.splitlines() if line.strip()]
    body = [line for line in lines if not line.lstrip().startswith("#")]
    if text.startswith("# %ECSV"):
        return ascii.read(text, format="ecsv", guess=False)
    if re.match(r"#\s*1\s+\S+", lines[0] if lines else ""):
        return ascii.read(text, format="sextractor", guess=False)
    if text.startswith("|") and lines[-1].startswith("|"):  # those of IPAC begin with a blank
        body = [line.strip().removeprefix("|").removesuffix("|") for line in body]
    elif text.startswith(("\\", "|")):
        return ascii.read(text, format="ipac", guess=False)
    if _MACHINE_READABLE in text:
        return ascii.read(text, format="mrt", guess=False)
    comments = [line for line in lines[: len(lines) - len(body)] if line.lstrip().startswith("#")]
    separator = separator_of("\n".join(body[:2]), tabs=tabs)
    separator = separator if body and separator in body[0] else r"\s"
    if comments and body and _has_number(cells := _cells(body[0], separator)):
        names = comments[-1].lstrip()[1:]
        body = [names, *body] if len(_cells(names, separator)) == len(cells) else body
    for dashes in (1, 2):  # VizieR: names, units, dashes
        if len(body) > dashes and _DASHES.fullmatch(body[dashes]) and separator != ",":
            body = [body[0], *body[dashes + 1 :]]
    kind = "basic" if separator == r"\s" else "csv"
    return ascii.read(body, format=kind, delimiter=separator, comment="#", converters=as_text, guess=False)


def _cells(line: str, separator: str) -> list[str]:
    if separator == r"\s":
        separator, line = " ", line.strip().replace("\t", " ")
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])]


def _has_number(cells: list[str]) -> bool:
    return any(re.fullmatch(r"[-+]?[\d.]+(?:[eE][-+]?\d+)?", cell) for cell in cells)


def _of_astropy(table: Any) -> dict[str, TableColumn]:
    columns: dict[str, TableColumn] = {}
    for name in table.colnames:
        column = table[name]
        if hasattr(column, "icrs"):  # SkyCoord, as photutils writes it
            icrs = column.icrs
            columns |= {"ra": TableColumn(icrs.ra.deg, "deg"), "dec": TableColumn(icrs.dec.deg, "deg")} | columns
        elif getattr(column, "ndim", 0) == 1 and hasattr(column, "dtype") and column.dtype.kind in "iufUSOb":
            columns[str(name)] = TableColumn(_plain(column), str(getattr(column, "unit", None) or ""))
    return columns


def _plain(column: Any) -> NDArray[Any]:
    """Text or float64; what is masked is empty or NaN."""
    cells, missing = np.asarray(np.ma.getdata(column)), np.ma.getmaskarray(column)
    if cells.dtype.kind in "iuf" and not missing.any():
        return cells
    if cells.dtype.kind in "iuf":
        return np.where(missing, np.nan, cells.astype(np.float64))
    if cells.dtype.kind == "S":
        cells = np.char.decode(cells, "utf-8", "replace")
    return np.where(missing, "", cells.astype(str))


def _of_polars(column: pl.Series) -> NDArray[Any]:
    if column.dtype.is_numeric():
        return column.to_numpy() if not column.null_count() else column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return np.array([cell or "" for cell in column.cast(pl.String, strict=False).to_list()], str)


def _of_fits(path: Path) -> dict[str, TableColumn]:
    """The first table in a FITS file that has several rows or is the only one; LDAC begins with one of its header."""
    with open_fits(path) as file, complaints(file, "its table cannot be read"):
        tables = [unit for unit in file.hdus if getattr(unit, "columns", None) is not None and not unit.is_image]
        if not tables:
            raise InputError("no table in it", where=path, hint=FORMATS)
        unit = next((unit for unit in tables if str(unit.name).upper() != "LDAC_IMHEAD"), tables[0])
        if (rows := int(unit.header["NAXIS2"])) > file.size:
            raise InputError(f"declares {rows:,} rows in {file.size:,} bytes", where=path, hint="get it again")
        data = unit.data
        columns = {}
        for name, unit_of in zip(unit.columns.names, unit.columns.units, strict=True):
            cells = np.asarray(data[name])
            if cells.ndim == 1 and cells.dtype.kind in "iufUS":
                cells = cells.astype(str) if cells.dtype.kind in "US" else cells.astype(cells.dtype.newbyteorder("="))
                columns[str(name)] = TableColumn(cells, str(unit_of or ""))
        return columns
