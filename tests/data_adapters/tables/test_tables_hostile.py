"""What is wrong with a file is one clear InputError: which file, which line, which column."""

import gzip
import random
from pathlib import Path

import polars as pl
import pytest

from attn.core.errors import InputError
from attn.data_adapters.tables import rows as table_rows
from attn.data_adapters.tables.open import open_table, reading

PADDING = "".join(f"{i},some words,{i / 7:.4f}\n" for i in range(2_000))


@pytest.fixture(params=[1 << 20, 1 << 14], ids=["one block", "many blocks"], autouse=True)
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_rows, "BLOCK", request.param)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bad.csv"


def refusal(path: Path) -> str:
    """The one sentence."""
    with pytest.raises(InputError) as caught:
        table = open_table(path)
        for _ in table.batches():
            pass
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message and len(message) < 400
    return message.removeprefix(f"{path}: ")


def refusal_of(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return refusal(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a,b,c\n1,"x,2\n3,y,4\n', "the quote opened in line 2 is never closed"),
        ('a,b,c\n1,"x,2\n3,"y",4\n', "the quote opened in line 2 is not closed at the end of its cell"),
        ('a,b,c\n1,"x"y,2\n', "the quote opened in line 2 is not closed at the end of its cell"),
        ('a,b,c\n1,"x\ny ""z"" "w,2\n', "the quote opened in line 2 is not closed at the end of its cell"),
        ('a,b,c\n1,2,3\n1,5" wide,2\n', "line 3 has a quote in the middle of a cell"),
        ('a,b,c\n1,"two\nlines",3\n1,5" wide,2\n', "line 4 has a quote in the middle of a cell"),
        ('a,b,c\n1,"""",3\n1,"",2\n1,"\n', "the quote opened in line 4 is never closed"),
    ],
)
@pytest.mark.parametrize("padded", [False, True])
def test_broken_quotes(path: Path, text: str, expected: str, padded: bool) -> None:
    if padded:  # the same fault 2,000 lines further on, and 2,000 lines before the end
        first, rest = text.split("\n", 1)
        number = int(expected.split("line ")[1].split()[0])
        text = f"{first}\n{PADDING}{rest}{PADDING}"
        expected = expected.replace(f"line {number}", f"line {number + 2_000}")
    message = refusal_of(path, text)
    if padded and "never closed" in expected:
        expected = expected.replace("never closed", "not closed")  # the next quote, or a cell's limit, may come first
        message = message.replace("never closed", "not closed")
    assert message.startswith(expected)


def test_a_quote_that_swallows_the_rest_is_not_kept_in_memory(path: Path) -> None:
    message = refusal_of(path, "a,b,c\n" + '1,"x,2\n' + PADDING * 30)
    assert message == "the quote opened in line 2, column 'b', is not closed within 1,000,000 characters"


@pytest.mark.parametrize(
    ("row", "cells"), [("1,2", "2 cells"), ("1,2,3,4", "4 cells"), ("1", "1 cell"), ("1,2,3,", "4 cells")]
)
def test_a_ragged_row(path: Path, row: str, cells: str) -> None:
    message = refusal_of(path, f"a,b,c\n{PADDING}{row}\n{PADDING}")
    assert message.startswith(f"line 2002 has {cells} instead of 3;")


def test_a_short_and_a_long_row_do_not_make_up_for_each_other(path: Path) -> None:
    assert refusal_of(path, "a,b,c\n1,2,3\n1,2\n1,2,3,4\n").startswith("line 3 has 2 cells instead of 3")
    assert refusal_of(path, "a,b,c\n1,2,3\n1,2,3,4\n1,2\n").startswith("line 3 has 4 cells instead of 3")
    assert refusal_of(path, 'a,b,c\n1,"2\n\n2",3\n\n1,2\n').startswith("line 6 has 2 cells instead of 3")


def test_column_names_that_come_twice(path: Path) -> None:
    assert refusal_of(path, "a,b,a,c,b\n1,2,3,4,5\n").startswith("has more than one column named 'a', 'b'")


def test_too_many_columns(path: Path) -> None:
    message = refusal_of(path, ",".join(f"c{i}" for i in range(10_001)) + "\n" + ",".join("1" * 10_001) + "\n")
    assert message == "has 10,001 columns; at most 10,000 are read"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"\r\n"])
def test_an_empty_file(path: Path, content: bytes) -> None:
    assert refusal_of(path, content) == "is empty"


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "libsvm", "csv.gz", "txt"])
def test_an_empty_file_of_another_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    path.touch()
    assert refusal(path) == "is empty"


def test_text_that_is_not_utf8(path: Path) -> None:
    start = f"a,b,c\n{PADDING}".encode()
    assert refusal_of(path, start + b"1,caf\xe9,2\n" + PADDING.encode()).startswith(
        "line 2002 is not UTF-8 (byte 0xe9)"
    )
    assert refusal_of(path, start + b"1,caf\xc3").startswith("line 2002 is not UTF-8 (byte 0xc3)")
    assert refusal_of(path, "a,b\n1,2\n".encode("utf-16")).startswith("is UTF-16; save the file as UTF-8")


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_cell_that_is_too_long(path: Path, quote: str) -> None:
    start = f"a,b,c\n{PADDING}"
    message = refusal_of(path, f"{start}1,{quote}{'x' * 10_000_000}{quote},2\n{PADDING}")
    if quote:
        assert message.startswith(
            "the quote opened in line 2002, column 'b', is not closed within 1,000,000 characters"
        )
    else:
        assert message == "line 2002 has a cell of more than 1,000,000 characters in column 'b'"


def test_the_longest_cells_are_read(path: Path) -> None:
    words = ["x" * 1_000_000, "☃" * 1_000_000, "a, " * 333_333]
    pl.DataFrame({"n": range(3), "w": words, "v": words}).write_csv(path)
    assert open_table(path).head(3)["v"].to_list() == words
    pl.DataFrame({"n": range(3), "w": words, "v": [*words[:2], words[1] + "☃"]}).write_csv(path)
    assert refusal(path) == "line 4 has a cell of more than 1,000,000 characters in column 'v'"


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_long_cells_of_columnar_files(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"t.{kind}"
    for length, message in (
        (1_000_000, None),
        (1_000_001, "row 3 has a cell of more than 1,000,000 characters in column 'b'"),
    ):
        frame = pl.DataFrame({"a": ["x"] * 4, "b": ["y", None, "☃" * length, "z"]})
        frame.write_parquet(path) if kind == "parquet" else frame.write_ipc(path)
        if message is None:
            assert sum(batch.height for batch in open_table(path).batches()) == 4
        else:
            assert refusal(path) == message


def test_a_row_that_never_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_rows, "MAX_ROW", 1 << 21)
    message = refusal_of(path, "a,b\n1,2\n" + "123456789," * 500_000)
    assert message == "the row that begins in line 3 is longer than 2 MB"


@pytest.mark.parametrize("name", ["nothing.csv", "nothing.parquet", "no/folder", "*.csv", "x" * 300])
def test_what_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"is not there|no file matches"):
        open_table(tmp_path / name)


def test_a_folder_without_tables(tmp_path: Path) -> None:
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "picture.png").touch()
    with pytest.raises(InputError, match=r"holds no table; looked for \.csv"):
        open_table(tmp_path)


def test_what_is_no_table(tmp_path: Path) -> None:
    noise = random.Random(0).randbytes(100_000)
    for name in ("t.csv", "t.tsv", "t.libsvm", "t.bin", "t.txt"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n\0\0" + noise)
        assert refusal(tmp_path / name).startswith("is not a table (it is binary)")
    for name in ("t.parquet", "t.arrow"):
        (tmp_path / name).write_bytes(noise)
        assert refusal(tmp_path / name) == f"does not begin as {Path(name).suffix[1:].capitalize()} files do"
    (tmp_path / "t.xlsx").write_bytes(b"PK\x03\x04" + noise)
    assert refusal(tmp_path / "t.xlsx").startswith("is a ZIP archive or a spreadsheet")
    (tmp_path / "letter.txt").write_text("Dear reader\nthis is no table\n")
    assert refusal(tmp_path / "letter.txt").startswith("is not a table that can be recognised")
    (tmp_path / "t.jsonl").write_text('{"a": 1, "b": 2}\n')
    assert refusal(tmp_path / "t.jsonl").startswith("is JSON; write it as")


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_columnar_files_that_are_cut_off_or_damaged(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"t.{kind}"
    rng = random.Random(1)
    frame = pl.DataFrame({"a": range(20_000), "b": [str(rng.random()) for _ in range(20_000)]})
    frame.write_parquet(path, row_group_size=5_000) if kind == "parquet" else frame.write_ipc(path, compression="zstd")
    whole = path.read_bytes()
    for end in (10, len(whole) // 2, len(whole) - 3):
        assert refusal_of(path, whole[:end]).startswith("is cut off: the end of the file")
    middle = len(whole) // 2
    for damaged in (whole[:middle] + whole[middle + 5_000 :], whole[:middle] + b"\0" * 5_000 + whole[middle + 5_000 :]):
        assert "cannot be read" in refusal_of(path, damaged)
        with pytest.raises(InputError), reading(path):
            open_table(path).lazy().select(pl.col("b").n_unique(), pl.col("a").sum()).collect()


def test_an_arrow_stream(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_ipc_stream(tmp_path / "t.arrow")
    assert refusal(tmp_path / "t.arrow").startswith("is an Arrow stream")


def test_compressed_text_that_is_cut_off_or_damaged(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    packed = gzip.compress(f"a,b,c\n{PADDING}".encode())
    assert refusal_of(path, packed[: len(packed) // 2]) == "is cut off: its compressed data ends early"
    assert "cannot be read" in refusal_of(path, packed[:500] + b"\xff" * 100 + packed[600:])


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow", "libsvm", "gz"])
def test_bytes_changed_at_random_give_a_table_or_one_sentence(tmp_path: Path, kind: str) -> None:
    rng = random.Random(kind)
    path = tmp_path / f"t.{kind}"
    frame = pl.DataFrame(
        {"a": range(300), "b": [f'w "{i % 7}",' for i in range(300)], "c": [i / 3 for i in range(300)]}
    )
    if kind == "parquet":
        frame.write_parquet(path, row_group_size=100)
    elif kind == "arrow":
        frame.write_ipc(path)
    elif kind == "libsvm":
        path.write_text("".join(f"{i % 2} {i % 9 + 1}:1 {i % 5 + 20}:0.5\n" for i in range(300)))
    else:
        text = frame.write_csv().encode()
        path.write_bytes(gzip.compress(text) if kind == "gz" else text)
    whole = path.read_bytes()
    for _ in range(60):
        changed = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        path.write_bytes(bytes(changed[: rng.choice([len(changed), rng.randrange(1, len(changed))])]))
        try:
            for batch in open_table(path).batches(rows=50):
                assert batch.height
        except InputError as error:
            assert "\n" not in str(error)
