"""The tables of the README and of docs/results.md are those of the rows that the benchmarks kept."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = runpy.run_path(str(ROOT / "docs" / "make_results.py"))
CELLS = runpy.run_path(str(ROOT / "docs" / "result_tables" / "cells.py"))
PAGES = {path.name: path.read_text(encoding="utf-8") for path in SCRIPT["PAGES"]}


@pytest.mark.parametrize("page", PAGES)
def test_tables_are_made_of_the_rows(page: str) -> None:
    assert SCRIPT["renewed"](PAGES[page]) == PAGES[page], "rows or columns have changed: python docs/make_results.py"


def test_every_number_in_a_table_comes_from_a_row() -> None:
    """No table of docs/results.md is written by hand, and each table that there is has its place on a page."""
    outside = SCRIPT["MARKED"].sub("", PAGES["results.md"])
    assert [line for line in outside.splitlines() if line.startswith("|")] == []
    assert sorted(name for page in PAGES.values() for _, name, _ in SCRIPT["MARKED"].findall(page)) == sorted(
        SCRIPT["TABLES"]
    )


@pytest.mark.parametrize(
    ("value", "cell"), [(671, "671"), (41.0, "41.0"), (999.94, "999.9"), (2245.3, "2,245"), (1479, "1,479"), (None, "")]
)
def test_numbers(value: float | None, cell: str) -> None:
    assert CELLS["number"](value) == cell


def test_cells() -> None:
    interval, spread = CELLS["interval"]("x"), CELLS["spread"]("x")
    assert interval({"x": {"value": 0.84, "low": 0.8012, "high": 0.876}}) == "0.840 (0.801 to 0.876)"
    assert interval({"x": 0.5}) == spread({"x": 0.5}) == "0.500"
    assert spread({"x": 0.5, "x_sd": 0.004}) == "0.500 (0.004)"
    assert CELLS["share"](0.90256) == ".9026" and CELLS["share"](1.0) == "1.0000"


def test_a_benchmark_replaces_its_own_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep: Any = runpy.run_path(str(ROOT / "benchmarks" / "rows.py"))["keep"]
    for row in ({"what": "a", "x": 1}, {"what": "b", "x": 2}, {"what": "a", "x": 3}):
        keep("speed", row, tmp_path / "new")
    lines = (tmp_path / "new" / "speed.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [{"what": "a", "x": 3}, {"what": "b", "x": 2}]
    assert capsys.readouterr().out.count("\n") == 3
