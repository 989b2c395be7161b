"""Fields guessed, values counted in training rows only, cells as ids: the same on disk and in memory."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from data_adapters.tables.clicks import FIELDS, log, table_of

from attn.apps.ctr.rows import Lookup
from attn.core.errors import InputError
from attn.data_adapters.tables.cells import as_labels, as_text
from attn.data_adapters.tables.codes import MISSING, UNKNOWN, VALUES, Codebook, coded
from attn.data_adapters.tables.fields import Field
from attn.data_adapters.tables.open import Table
from attn.data_adapters.tables.survey import CodedRows, Survey, survey


def surveyed(table: Table, folder: Path, part_of=None, least: int = 1):
    taken, rows = Survey(FIELDS), [CodedRows(folder / str(n), FIELDS) for n in range(2)]
    everything = part_of or (lambda frame, first: np.zeros(len(frame), np.uint8))
    survey(table, FIELDS, "click", everything, rows, taken)
    return taken, rows, taken.codebook(least)


def test_rows_on_disk_are_the_rows_encoded(tmp_path: Path):
    frame = log()
    taken, rows, codebook = surveyed(table_of(frame, tmp_path), tmp_path / "rows", least=3)
    codes, numbers, labels = rows[0].read(0, len(frame))
    ids, scaled = Lookup(codebook, taken.values)(codes, numbers)
    rows[0].close(), rows[1].close()
    encoded = codebook.encode(frame)
    np.testing.assert_array_equal(ids, encoded.ids)
    np.testing.assert_allclose(scaled, encoded.numbers, atol=1e-5)
    np.testing.assert_array_equal(labels, frame["click"].to_numpy())


def test_a_value_of_other_rows_than_training_is_unknown(tmp_path: Path):
    frame = log().with_columns(site=pl.when(pl.int_range(pl.len()) >= 400).then(pl.lit("late")).otherwise("site"))
    later = lambda some, first: (np.arange(first, first + len(some)) >= 400).astype(np.uint8)  # noqa: E731
    _, rows, codebook = surveyed(table_of(frame, tmp_path), tmp_path / "rows", later)
    assert [len(part) for part in rows] == [400, 100]
    [part.close() for part in rows]
    assert "late" not in codebook.vocabularies["site"].to_list()
    assert codebook.encode(frame[400:]).unknown["site"].all()
    assert codebook.scales["size"].mean == pytest.approx(frame["size"][:400].mean())


def test_values_come_by_frequency_and_rare_ones_are_folded(tmp_path: Path):
    frame = log()
    _, rows, codebook = surveyed(table_of(frame, tmp_path), tmp_path / "rows", least=45)
    [part.close() for part in rows]
    counts = frame["site"].drop_nulls().value_counts().filter(pl.col("count") >= 45)
    expected = counts.sort("count", "site", descending=[True, False])["site"].to_list()
    assert codebook.vocabularies["site"].to_list() == expected


def book(tmp_path: Path) -> Codebook:
    _, rows, codebook = surveyed(table_of(log(), tmp_path), tmp_path / "rows")
    [part.close() for part in rows]
    return codebook


def test_cells_of_every_kind(tmp_path: Path):
    codebook = book(tmp_path)
    place = {p.field.name: p for p in codebook.places}
    rows = pl.DataFrame(
        {
            "site": ["s3", "never", None, ""],
            "tags": ["b|a|b", "z", None, "|"],
            "price": ["1.5", None, "inf", "word"],
            "size": [5.0, float("nan"), float("inf"), 0.0],
            "hits": [1.0, 2.5, 100.0, None],
            "at": ["2026-03-02 07:00:00", None, "no time", "2026-03-08 23:59:59"],
        }
    )
    encoded = codebook.encode(rows)
    site = place["site"]
    known = site.first + VALUES + codebook.vocabularies["site"].to_list().index("s3")
    missing = site.first + MISSING
    assert encoded.ids[:, site.column].tolist() == [known, site.first + UNKNOWN, missing, missing]
    tags = place["tags"]
    names = codebook.vocabularies["tags"].to_list()
    of = {name: tags.first + VALUES + row for row, name in enumerate(names)}
    assert encoded.ids[:, tags.column : tags.column + tags.width].tolist() == [
        [of["b"], of["a"], 0],
        [tags.first + UNKNOWN, 0, 0],
        [tags.first + MISSING, 0, 0],
        [tags.first + MISSING, 0, 0],
    ]
    hours = codebook.vocabularies["at: hour"].to_list()
    hour = place["at: hour"]
    assert encoded.ids[0, hour.column] == hour.first + VALUES + hours.index("7")
    weekdays, weekday = codebook.vocabularies["at: weekday"].to_list(), place["at: weekday"]
    assert encoded.ids[0, weekday.column] == weekday.first + VALUES + weekdays.index("1")  # a Monday
    price, size, hits = (encoded.numbers[:, place[name].column] for name in ("price", "size", "hits"))
    knots = codebook.scales["price"].knots
    assert price[0] == pytest.approx(np.interp(1.5, knots, np.arange(len(knots))), abs=1e-4)
    assert np.isnan(price[[1, 3]]).all() and price[2] == len(knots) - 1
    scale = codebook.scales["size"]
    assert size[0] == pytest.approx((5 - scale.mean) / scale.deviation, abs=1e-5)
    assert np.isnan(size[1]) and size[2] == pytest.approx((scale.high - scale.mean) / scale.deviation, abs=1e-4)
    assert hits[:3] == pytest.approx([1, np.log(2.5) ** 2, np.log(100) ** 2], abs=1e-4)


@pytest.mark.parametrize("cells", [[7, 8], [7.0, 8.0], ["7", "8"], [7.0, 8.5], [7.0, float("nan")]])
def test_a_value_is_the_same_whatever_its_type(cells: list[object]):
    one = Field(name="n", column="n", kind="category")
    codebook = Codebook((one,), {"n": pl.Series(["8", "7"])}, {})
    assert codebook.encode(pl.DataFrame({"n": cells})).ids[0, 0] == 1 + VALUES + 1


def test_a_codebook_survives_being_written(tmp_path: Path):
    before = book(tmp_path)
    after = Codebook.from_described(before.described(), before.table())
    np.testing.assert_array_equal(before.encode(log()).ids, after.encode(log()).ids)
    np.testing.assert_array_equal(before.encode(log()).numbers, after.encode(log()).numbers)
    with pytest.raises(ValueError, match="site"):
        Codebook.from_described(before.described(), before.table()[1:])


def test_labels_other_than_zero_and_one_are_named_with_their_row():
    assert as_labels(pl.Series("y", ["0", "1", "1.0"]), "t", 0).tolist() == [0, 1, 1]
    assert as_labels(pl.Series("y", [True, False]), "t", 0).tolist() == [1, 0]
    with pytest.raises(InputError, match=r"the label 'y' is '2' in row 13"):
        as_labels(pl.Series("y", [0, 1, 2]), "t", 10)
    with pytest.raises(InputError, match=r"is empty in row 2"):
        as_labels(pl.Series("y", [0, None]), "t", 0)


WHOLE = {
    "close together": pl.Series([7, 5, 7, 9, 5, 6], dtype=pl.Int64),
    "the ends of a byte": pl.Series([-128, 127] * 200, dtype=pl.Int8),
    "below zero": pl.Series([-3, -1, -3, 0, -2], dtype=pl.Int16),
    "far apart": pl.Series([1, 10**15, 1], dtype=pl.Int64),
    "beyond 64 bits with a sign": pl.Series([2**64 - 1, 2**64 - 2, 2**64 - 1], dtype=pl.UInt64),
    "128 bits": pl.Series([10**25, 10**25 + 1, 10**25], dtype=pl.Int128),
    "with gaps": pl.Series([3, None, 4, 3], dtype=pl.Int64),
    "one": pl.Series([2**63 - 1], dtype=pl.Int64),
    "none": pl.Series([], dtype=pl.Int64),
}


@pytest.mark.parametrize("cells", WHOLE.values(), ids=list(WHOLE))
def test_whole_numbers_are_coded_as_their_texts(cells: pl.Series):
    one, categories = Field(name="n", column="n", kind="category"), pl.Categories.random()
    for rows in (cells, cells.reverse()):  # the second meets nothing new
        codes, _held = coded(rows, one, categories)
        texts = categories.to_series().to_list()
        assert [None if code < 0 else texts[code] for code in codes] == as_text(rows, one).to_list()
        assert sorted(texts) == sorted(set(cells.drop_nulls().cast(pl.String)))
