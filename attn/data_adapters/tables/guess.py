"""What the columns of a table mean, guessed from rows: declared types first, then names, then what the cells do.

Whole numbers may count something or name something. Where there are labels, held-out rows decide (`evidence`): as a
category, as a number, or as both where neither is clearly better. What was decided so is said, with the line that
changes it.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from attn.core.errors import InputError
from attn.data_adapters.tables.cells import COMMA, as_labels, as_numbers, as_text, canonical, unread
from attn.data_adapters.tables.delimited import CsvSource
from attn.data_adapters.tables.evidence import SURE, Evidence, weigh
from attn.data_adapters.tables.fields import Field, TimePart, section
from attn.data_adapters.tables.open import Table

SEPARATORS = ("|", ";", ",", "^", " ")
FEWER_PARTS = {" ": 10}  # how many times fewer than the cells the parts are; words of sentences repeat less
MANY_WHOLE_NUMBERS = 1000  # distinct values from which an integer column counts something, where nothing else tells
ID_ENDINGS = ("id", "ids", "code", "zip", "key", "hash")
NOT_IDS = {  # words that end so
    *("bid", "paid", "prepaid", "unpaid", "grid", "valid", "invalid", "void", "solid", "fluid", "liquid", "covid"),
    *("hybrid", "rapid", "acid", "kid", "kids", "bids", "aid", "raid", "mid"),
}
COUNTED = {f"I{n}" for n in range(1, 14)}  # Criteo's
ATOMIC = {"token": "category", "float": "number", "token_seq": "multi", "float_seq": "multi"}  # RecBole's suffixes
FORMATS = (
    *("%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M %p", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S"),
    *("%m/%d/%Y %I:%M:%S %p", "%a, %d %b %Y %H:%M:%S GMT", "%d %b %Y %H:%M:%S", "%d/%b/%Y:%H:%M:%S %z"),
)
MOSTLY = 0.75  # share of numbers among texts from which the other texts may stand for what is missing
LOOKED_AT = 1000  # cells that tell a format
MARKS = r"[.,$€£¥₹%]"
UNIQUE = 0.9  # share of distinct values from which a category says nothing of later rows

Say = Callable[[str], None]


def infer_fields(
    table: Table,
    label: str | None,
    sample: pl.DataFrame,
    say: Say = lambda note: None,
    rows_n: np.ndarray | None = None,
) -> list[Field]:
    """A field for each column, except the label and columns that only name rows; a time gives hour and weekday.

    sample: first rows, with the label if there is one; rows_n: which of them may be weighed (training rows). A set of
    values is one field by its members, and another as a whole where the same sets come again. `say` gets a sentence
    about each column whose meaning is in doubt.
    """
    fields: list[Field] = []
    labels_n = _labels(sample, label)
    chosen = None if rows_n is None else pl.Series(rows_n)
    for column in table.columns:
        if column == label or column in table.ids:
            continue
        cells = sample[column]
        kind = table.declared.get(column) or ATOMIC.get(column.rpartition(":")[2] if ":" in column else "")
        if kind is None and (column in table.dates or (cells.dtype.is_temporal() and cells.dtype != pl.Duration)):
            fields += _times(column, cells, table.dates.get(column))
        elif kind == "multi" or column in table.multi:
            fields += _sets(column, cells, table.multi.get(column) or _separator(cells) or " ")
        elif kind is not None:
            fields.append(Field(name=column, column=column, kind=kind))  # type: ignore[arg-type]  # of Kind's values
        elif cells.dtype == pl.String:
            fields += _of_text(column, cells, say, typed=not isinstance(table.source, CsvSource))
        elif column in COUNTED and table.label == "label":
            fields.append(Field(name=column, column=column, kind="number"))
        elif _whole(cells) and table.label != "click":
            weighed = None if labels_n is None else _weighed(cells, labels_n, chosen)
            fields += _of_whole(column, cells, weighed, say)
        else:
            is_number = cells.dtype.is_float() or cells.dtype.is_decimal() or cells.dtype == pl.Duration
            kind = "number" if is_number else "category"
            fields.append(Field(name=column, column=column, kind=kind))  # type: ignore[arg-type]
    return fields


def require_readable(fields: Sequence[Field], sample: pl.DataFrame, where: str) -> None:
    """Raises InputError for a field that its column cannot be, with the column and the first cell that shows it."""
    for one in fields:
        cells = sample[one.column]
        if cells.dtype.is_nested() or isinstance(cells.dtype, pl.Object):
            hint = f'unnest it, cast it to text, or write kind = "ignore" below {section(one.name)}'
            raise InputError(
                f"column {one.column!r} is {cells.dtype}, which no field is made of", where=where, hint=hint
            )
        if one.kind not in ("number", "time") or cells.dtype == pl.Null:
            continue
        if one.kind == "number":
            if isinstance(cells.dtype, pl.Date | pl.Datetime | pl.Time):
                raise InputError(
                    f"column {one.column!r} holds times, not numbers", where=where, hint='write kind = "time"'
                )
            missing_n = np.isnan(as_numbers(cells, one.decimal))
        else:
            missing_n = as_text(cells, one).is_null().to_numpy()
        bad_n = unread(cells, missing_n)
        said = len(cells) - int((missing_n & ~bad_n).sum())
        if 2 * bad_n.sum() > said:
            row = int(bad_n.argmax())
            what = "a number" if one.kind == "number" else "a time"
            hint = 'write kind = "category"' if one.kind == "number" else "write its format, as of strptime"
            cell = str(cells[row])[:40]
            raise InputError(
                f"column {one.column!r} has {cell!r} in row {row + 1}, which is not {what}", where=where, hint=hint
            )


def is_whole(cells: pl.Series) -> bool:
    """Whether a column has whole numbers only, of whatever type."""
    return _whole(cells)


def _labels(sample: pl.DataFrame, label: str | None) -> np.ndarray | None:
    if label is None or label not in sample.columns or not len(sample):
        return None
    try:
        return as_labels(sample[label], "", 0)
    except InputError:  # which whoever reads the rows says with its place
        return None


def _weighed(cells: pl.Series, labels_n: np.ndarray, chosen: pl.Series | None) -> Evidence | None:
    if chosen is None:
        return weigh(cells, labels_n)
    return weigh(cells.filter(chosen), labels_n[chosen.to_numpy()])


def _times(column: str, cells: pl.Series, form: str | None) -> list[Field]:
    parts: tuple[TimePart, ...] = ("hour", "weekday")
    if cells.dtype in (pl.Date, pl.Time):
        parts = ("weekday",) if cells.dtype == pl.Date else ("hour",)
    return [Field(name=f"{column}: {part}", column=column, kind="time", part=part, format=form) for part in parts]


def _sets(column: str, cells: pl.Series, separator: str, around: str = "") -> list[Field]:
    fields = [Field(name=column, column=column, kind="multi", separator=separator, around=around)]
    if cells.n_unique() <= max(len(cells) // 10, 2):
        fields.append(Field(name=f"{column} as a whole", column=column, kind="category"))
    return fields


def _of_text(column: str, cells: pl.Series, say: Say, *, typed: bool) -> list[Field]:
    """A time, a number in people's notation, a set, or a category."""
    present = canonical(cells).drop_nulls()
    if not len(present):
        say(f"{column}: empty in every row looked at")
        return [Field(name=column, column=column, kind="category")]
    if (form := _time_format(column, present)) is not None:
        return _times(column, cells, form or None)
    if (decimal := _decimal(present, typed=typed)) is not None:
        example = present.filter(present.str.contains(MARKS)).head(1).to_list() or present.head(1).to_list()
        say(f'{column}: numbers as text, such as {example[0]!r}; to change it: {section(column)} kind = "category"')
        return [Field(name=column, column=column, kind="number", decimal=decimal)]  # type: ignore[arg-type]
    around = "[](){}'\"" if present.str.contains(r"^[\[({].*[\])}]$").all() else ""
    if around and present.str.contains(",", literal=True).any():
        return _sets(column, cells, ",", around)
    if (separator := _separator(present)) is not None:
        return _sets(column, cells, separator)
    if (note := _partly_numbers(column, present)) is not None:
        say(note)
    elif len(present) > LOOKED_AT // 5 and present.n_unique() > UNIQUE * len(present):
        say(_unique(column))
    return [Field(name=column, column=column, kind="category")]


def _of_whole(column: str, cells: pl.Series, weighed: Evidence | None, say: Say) -> list[Field]:
    """Whole numbers: a category, a number, or both."""
    category = Field(name=column, column=column, kind="category")
    number = Field(name=column, column=column, kind="number")
    both = [category, Field(name=f"{column} as a number", column=column, kind="number")]
    distinct = cells.n_unique()
    if _is_id(column):
        if len(cells) > LOOKED_AT // 5 and distinct > UNIQUE * len(cells):
            say(_unique(column))
        return [category]
    if weighed is None:
        return [number] if distinct > MANY_WHOLE_NUMBERS else [category]
    few = distinct <= MANY_WHOLE_NUMBERS
    if weighed.margin > SURE or (few and weighed.margin > -SURE):
        found, what = [category], "a category"
    elif weighed.margin < -SURE and (not few or weighed.category < SURE):
        found, what = [number], "a number"
    else:
        found, what = both, "both a category and a number"
    if not (few and found == [category]):
        other = "number" if found == [category] else "category"
        say(
            f"{column}: read as {what}, by held-out rows (AUC {weighed.auc_as_category:.3f} as a category, "
            f'{weighed.auc_as_number:.3f} as a number); to change it: {section(column)} kind = "{other}"'
        )
    return found


def _unique(column: str) -> str:
    what = f"{column}: nearly every row has a value of its own, which no other row shares"
    return f'{what}; to leave it out: {section(column)} kind = "ignore"'


def _whole(cells: pl.Series) -> bool:
    if cells.dtype.is_integer():
        return True
    if cells.dtype.is_decimal():
        known = cells.drop_nulls()
        return len(known) > 0 and bool((known == known.floor()).all())
    if not cells.dtype.is_float():
        return False
    known = cells.cast(pl.Float64).fill_nan(None).drop_nulls()  # 16 bits have no floor
    return len(known) > 0 and bool(((known == known.floor()) & (known.abs() < 2.0**53)).all())


def _is_id(column: str) -> bool:
    words = re.findall(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]+", column)
    last = words[-1].lower() if words else ""
    return last.endswith(ID_ENDINGS) and last not in NOT_IDS


def _time_format(column: str, present: pl.Series) -> str | None:
    """The format of a column of times, "" where it needs none; None for other text."""
    some = present.head(LOOKED_AT)
    if not some.str.contains(r"[0-9]{4}|[0-9]{2}:[0-9]{2}").all():
        return None
    if some.str.contains(r"[0-9][ T:][0-9]{2}:?[0-9]").all():
        one = Field(name=column, column=column, kind="time")
        if some.str.contains(r"^[0-9]{4}").all() and as_text(some, one).null_count() == 0:
            return ""
        fit = [form for form in FORMATS if some.str.to_datetime(form, strict=False).null_count() == 0]
        days_first = as_text(some, one.model_copy(update={"part": "weekday"})).null_count() == 0
        if days_first and not fit:
            return ""
        return fit[0] if fit and not days_first else None
    return None


def _decimal(present: pl.Series, *, typed: bool) -> str | None:
    """The decimal mark of numbers as people write them; None for other text, codes with leading zeros among it."""
    marked = present.str.contains(MARKS)
    if (typed and not marked.any()) or present.str.contains(r"^[+-]?0[0-9]").any():
        return None
    if not marked.any() and present.str.len_chars().max() > 15:  # type: ignore[operator]  # not empty
        return None
    comma = (
        present.str.contains(r"^[^.]*,([0-9]{1,2}|[0-9]{4,})\D*$|^\D*0,[0-9]").any()
        or (present.str.contains(COMMA) & present.str.contains(",", literal=True)).any()
    )
    decimal = "," if comma else "."
    return None if np.isnan(as_numbers(present, decimal)).any() else decimal


def _partly_numbers(column: str, present: pl.Series) -> str | None:
    """A sentence about text of which most cells are numbers, decimal ones among them."""
    number_n = ~np.isnan(as_numbers(present))
    share = float(number_n.mean())
    if not MOSTLY <= share < 1 or not present.filter(pl.Series(number_n)).str.contains(".", literal=True).any():
        return None
    what = f"{column}: {share:.0%} of the cells are numbers, and others are not, such as "
    other = str(present[int(number_n.argmin())])[:40]
    return f'{what}{other!r}; if those are missing: {section(column)} kind = "number"'


def _separator(cells: pl.Series) -> str | None:
    """The separator of a column of sets: in many cells, and its parts are far fewer than the cells."""
    present = cells.drop_nulls()
    whole = present.n_unique()
    for separator in SEPARATORS:
        split = present.filter(present.str.contains(separator, literal=True))
        if len(split) * 5 > len(present) > 0:
            parts = split.unique().str.split(separator).explode().n_unique()
            if parts * FEWER_PARTS.get(separator, 2) < whole:
                return separator
    return None
