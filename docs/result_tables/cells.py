"""The cells of tables: a column is a format of a row's values, or a function of the row."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"

Row = Mapping[str, Any]
Column = str | Callable[[Row], str]
Source = str | Callable[[], list[Row]]
Tables = Mapping[str, tuple[Source, Mapping[str, Column]]]


def rows(name: str) -> list[Row]:
    """The rows of a file of `benchmarks/results`."""
    return [json.loads(line) for line in (RESULTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def number(value: float | None) -> str:
    """Whole numbers and those from 1,000 on without decimals, others with one; nothing for None."""
    return "" if value is None else f"{value:,.{int(isinstance(value, float) and value < 1000)}f}"


def decimals(name: str) -> Column:
    """A value as `number` writes it."""
    return lambda row: number(row[name])


def interval(name: str, form: str = ".3f") -> Column:
    """A value with its 95 % interval, where the row has one: {value, low, high} or a number."""

    def cell(row: Row) -> str:
        found = row[name]
        if not isinstance(found, dict):
            return format(found, form)
        return f"{found['value']:{form}} ({found['low']:{form}} to {found['high']:{form}})"

    return cell


def spread(name: str, form: str = ".3f") -> Column:
    """A mean with its standard deviation over seeds, where there are several."""
    return lambda row: format(row[name], form) + (f" ({row[f'{name}_sd']:{form}})" if f"{name}_sd" in row else "")


def peers(row: Row) -> str:
    """`{name: value}` of the other libraries."""
    return ", ".join(f"{number(value)} ({name})" for name, value in row["peers"].items())


def share(value: float) -> str:
    """A number below 1 to four digits, without the zero: .9026."""
    return f"{value:.4f}".removeprefix("0")


def flagged(key: str) -> Column:
    """A share in per cent."""
    return lambda row: f"{100 * row[key]:.1f} %"
