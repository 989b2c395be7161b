"""libsvm, libFM and libffm text as columns."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

from attn.core.errors import InputError
from attn.data_adapters.tables import rows as table_rows
from attn.data_adapters.tables.open import Table, open_table


@pytest.fixture(params=[1 << 20, 50], autouse=True, ids=["one block", "many blocks"])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_rows, "BLOCK", request.param)


def opened(path: Path, text: str, **options: object) -> Table:
    path.write_text(text)
    return open_table(path, **options)  # type: ignore[arg-type]


def whole(table: Table) -> pl.DataFrame:
    return pl.concat(table.batches(rows=3))


def test_one_hot_libsvm_has_a_category_at_each_position(tmp_path: Path) -> None:
    table = opened(tmp_path / "t.libsvm", "1 3:1 10:1 20:1\n-1 4:1 11:1 20:1\n\n-1 3:1 12:1.0 20:1 # note\n")
    expected = {"label": [1, 0, 0], "field_1": [3, 4, 3], "field_2": [10, 11, 12], "field_3": [20, 20, 20]}
    assert_frame_equal(whole(table), pl.DataFrame(expected, schema_overrides={"label": pl.Int8}))
    assert (table.label, table.rows(), dict(table.multi)) == ("label", 3, {})


def test_libsvm_of_numbers_and_categories_by_position(tmp_path: Path) -> None:
    """As Criteo is often given: an index of its own for each number, one of many for each category."""
    table = opened(tmp_path / "t.txt", "0 1:0.5 2:7 40:1\n1 1:0 2:-3 41:1\n")
    expected = {"label": [0, 1], "index_1": [0.5, 0.0], "index_2": [7.0, -3.0], "field_3": [40, 41]}
    assert_frame_equal(whole(table), pl.DataFrame(expected, schema_overrides={"label": pl.Int8}))


@pytest.mark.parametrize("density", [0.1, 0.9])
def test_other_libsvm_is_a_number_for_each_index(tmp_path: Path, density: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 12)).round(3) * (rng.random((40, 12)) < density)
    x[0] = 1  # every index is there
    dump_svmlight_file(x, rng.integers(0, 2, 40), str(tmp_path / "t.svm"), zero_based=False)
    sparse, labels = load_svmlight_file(str(tmp_path / "t.svm"))
    frame = whole(open_table(tmp_path / "t.svm"))
    assert frame.columns == ["label", *(f"index_{i}" for i in range(1, 13))]
    assert np.array_equal(frame.drop("label").to_numpy(), sparse.toarray())
    assert np.array_equal(frame["label"].to_numpy(), labels)


def test_libffm(tmp_path: Path) -> None:
    text = "1 0:1:0.25 1:7:1 2:3:1 2:4:1 2:3:1\n0 0:1:8 1:8:0.3 2:9:1\n0 1:7:1\n"
    table = opened(tmp_path / "t.ffm", text)
    expected = {
        "label": [1, 0, 0],
        "value_0": [0.25, 8.0, None],
        "field_1": [7, 8, 7],
        "field_2": ["3|4|3", "9", None],
    }
    assert_frame_equal(whole(table), pl.DataFrame(expected, schema_overrides={"label": pl.Int8}))
    assert dict(table.multi) == {"field_2": "|"}
    assert_frame_equal(pl.concat(table.batches(["field_2", "label"])), whole(table).select("field_2", "label"))


def test_a_file_of_few_lines_reads_as_the_model_knows_it(tmp_path: Path) -> None:
    train = opened(tmp_path / "train.libsvm", "0 1:0.5 2:7 40:1\n1 1:0 2:-3 41:1\n")
    few = opened(tmp_path / "few.libsvm", "1 1:1 2:1 40:1\n", columns=train.columns)
    assert few.schema == train.schema
    assert few.head(1).rows() == [(1, 1.0, 1.0, 40)]
    fields = opened(tmp_path / "train.libffm", "0 0:1:0.5 1:7:1\n1 0:1:2 1:8:1\n")
    alone = opened(tmp_path / "few.libffm", "0:1:1 2:2:1\n", columns=fields.columns)
    assert alone.columns == ("value_0", "field_1")
    assert alone.head(1).rows() == [(1.0, None)]


def test_frappe_as_libfm(tmp_path: Path) -> None:
    lines = "-1 204:1 4798:1 5041:1 5046:1 5053:1 5055:1 5058:1 5060:1 5073:1 5183:1\n1 " + " ".join(
        f"{i}:1" for i in range(10)
    )
    named = opened(tmp_path / "frappe.train.libfm", lines)
    context = ("daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city")
    assert named.columns == ("label", "user", "item", *context)
    assert named.head(2)["label"].to_list() == [0, 1]
    assert_frame_equal(whole(opened(tmp_path / "t.txt", lines, format="frappe")), whole(named))
    assert opened(tmp_path / "f.libfm", lines.splitlines()[1], columns=named.columns).columns == named.columns
    with pytest.raises(InputError, match="has 2 entries in a line; Frappe has 10"):
        opened(tmp_path / "t.txt", "1 2:1 3:1\n", format="frappe")


@pytest.mark.parametrize(
    ("labels", "values", "dtype"),
    [
        (["-1", "1", "+1"], [0, 1, 1], pl.Int8),
        (["0", "1", "1.0"], [0, 1, 1], pl.Int8),
        (["-1", "-1", "-1"], [0, 0, 0], pl.Int8),
        (["0.5", "3", "1"], [0.5, 3, 1], pl.Float64),
        (["-1", "0", "1"], [-1, 0, 1], pl.Float64),
    ],
)
def test_labels(tmp_path: Path, labels: list[str], values: list[float], dtype: pl.DataType) -> None:
    table = opened(tmp_path / "t.svm", "".join(f"{label} 1:1\n" for label in labels))
    assert table.schema["label"] == dtype
    assert whole(table)["label"].to_list() == values


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("t.svm", "1 3", r"t\.svm: line 5 has '3', which is not index:value"),
        ("t.svm", "1 3:4:5", r"line 5 has '3:4:5', which is not index:value"),
        ("t.svm", "1 3:x", r"line 5 has '3:x', which is not index:value"),
        ("t.svm", "3:1", r"line 5 begins with '3:1', which is no label"),
        ("t.svm", "yes 3:1", r"line 5 begins with 'yes', which is no label"),
        ("t.ffm", "1 3:4", r"t\.ffm: line 5 has '3:4', which is not field:index:value"),
        ("t.ffm", "1 a:4:1", r"line 5 has 'a:4:1', which is not field:index:value"),
    ],
)
def test_a_line_that_is_not_of_the_kind(tmp_path: Path, name: str, line: str, message: str) -> None:
    good = "1 3:1:1\n" if name == "t.ffm" else "1 3:1\n"
    with pytest.raises(InputError, match=message):
        opened(tmp_path / name, f"{good * 2}\n{good}{line}\n{good * 50}")


def test_too_many_columns(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="more than 1,000 indices"):
        opened(tmp_path / "t.svm", "".join(f"1 {i}:0.5 {i + 7}:2\n" for i in range(1_001)))
    with pytest.raises(InputError, match="more than 1,000 fields"):
        opened(tmp_path / "t.ffm", "".join(f"1 {i}:1:0.5\n" for i in range(1_001)))


def test_a_label_in_some_files_only(tmp_path: Path) -> None:
    (tmp_path / "a.svm").write_text("1 3:1\n")
    (tmp_path / "b.svm").write_text("3:1\n")
    with pytest.raises(InputError, match=r"b\.svm: has no label, but other files have"):
        open_table(tmp_path)


def test_lines_of_labels_alone_have_no_columns(tmp_path: Path) -> None:
    (tmp_path / "x.libsvm").write_text("# a remark\n")
    with pytest.raises(InputError, match="is empty"):
        open_table(tmp_path / "x.libsvm")
    (tmp_path / "y.libffm").write_text("1\n0\n")
    assert open_table(tmp_path / "y.libffm").columns == ("label",)
