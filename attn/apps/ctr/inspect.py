"""What is in a table: the fields and their kinds, how full and how varied they are, what a second file has that the
first has not, and fields that give the label away. No model is needed.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

from attn.core.errors import InputError
from attn.data_adapters.tables.cells import as_labels, as_numbers, as_text, members
from attn.data_adapters.tables.evidence import held_out_rates, weigh
from attn.data_adapters.tables.fields import LISTS, Field, override
from attn.data_adapters.tables.guess import infer_fields, is_whole, require_readable
from attn.data_adapters.tables.open import Table, open_table

ROWS = 1_000_000  # what is looked at of a longer table
LEAK = 0.99
COPIED = 0.1
VARIED = 0.1  # distinct values over rows of a column that tells rows apart; rows of a few short fields come again


def inspect_table(
    source: str | Path,
    *,
    label: str | None = None,
    format: str | None = None,
    fields: Path | None = None,
    against: str | Path | None = None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """One row a field, and what there is to say of the whole table.

    A field's row: kind, type in the file, distinct values, share missing, the most frequent value, AUC of the field
    alone (a category by the click rate of its values in the other half of the rows), a warning if that is above 0.99;
    of whole numbers the AUC as a category and as a number (by bins), both by rates of the other half. The summary has
    `notes`, a sentence about each column whose meaning was in doubt.
    `against` is a later table; `unseen` is the share of its cells whose value the first has not. Raises InputError.
    """
    table = open_table(source, format=format)
    label = label or table.label
    if label is not None and label not in table.columns:
        hint = f"there are {', '.join(table.columns[:20])}"
        raise InputError(f"has no column {label!r}", where=table.where, hint=hint)
    frame = table.head(ROWS)
    notes: list[str] = []
    found = infer_fields(table, label, frame, notes.append)
    if fields is not None:
        found = override(found, fields, [column for column in table.columns if column != label])
    summary: dict[str, Any] = {"table": table.where, "rows": table.rows(), "looked_at": len(frame), "label": label}
    if not len(frame):
        raise InputError("has no rows", where=table.where)
    require_readable(found, frame, table.where)
    notes += _copied(frame)
    summary["notes"] = notes
    labels_n = None
    if label is not None:
        labels_n = as_labels(frame[label], table.where, 0)
        summary["rate"] = float(labels_n.mean())
        if len(np.unique(labels_n)) == 1:
            raise InputError(f"the label {label!r} is {labels_n[0]} in every row", where=table.where)
    later = _later(against, format, table, found)
    return [_field_row(one, frame, labels_n, later) for one in found], summary


def _copied(frame: pl.DataFrame) -> list[str]:
    """A sentence, if many rows come again although a column tells most rows apart, as a time does."""
    rows = frame.n_unique()
    share = 1 - rows / len(frame)
    most = max(frame[column].n_unique() for column in frame.columns)
    if share < COPIED or 2 * most < rows or most < VARIED * len(frame):
        return []
    return [f"{share:.0%} of the rows equal an earlier row: drop them, or training and test have the same rows"]


def _later(against: str | Path | None, format: str | None, table: Table, fields: list[Field]) -> pl.DataFrame | None:
    if against is None:
        return None
    other = open_table(against, format=format, columns=table.columns)
    if gone := [one.column for one in fields if one.column not in other.columns]:
        raise InputError(f"has no column {', '.join(dict.fromkeys(gone))}", where=other.where)
    return other.head(ROWS)


def _field_row(
    one: Field, frame: pl.DataFrame, labels_n: np.ndarray | None, later: pl.DataFrame | None
) -> dict[str, Any]:
    cells = frame[one.column]
    row: dict[str, Any] = {"field": one.name, "kind": one.describe(), "type": str(cells.dtype)}
    if one.kind == "number":
        numbers_n = as_numbers(cells, one.decimal)
        known = numbers_n[np.isfinite(numbers_n)]
        row["distinct"] = len(np.unique(known))
        row["missing"] = float(np.isnan(numbers_n).mean())
        row["most_frequent"] = f"{known.min():g} to {known.max():g}" if len(known) else None
        score_n = np.nan_to_num(numbers_n, nan=float(np.median(known)) if len(known) else 0.0)
        unseen = None
    else:
        text = as_text(cells, one)
        counts = text.drop_nulls().value_counts(sort=True)
        row["distinct"] = members(counts[one.column], one)["value"].n_unique() if one.kind in LISTS else len(counts)
        row["missing"] = text.null_count() / len(text)
        row["most_frequent"] = counts[one.column][0] if len(counts) else None
        score_n = held_out_rates(text, labels_n) if labels_n is not None else None
        unseen = None if later is None else _unseen(one, text, later)
    row["auc_alone"] = row["warning"] = None
    if labels_n is not None and score_n is not None:
        auc = float(roc_auc_score(labels_n, score_n))
        row["auc_alone"] = max(auc, 1 - auc) if one.kind == "number" else auc
        if row["auc_alone"] > LEAK:
            row["warning"] = "gives the label away; leave it out if it is not known before the click"
    plain = labels_n is not None and one.kind in ("category", "number") and is_whole(cells)
    weighed = weigh(cells, labels_n) if plain and labels_n is not None else None
    row["as_category"] = None if weighed is None else weighed.auc_as_category
    row["as_number"] = None if weighed is None else weighed.auc_as_number
    if later is not None:
        row["unseen"] = unseen
    return row


def _unseen(one: Field, text: pl.Series, later: pl.DataFrame) -> float:
    other = as_text(later[one.column], one)
    if one.kind in LISTS:
        known, other = members(text.unique().drop_nulls(), one)["value"], members(other.drop_nulls(), one)["value"]
    else:
        known, other = text, other.drop_nulls()
    found = other.is_in(known.unique().drop_nulls().implode())
    return 1 - int(found.sum()) / len(other) if len(other) else 0.0
