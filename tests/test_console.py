"""What the console prints for people and for programs."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from attn import console
from attn.core.errors import InputError
from attn.core.results.prediction import Prediction

LABELS = ["elliptical", "spiral"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def terminal() -> Iterator[Terminal]:
    screen = Terminal()
    with redirect_stdout(screen), pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "dumb")  # no colour codes between the words
        yield screen


def predictions() -> list[Prediction]:
    return [
        Prediction.from_probabilities("a.fits", LABELS, [0.2, 0.8], flags=("nan",), model="m"),
        Prediction.failed("b.fits", "b.fits: no image", "m"),
    ]


def test_elsewhere_predictions_are_tab_separated(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.show_predictions(predictions(), LABELS) == 1
    first, second = csv.DictReader(io.StringIO(capsys.readouterr().out), delimiter="\t")
    assert (first["id"], first["label"], first["p_spiral"], first["flags"]) == (
        "a.fits",
        "spiral",
        "0.8",
        "nan",
    )
    assert (second["label"], second["p_spiral"], second["error"]) == ("", "", "b.fits: no image")


def test_json_is_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Prediction.from_probabilities("é", LABELS, [0.5, 0.5], embedding=np.ones(2)), *predictions()]
    assert console.show_predictions(rows, LABELS, as_json=True) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["id"] for line in lines] == ["é", "a.fits", "b.fits"]
    assert lines[0]["embedding"] == [1.0, 1.0]
    assert lines[2]["p_spiral"] is None


def test_predictions_appear_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    def stream():  # type: ignore[no-untyped-def]
        for prediction in predictions():
            yield prediction
            assert prediction.id in capsys.readouterr().out

    console.show_predictions(stream(), LABELS)


def test_on_a_terminal_failures_are_seen() -> None:
    with terminal() as screen:
        assert console.show_predictions(predictions(), LABELS) == 1
    header, first, second = screen.getvalue().splitlines()
    assert header.split() == ["id", "label", "probabilities"]
    assert first.split() == ["a.fits", "spiral", "spiral", "0.80", "elliptical", "0.20", "nan"]
    assert "b.fits: no image" in second


def test_names_cannot_play_with_the_terminal() -> None:
    hostile = Prediction.failed("a\x1b[2J[bold]x[/]\tb\nc", "\x1b]0;title\x07")
    with terminal() as screen:
        console.show_predictions([hostile], LABELS)
    assert "\x1b[2J" not in screen.getvalue()
    assert "\x1b]" not in screen.getvalue()
    assert "[bold]x[/]" in screen.getvalue()
    assert len(screen.getvalue().splitlines()) == 2


def test_name_that_is_not_utf8(capsys: pytest.CaptureFixture[str]) -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    console.show_predictions([Prediction.failed(name, "why")], LABELS)
    console.show_predictions([Prediction.failed(name, "why")], LABELS, as_json=True)
    capsys.readouterr().out.encode("utf-8")


def test_long_path_keeps_its_end() -> None:
    with terminal() as screen:
        console.show_predictions([Prediction.failed("/survey/" + "x" * 100 + "/NGC1300.fits", "why")], LABELS)
    assert "/NGC1300.fits" in screen.getvalue()
    assert "x" * 40 not in screen.getvalue()


def test_table_for_programs_and_people(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"name": "a", "n": 3, "share": 0.123456789, "steps": True}, {"name": "b", "dims": (1, 2)}]
    with terminal() as screen:
        console.show_table(rows, title="things")
    assert "things" in screen.getvalue()
    assert "0.123457" in screen.getvalue()
    console.show_table(rows)
    assert capsys.readouterr().out == "name\tn\tshare\tsteps\na\t3\t0.123457\tyes\nb\t\t\t\n"
    console.show_table(rows, as_json=True)
    assert json.loads(capsys.readouterr().out)[1] == {"name": "b", "dims": [1, 2]}


def test_an_interval_stands_in_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_table([{"group": "a", "ece": {"value": 0.5, "low": 0.25, "high": 0.75}}])
    assert capsys.readouterr().out == "group\tece\na\t0.5 (0.25 to 0.75)\n"
    estimates = [{"value": 0.98765, "low": 0.0, "high": None}, {"value": 0.98765, "low": 0.0012345, "high": 1.0}]
    console.show_table([{"auc": estimate} for estimate in [*estimates, dict.fromkeys(("value", "low", "high"))]])
    assert capsys.readouterr().out == "auc\n0.988\n0.988 (0.00123 to 1)\n\n"


def test_json_of_what_numpy_and_paths_hold(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"a": np.arange(2), "b": np.float32(0.5), "c": Path("x/y"), "d": float("nan"), 1: (None, True)})
    assert json.loads(capsys.readouterr().out) == {
        "a": [0, 1],
        "b": 0.5,
        "c": "x/y",
        "d": None,
        "1": [None, True],
    }


def test_bar_is_silent_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress(3, "reading") as advance:
        advance()
    assert capsys.readouterr() == ("", "")


def test_bar_moves_on_a_terminal_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with console.progress(3, "reading") as advance:
        for _ in range(3):
            advance()
    assert "reading" in screen.getvalue()
    assert screen.getvalue().rstrip().endswith("\x1b[2K")  # the last thing done is to erase the line


def test_failed_rows_at_the_beginning_take_no_column_from_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    good = Prediction.from_probabilities("b", LABELS, [0.5, 0.5], values={"ra": 1.5, "x": 2.0})
    partly = Prediction.from_probabilities("d", LABELS, [0.5, 0.5], values={"x": 3.0})
    console.show_predictions([Prediction.failed("a", "why"), good, Prediction.failed("c", "why"), partly], LABELS)
    header, *rows = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert header[-2:] == ["ra", "x"]
    assert [(row[0], row[-2:]) for row in rows] == [
        ("a", ["", ""]),
        ("b", ["1.5", "2"]),
        ("c", ["", ""]),
        ("d", ["", "3"]),
    ]
    console.show_predictions([Prediction.failed("a", "why")] * 3, LABELS)
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_each_file_has_a_row_and_a_name_of_its_own(tmp_path: Path) -> None:
    """Also a file whose name is not UTF-8; the reason of a file that failed stands in its row."""
    paths = [tmp_path / "a.mid", tmp_path / "b" / "a.mid", Path(os.fsdecode(b"caf\xe9.mid"))]

    def act(path: Path, name: str) -> dict[str, object]:
        if name == "a.mid.2":
            raise InputError("is broken", where=path)
        return {"name": name}

    rows = console.each(paths, act, ("name",), label="reading")
    assert [row["name"] for row in rows] == ["a.mid", None, r"caf\udce9.mid"]
    assert [row["error"] for row in rows] == [None, f"{paths[1]}: is broken", None]
