"""An interrupted prediction keeps its rows, and goes on from them."""

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from attn.console import give_predictions
from attn.core.errors import InputError, UsageError
from attn.core.results.partial import PartialTable, not_among
from attn.core.results.prediction import Prediction
from attn.core.results.tables import ROWS_AT_ONCE, ResultWriter

LABELS = ["elliptical", "spiral"]
SETTINGS = {"model": ["m", {}], "tta": False}


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    """A shell's background jobs begin with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def prediction(name: str) -> Prediction:
    p = int(name) % 10 / 10
    embedding = np.full(3, p, np.float32)
    if name.endswith("7"):
        return Prediction.failed(name, "no image", "m")
    return Prediction.from_probabilities(
        name, LABELS, [p, 1 - p], model="m", values={"ra": float(name)}, embedding=embedding
    )


def stream(names: list[str], last: int | None = None) -> Iterator[Prediction]:
    """Predictions; Ctrl-C is pressed after `last` of them."""
    for number, name in enumerate(names):
        if number == last:
            signal.raise_signal(signal.SIGINT)
        yield prediction(name)


def run(names: list[str], out: Path, *, last: int | None = None, resume: bool = False) -> int:
    partial = PartialTable(out, SETTINGS)
    done = partial.ids() if resume else []
    left = list(not_among(done, names, str))
    return give_predictions(stream(left, last), LABELS, out, partial=partial, resume=bool(done))


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "fits"])
@pytest.mark.parametrize("stops", [[3], [1, 4], [ROWS_AT_ONCE + 5]])
def test_a_run_that_was_interrupted_ends_with_the_table_of_one_that_was_not(
    tmp_path: Path, suffix: str, stops: list[int]
) -> None:
    names = [f"{number:04}" for number in range(max(stops) + 10)]
    whole, out = tmp_path / f"whole.{suffix}", tmp_path / f"rows.{suffix}"
    failed = run(names, whole)
    for turn, last in enumerate(stops):
        with pytest.raises(KeyboardInterrupt, match=rf"{sum(stops[: turn + 1]):,} rows are kept"):
            run(names, out, last=last, resume=turn > 0)
        assert not out.exists()
    assert run(names, out, resume=True) == failed
    assert out.read_bytes() == whole.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {whole.name, out.name}


def test_an_older_table_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    run(["0001"], out)
    before = out.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        run(["0002", "0003"], out, last=1)
    assert out.read_bytes() == before
    run(["0002", "0003"], out, resume=True)
    assert pl.read_csv(out)["id"].to_list() == [2, 3]


def test_without_resume_it_begins_anew(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    with pytest.raises(KeyboardInterrupt):
        run(["0001", "0002"], out, last=1)
    run(["0003"], out)
    assert pl.read_csv(out)["id"].to_list() == [3]
    assert list(tmp_path.iterdir()) == [out]


def test_an_error_keeps_nothing(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    with pytest.raises(RuntimeError), ResultWriter(out, LABELS, PartialTable(out, SETTINGS)) as table:
        table.write(prediction("0001"))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    with pytest.raises(KeyboardInterrupt):
        run(["0001", "0002"], out, last=1)
    assert PartialTable(out, SETTINGS).ids() == ["0001"]
    with pytest.raises(UsageError, match="another --tta"):
        PartialTable(out, SETTINGS | {"tta": True}).ids()


@pytest.mark.parametrize("cut", [0, 40, -9])
def test_a_damaged_file_is_named(tmp_path: Path, cut: int) -> None:
    out = tmp_path / "rows.csv"
    with pytest.raises(KeyboardInterrupt):
        run(["0001", "0002"], out, last=1)
    partial = PartialTable(out, SETTINGS)
    partial.path.write_bytes(partial.path.read_bytes()[:cut])
    with pytest.raises(InputError, match="without --resume"):
        partial.ids()


def test_an_id_that_is_done_once_is_left_out_once() -> None:
    assert list(not_among(["a", "b"], ["a", "a", "b", "c"], str)) == ["a", "c"]
