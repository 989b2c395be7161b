"""One row has one answer: from a table of any format and type, as a mapping, and in the exported scorer."""

import datetime as dt
import json
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from attn.apps.ctr.export import vocabulary
from attn.apps.ctr.predict import CTRPredictor
from attn.apps.ctr.serving import score as scorer
from attn.data_adapters.tables.cells import as_numbers, as_text, canonical, unread
from attn.data_adapters.tables.codes import Codebook, Encoded
from attn.data_adapters.tables.fields import Field
from attn.data_adapters.tables.frame import frame_table
from attn.data_adapters.tables.survey import Survey

ZURICH = ZoneInfo("Europe/Zurich")

CELLS: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "an id": ({}, [7, 8, 7, 12, None, 8]),
    "an id with gaps, as floats": ({}, [7.0, 8.0, 7.0, 12.0, None, float("nan")]),
    "an id as text": ({}, ["7", "8", "7", "12", "", None]),
    "an id as text of floats": ({}, ["7.0", "8.0", "7", "12.0", "NA", None]),
    "unsigned": ({}, [2**64 - 1, 2**63, 2**64 - 1, 3, None, 3]),
    "truth": ({}, [True, False, True, None, False, True]),
    "truth as text": ({}, ["True", "False", "true", "maybe", "0", "1"]),
    "text": ({}, ["a", " b ", "a", "NULL", r"\N", "-"]),
    "no answer": ({}, ["a", "?", "-", "--", "a-b", "?"]),
    "a constant with gaps": ({"kind": "number"}, [2.5, None, 2.5, 2.5, None, 2.5]),
    "nothing at all": ({"kind": "number"}, [None] * 6),
    "fractions as categories": ({}, [0.5, 1e-5, 2.5e-7, 1e22, 3.0, 0.1]),
    "a set": ({"kind": "multi"}, ["a|b", "b|a|b", "c", "|", "", "z|a"]),
    "Namibia": ({"keep": ("NA",)}, ["NA", "NA", "DE", "N/A", " NA ", ""]),
    "a sequence": ({"kind": "sequence", "most": 3}, ["a|b", "b|a|b|c", "c", "|", "", "z|a|z"]),
    "a sequence as a list": ({"kind": "sequence", "most": 2}, [[1, 2, 1], [2], [], None, [3, None], [1]]),
    "a set of bracketed numbers": (
        {"kind": "multi", "separator": ",", "around": "[]'"},
        ["[1, 2]", "['2', '1']", "[]", "[3]", None, "[2]"],
    ),
    "a list": ({"kind": "multi"}, [["a", "b"], ["b"], [], None, ["z", None], ["a"]]),
    "a list of decimals": ({"kind": "multi"}, [[1.5, 2.0], [2.0], [1.5], [], [float("nan"), 1.5], [3.0, None]]),
    "a list of truths": ({"kind": "multi"}, [[True], [False, True], [], None, [None, False], [True, True]]),
    "a number": ({"kind": "number"}, [1.5, -2.0, None, float("inf"), 1.7e308, 0.0]),
    "a number as text": ({"kind": "number"}, ["1.5", "$2", "9,130.50", "word", "NA", "12 %"]),
    "a number with a decimal comma": (
        {"kind": "number", "decimal": ","},
        ["1,5", "9.130,25", "1.234", "2", "word", "3,125"],
    ),
    "a logarithm": ({"kind": "number", "transform": "log2"}, [1.0, 2.0, 3.0, 100.0, None, -1.0]),
    "a whole number": ({"kind": "number", "transform": "standard"}, [1, 2, 3, 4, None, 100]),
    "money": ({"kind": "number"}, [Decimal("1.25"), Decimal("3.00"), None, Decimal("2.5"), Decimal("0"), None]),
    "a long id": (
        {},
        [Decimal(2**53 + 1), Decimal(2**53), Decimal(-(10**37)), None, Decimal(0), Decimal(2**53 + 1)],
    ),
    "money as categories": (
        {},
        [Decimal("100.00"), Decimal("9007199254740993.50"), Decimal("-0.05"), None, Decimal("0.00"), Decimal("100")],
    ),
    "a list of money": ({"kind": "multi"}, [[Decimal("1.50"), Decimal(20)], [Decimal(20)], [], None, [None], []]),
    "how long": (
        {"kind": "number"},
        [dt.timedelta(seconds=90), dt.timedelta(days=2), None, dt.timedelta(0)] + [None] * 2,
    ),
    "a time": ({"kind": "time"}, [dt.datetime(2026, 3, 1 + n, 5 * n % 24, 7) for n in range(5)] + [None]),
    "a time of a zone": (
        {"kind": "time"},
        [dt.datetime(2026, 3, 27 + n, 23, 30, tzinfo=ZURICH) for n in range(4)] + [None] * 2,
    ),
    "a time as text": (
        {"kind": "time"},
        [
            "2026-03-13T10:52:24+02:00",
            "2026-03-13 10:52",
            "2026-03-13",
            "13/03/2026 23:10",
            "yesterday",
            "2026-02-30 10:00",
        ],
    ),
    "a day": ({"kind": "time", "part": "weekday"}, [dt.date(2026, 3, n + 1) for n in range(5)] + [None]),
    "an hour": ({"kind": "time"}, [dt.time(5, 6), dt.time(23), None, dt.time(0), dt.time(5, 59), None]),
    "seconds since 1970": ({"kind": "time", "format": "%s"}, [1767596400, 1767596400123, 5, 1767599999, None, -4000]),
    "a format": (
        {"kind": "time", "format": "%d.%m.%Y %H:%M"},
        ["05.01.2026 07:10", "31.01.2026 23:59", "x", None, "", "NaN"],
    ),
    "an hour's format": ({"kind": "time", "format": "%y%m%d%H"}, [26010507, 26010523, None, 26010507, 26013108, 1]),
}


def book(one: Field, cells: pl.Series) -> Codebook:
    taken = Survey([one])
    taken.take(cells.to_frame(), np.ones(len(cells), bool), np.arange(len(cells)) % 2)
    return taken.codebook(1)


def exported(one: Field, codebook: Codebook) -> dict[str, Any]:
    predictor = type("Known", (), {"codebook": codebook, "label": "y"})()
    (field,) = vocabulary(predictor)["fields"]
    return dict(json.loads(json.dumps(field)))


@pytest.mark.parametrize("kind", CELLS)
def test_a_table_a_mapping_and_the_scorer_agree(kind: str) -> None:
    settings, cells = CELLS[kind]
    one = Field(name="x", column="x", **{"kind": "category"} | settings)
    column = pl.Series("x", cells, strict=False)
    codebook = book(one, column)
    of_table = codebook.encode(column.to_frame())
    predictor = object.__new__(CTRPredictor)
    predictor.codebook = codebook
    rows = [{"x": cell} for cell in cells]
    sent = json.loads(json.dumps(rows, default=lambda c: scorer.text_of(c)))
    flagged = [one.name in of_table.unknown and bool(of_table.unknown[one.name][n]) for n in range(len(cells))]
    of_scorer = Encoded(*scorer.Encoder([exported(one, codebook)])(sent))
    for of_rows in (codebook.encode(predictor.frame(rows)), predictor.encode(rows), of_scorer):
        np.testing.assert_array_equal(of_table.ids, of_rows.ids)
        np.testing.assert_allclose(of_table.numbers, of_rows.numbers, rtol=1e-6)
        assert flagged == [
            one.name in of_rows.unknown and bool(of_rows.unknown[one.name][n]) for n in range(len(cells))
        ]


@pytest.mark.parametrize("kind", ["an id", "an id with gaps, as floats", "an id as text", "an id as text of floats"])
def test_an_id_is_the_same_whatever_its_type(kind: str) -> None:
    one = Field(name="x", column="x", kind="category")
    codebook = book(one, pl.Series("x", CELLS[kind][1]))
    assert sorted(codebook.vocabularies["x"]) == ["12", "7", "8"]
    for cells in (12, 12.0, "12", "12.0", np.int64(12)):
        assert not codebook.encode(pl.DataFrame({"x": [cells]})).unknown["x"].any()


def test_a_set_as_a_whole_has_no_order() -> None:
    fields = (Field(name="s", column="s", kind="multi"), Field(name="s as a whole", column="s", kind="category"))
    vocabularies = {"s": pl.Series(["a", "b", "c"]), "s as a whole": pl.Series(["b|a", "a|b", "c"])}
    older = Codebook(fields, vocabularies, {})
    cells = ["b|a", "a|b", "a|b|a", "b | a", "c", "a|c"]
    rows = older.encode(pl.DataFrame({"s": cells})).ids[:, -1] - older.places[1].first
    assert rows.tolist() == [2, 3, 3, 3, 4, 0]  # sorted, where the text itself is not known


@pytest.mark.parametrize(
    "cells",
    [
        [[1.5, 2.0], [2.0], [1.5], [2.0, 1.5], [], [None, 2.0]],
        [[True, False], [False], None, [False, True], [True], []],
        pl.Series("s", [[1, 2], [2, 1], [3, 3]] * 2, dtype=pl.Array(pl.Int64, 2)),
        ["1.5|2.0", "2", "2.0|1.5", "NA|2", "-", "2|1.5"],
    ],
)
def test_a_set_as_a_whole_is_one_whatever_the_type_of_its_members(cells: Any) -> None:
    fields = (Field(name="s", column="s", kind="multi"), Field(name="s as a whole", column="s", kind="category"))
    column = pl.Series("s", cells)
    taken = Survey(fields)
    taken.take(column.to_frame(), np.ones(len(column), bool), np.arange(len(column)) % 2)
    codebook = taken.codebook(1)
    predictor = object.__new__(CTRPredictor)
    predictor.codebook = codebook
    rows = column.to_frame().to_dicts()
    ids = codebook.encode(column.to_frame()).ids
    np.testing.assert_array_equal(ids, predictor.encode(rows).ids)
    np.testing.assert_array_equal(ids, codebook.encode(predictor.frame(rows)).ids)
    if column.dtype != pl.String:
        known = [[str(x) for x in cell or () if x is not None] for cell in column.to_list()]
        texts = [{"s": "|".join(cell)} for cell in known]
        np.testing.assert_array_equal(ids, predictor.encode(texts).ids)


def test_missing_texts_have_no_vector_and_are_not_flagged() -> None:
    one = Field(name="x", column="x", kind="category")
    codebook = book(one, pl.Series("x", ["a", "NA", "NULL", r"\N", "nan", "None", "a"]))
    assert codebook.vocabularies["x"].to_list() == ["a"]
    encoded = codebook.encode(pl.DataFrame({"x": ["NA", r"\N", "b"]}))
    assert (encoded.ids[:, 0] - codebook.places[0].first).tolist() == [1, 1, 0]
    assert encoded.unknown["x"].tolist() == [False, False, True]
    older = Codebook((one,), {"x": pl.Series(["NA"])}, {})  # which has learned it as a value
    assert older.encode(pl.DataFrame({"x": ["NA"]})).ids[0, 0] == 1 + 2


@pytest.mark.parametrize(
    ("text", "decimal", "x"),
    [
        ("9,130.00", ".", 9130),
        ("9,13", ".", 9.13),
        ("9,130", ".", 9130),
        ("9,130", ",", 9.13),
        ("9.130,5", ".", 9130.5),
        ("1.234", ",", 1234),
        ("1.234", ".", 1.234),
        ("€ 1 234,50", ",", 1234.5),
        ("-27%", ".", -27),
        ("12 %", ".", 12),
        ("1 234 567", ".", 1234567),
        ("3 29 20", ".", None),
        ("1_000", ".", None),
        ("N/A", ".", None),
        ("1e400", ".", float("inf")),
    ],
)
def test_numbers_as_people_write_them(text: str, decimal: str, x: float | None) -> None:
    (found,) = as_numbers(pl.Series([text]), decimal)
    theirs = scorer.number_of(text, decimal)
    assert found == pytest.approx(np.nan if x is None else x, nan_ok=True) and theirs == pytest.approx(
        found, nan_ok=True
    )


def test_what_cannot_be_read_is_missing_and_flagged() -> None:
    one = Field(name="t", column="t", kind="time")
    cells = pl.Series("t", ["yesterday", "", None, "2026-01-05 07:00:00", "NaT"])
    codebook = book(one, cells)
    assert codebook.encode(cells.to_frame()).unknown["t"].tolist() == [True, False, False, False, False]
    only = pl.Series("t", ["unknown", "unknown"])
    assert codebook.encode(only.to_frame()).unknown["t"].all()
    assert unread(pl.Series([1.0, None]), np.array([False, True])).tolist() == [False, False]
    assert as_text(cells, one).to_list() == [None, None, None, "7", None]
    assert canonical(pl.Series(["True", "12.0", "1.10", "NaN"])).to_list() == ["1", "12", "1.10", None]


def test_a_text_that_is_kept_is_a_value() -> None:
    cells = pl.Series("c", ["NA", "DE", "N/A", "NA"])
    fields = [Field(name="c", column="c", kind="category", keep=keep) for keep in (("NA",), ())]
    assert [set(book(one, cells).vocabularies["c"]) for one in fields] == [{"NA", "DE"}, {"DE"}]


def test_a_decimal_is_the_text_of_its_digits() -> None:
    written = ["9007199254740993", "9007199254740992", "-12.5", "100", "0", "0.000001"]
    cells = [Decimal("9007199254740993.00"), Decimal(2**53), Decimal("-12.50"), Decimal("1E2"), Decimal("-0.00")]
    cells.append(Decimal("0.000001"))
    assert [scorer.text_of(cell) for cell in cells] == written
    table = frame_table(pl.DataFrame({"x": pl.Series(cells, dtype=pl.Decimal(38, 6))}))
    one = Field(name="x", column="x", kind="category")
    assert as_text(table.head(6)["x"], one).to_list() == written
    assert scorer.text_of(Decimal("NaN")) is None and scorer.text_of(Decimal("Infinity")) == "inf"
    assert scorer.text_of(Decimal("1E+999999")) == "inf"  # which nobody wrote out
