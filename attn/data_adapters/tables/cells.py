"""What a cell says: its text as a category, its quantity, its hour; the same whatever type the table gives it.

`12`, `12.0` and "12" are one value, `true`, "True" and 1 another. A time is what its writer's clock showed: the zone is
left out. The exported scorer (`attn.apps.ctr.serving.score`) reads cells by the same rules in plain Python; a test
compares the two on all kinds of columns.

Shapes: N rows.
"""

import math
from collections.abc import Collection

import numpy as np
import polars as pl

from attn.core.errors import InputError
from attn.data_adapters.boundary import boundary
from attn.data_adapters.tables.fields import Field
from attn.data_adapters.tables.plain import joined, plain

MISSING_TEXTS = (  # what pandas reads as missing, what databases write, and what stands in published tables
    *("", "#N/A", "<NA>", "N/A", "n/a", "NA", "NULL", "Null", "null", "NaN", "NAN", "nan", "-nan", "None", "NaT"),
    *(r"\N", "-", "?"),
)
TRUTH = {"True": "1", "true": "1", "TRUE": "1", "False": "0", "false": "0", "FALSE": "0"}
WHOLE = r"^([+-]?[0-9]+)\.0+$"

CLOCK = r"([01][0-9]|2[0-3])(?::[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]+)?)?)?"
ZONE = r"(?: ?(?:Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?))?"
YEAR_FIRST = rf"^([0-9]{{4}})[-/]([0-9]{{2}})[-/]([0-9]{{2}})(?:[ T]{CLOCK}{ZONE})?$"
DAY_FIRST = rf"^([0-9]{{2}})[-/]([0-9]{{2}})[-/]([0-9]{{4}})(?:[ T]{CLOCK}{ZONE})?$"
HOUR_ALONE = r"^([01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]+)?)?$"
EPOCH, SHORT_EPOCH = r"^(-?[0-9]{9,19})(?:\.[0-9]*)?$", r"^(-?[0-9]{1,19})(?:\.[0-9]*)?$"
SINCE_1970 = "%s"  # the format of such times; milliseconds to nanoseconds are known by their size

BESIDE = r"^\s+|\s+$|[$€£¥₹%']\s*"  # what stands beside or within the digits of a number
SPACED = r"^[+-]?[0-9]{1,3}(?:\s[0-9]{3})+(?:[.,][0-9]+)?\s*$"
POINT, COMMA = r"^[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?$", r"^[+-]?[0-9]{1,3}(?:\.[0-9]{3})+(?:,[0-9]+)?$"
COMMA_ALONE = r"^[+-]?[0-9]*,[0-9]+$"
LARGEST = float(np.finfo(np.float32).max)

POSITIVE = ("1", "1.0", "+1", "true", "True", "TRUE", "yes", "Yes", "YES", "y", "Y", "t", "T")
NEGATIVE = ("0", "0.0", "-1", "-1.0", "false", "False", "FALSE", "no", "No", "NO", "n", "N", "f", "F")


def as_text(cells: pl.Series, one: Field) -> pl.Series:
    """The cells of a category or a set as text, null where empty; of a time, its part."""
    if one.kind == "time":
        return _part_of_time(cells, one)
    if cells.dtype.is_float() or cells.dtype.is_decimal() or cells.dtype == pl.Boolean:
        return plain(cells, pl.String(), one.column)
    if isinstance(cells.dtype, pl.List | pl.Array):
        return joined(cells, one.separator)
    text = cells.cast(pl.String)
    return text.set(text == "", None) if (text == "").any() else text


def canonical(values: pl.Series, whole: Field | None = None, kept: Collection[str] = ()) -> pl.Series:
    """The one text that stands for each of some texts, null for those that mean a missing value unless they are `kept`.

    whole: the set whose members a text has, in any order, where it stands for the set as a whole.
    """
    text = values.str.strip_chars().str.replace(WHOLE, "$1").replace(TRUTH)
    text = text.set(text.is_in([each for each in MISSING_TEXTS if each not in kept]), None)
    if whole is None:
        return text
    each = members(text, whole)
    each = each.with_columns(canonical(each["value"], kept=kept)).drop_nulls().unique(["cell", "value"])
    each = each.sort("cell", "value").group_by("cell", maintain_order=True).agg("value")
    sets = pl.Series(values.name, [None] * len(text), pl.String)
    return sets.scatter(each["cell"], each["value"].list.join(whole.separator))


def members(values: pl.Series, one: Field) -> pl.DataFrame:
    """The distinct members of each cell: columns cell, value, position; of a sequence all, the last one first."""
    frame = pl.DataFrame({"value": values.str.split(one.separator)}).with_row_index("cell").explode("value")
    frame = frame.with_columns(pl.col("value").str.strip_chars().str.strip_chars(one.around or " "))
    frame = frame.filter(pl.col("value") != "")
    if one.kind == "sequence":
        return frame.with_columns(position=(pl.len() - 1 - pl.int_range(pl.len())).over("cell"))
    frame = frame.unique(["cell", "value"], maintain_order=True)
    return frame.with_columns(position=pl.int_range(pl.len()).over("cell"))


def as_numbers(cells: pl.Series, decimal: str = ".") -> np.ndarray:
    """The cells of a number as floats (N,), NaN for every cell that is none; a duration in seconds.

    Text may have a currency, a percent sign, and commas between thousands; decimal: "," where it is the decimal mark.
    """
    if cells.dtype == pl.Duration:
        x_n = cells.dt.total_nanoseconds().cast(pl.Float64).fill_null(math.nan).to_numpy() / 1e9
    elif cells.dtype == pl.String:
        x_n = _numbers_of_text(cells, decimal)
    else:
        x_n = cells.cast(pl.Float64, strict=False).fill_null(math.nan).to_numpy()
    return np.where(np.isfinite(x_n), np.clip(x_n, -LARGEST, LARGEST), x_n)


def unread(cells: pl.Series, missing_n: np.ndarray) -> np.ndarray:
    """Of cells (N,) that became missing: whether they do say something."""
    said_n = missing_n.copy()
    if missing_n.any() and cells.dtype == pl.String:
        said_n[missing_n] = canonical(cells.filter(pl.Series(missing_n))).is_not_null().to_numpy()
    elif missing_n.any():
        said_n &= (cells.fill_nan(None) if cells.dtype.is_float() else cells).is_not_null().to_numpy()
    return said_n


def as_labels(cells: pl.Series, where: str, first: int) -> np.ndarray:
    """Labels (N,) of 0 and 1, of 1 and -1, or of yes and no. InputError: the first row, from 1, without one."""
    if cells.dtype == pl.String:
        text = cells.str.strip_chars()
        labels = text.is_in(POSITIVE).cast(pl.UInt8)
        bad = ~(text.is_in(POSITIVE) | text.is_in(NEGATIVE)).fill_null(False)
    else:
        numbers = cells.cast(pl.Float64, strict=False)
        labels = (numbers == 1).cast(pl.UInt8)
        bad = ~numbers.is_in([-1.0, 0.0, 1.0]).fill_null(False)
    if bad.any():
        row = int(bad.arg_max() or 0)
        value = cells[row]
        if str(value).strip() == cells.name:
            raise InputError(f"repeats the header in row {first + row + 1}", where=where, hint="drop that row")
        found = "is empty" if value is None else f"is {str(value)[:40]!r}"
        raise InputError(
            f"the label {cells.name!r} {found} in row {first + row + 1}",
            where=where,
            hint="labels are 0 and 1, or yes and no; drop or mend the other rows",
        )
    return labels.to_numpy()


def _numbers_of_text(cells: pl.Series, decimal: str) -> np.ndarray:
    x = cells.cast(pl.Float64, strict=False)
    marked = (cells.str.contains(",", literal=True) | x.is_null()) if decimal == "," else x.is_null()
    if decimal == ",":  # 1.234 is a thousand there
        marked |= cells.str.contains(COMMA)
    rest = (marked & cells.is_not_null()).arg_true()
    if len(rest):
        bare = pl.col("text").str.replace_all(BESIDE, "")
        text = (
            pl.when(bare.str.contains(SPACED)).then(bare.str.replace_all(r"\s", "")).otherwise(bare.str.strip_chars())
        )
        whole = text.str.replace_all(",", "", literal=True)
        broken = text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
        by_point, by_comma = (text.str.contains(POINT), whole), (text.str.contains(f"{COMMA}|{COMMA_ALONE}"), broken)
        (one, read), (other, read_so) = (by_point, by_comma) if decimal == "." else (by_comma, by_point)
        found = pl.when(one).then(read).when(other).then(read_so).otherwise(text).cast(pl.Float64, strict=False)
        x = x.scatter(rest, pl.DataFrame({"text": cells.gather(rest)}).select(found).to_series())
    return x.fill_null(math.nan).to_numpy()


def _part_of_time(cells: pl.Series, one: Field) -> pl.Series:
    if cells.dtype == pl.Time:
        return (cells.dt.hour() if one.part == "hour" else cells.set(cells.is_not_null(), None)).cast(pl.String)
    if cells.dtype.is_temporal():
        return (cells.dt.hour() if one.part == "hour" else cells.dt.weekday()).cast(pl.String)
    if cells.dtype.is_float():
        cells = as_text(cells, Field(name=one.name, column=one.column, kind="category"))
    text = canonical(cells.cast(pl.String))
    found = _written(text, one)
    if one.format not in (None, SINCE_1970):
        form, padded = one.format, text
        if "%H" in form and "%M" not in form:
            padded, form = text + "00", form + "%M"  # hours alone are no time to the parser
        with boundary(f"column {one.column!r}", f"the format {one.format!r} does not tell a time"):
            times = padded.str.to_datetime(form, strict=False)
        formatted = (times.dt.hour() if one.part == "hour" else times.dt.weekday()).cast(pl.String)
        return formatted.zip_with(formatted.is_not_null(), found)
    return found


def _written(text: pl.Series, one: Field) -> pl.Series:
    """The part of times as ISO 8601 writes them, with the day first, or since 1970."""
    frame = pl.DataFrame({"text": text})
    epoch = pl.col("text").str.extract(SHORT_EPOCH if one.format == SINCE_1970 else EPOCH).cast(pl.Int64, strict=False)
    groups = [pl.col("text").str.extract_groups(pattern) for pattern in (YEAR_FIRST, DAY_FIRST)]
    dates = []
    for group, (year, month, day) in zip(groups, (("1", "2", "3"), ("3", "2", "1")), strict=True):
        parts = [group.struct.field(name) for name in (year, month, day)]
        dates.append(pl.concat_str(parts, separator="-").str.to_date("%Y-%m-%d", strict=False))
    seconds = epoch
    for digits in (11, 14, 17):  # milliseconds, microseconds, nanoseconds
        seconds = pl.when(epoch.abs() >= 10**digits).then(epoch.floordiv(10 ** (digits - 8))).otherwise(seconds)
    date = pl.coalesce(dates)
    if one.part == "weekday":
        # 1 January 1970 was a Thursday.
        part = pl.coalesce(date.dt.weekday().cast(pl.Int64), seconds.floordiv(86_400).add(3).mod(7).add(1))
    else:
        clock = [group.struct.field("4").cast(pl.Int64) for group in groups]
        alone = pl.col("text").str.extract(HOUR_ALONE).cast(pl.Int64)
        dated = pl.when(date.is_not_null()).then(pl.coalesce(*clock, pl.lit(0)))
        part = pl.coalesce(dated, alone, seconds.floordiv(3600).mod(24))
    return frame.select(part.cast(pl.String)).to_series().rename(text.name)
