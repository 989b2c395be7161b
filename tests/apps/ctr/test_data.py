"""Parts of a table, and batches of a part."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from ctr_fixtures import click_log, click_table

from attn.apps.ctr import rows as rooms
from attn.apps.ctr.data import open_clicks, prepare
from attn.apps.ctr.rows import OrderedBatches, ShuffledBatches
from attn.apps.ctr.split import Split
from attn.apps.ctr.train import Recipe, train
from attn.core.errors import InputError, TrainingError, UsageError
from attn.core.training.config import FitConfig
from attn.data_adapters.tables.open import open_table


def parts(split: Split, rows: int) -> np.ndarray:
    table = open_table(click_table())
    deal = split.part_of(table)
    found, first = [], 0
    for frame in table.batches(rows=rows):
        found.append(deal(frame, first))
        first += len(frame)
    return np.concatenate(found)


@pytest.mark.parametrize(
    "split", [Split(shares=(0.2, 0.3), seed=4), Split(group="user_id"), Split(time="at")], ids=["rows", "group", "time"]
)
def test_a_split_does_not_depend_on_how_the_table_is_read(split: Split):
    np.testing.assert_array_equal(parts(split, 100_000), parts(split, 77))


def test_shares_groups_and_times_are_kept():
    frame = pl.read_parquet(click_table())
    dealt = parts(Split(shares=(0.2, 0.3), seed=4), 500)
    assert np.bincount(dealt) / len(dealt) == pytest.approx([0.5, 0.2, 0.3], abs=0.04)
    groups = frame.with_columns(part=pl.Series(parts(Split(group="user_id"), 500))).group_by("user_id")
    assert groups.agg(pl.col("part").n_unique())["part"].max() == 1
    timed = frame.with_columns(part=pl.Series(parts(Split(time="at"), 500))).drop_nulls("at")
    limits = timed.group_by("part").agg(first=pl.col("at").min(), last=pl.col("at").max()).sort("part")
    assert (limits["last"][:-1] <= limits["first"][1:]).all()
    assert np.bincount(timed["part"]) / len(timed) == pytest.approx([0.8, 0.1, 0.1], abs=0.02)


def test_impossible_splits():
    with pytest.raises(UsageError, match="not by both"):
        Split(time="a", group="b")
    with pytest.raises(UsageError, match="nothing to train on"):
        Split(shares=(0.5, 0.5))
    with pytest.raises(InputError, match="no column 'day'"):
        Split(time="day").part_of(open_table(click_table()))


def seen(batches: ShuffledBatches) -> list[tuple[int, ...]]:
    return [tuple(row) for ids, _, _ in batches for row in ids.numpy().tolist()]


def test_text_that_does_not_sort_by_time_is_no_time(tmp_path: Path):
    pl.DataFrame({"at": ["01.02.2026 10:00", "02.01.2026 10:00"], "y": [0, 1]}).write_csv(tmp_path / "t.csv")
    with pytest.raises(InputError, match=r"'at' is text that does not sort by time, such as '01\.02\.2026 10:00'"):
        Split(time="at").part_of(open_table(tmp_path / "t.csv"))


def test_an_epoch_has_every_row_once_in_an_order_of_seed_and_epoch(tmp_path: Path):
    clicks = open_clicks(click_table(), label="click")
    with prepare(clicks, tmp_path) as data:
        batches = ShuffledBatches(data.train, 100, seed=3)
        assert len(batches) == len(data.train.rows) // 100
        first, again = seen(batches), seen(batches)
        batches.set_epoch(1)
        second = seen(batches)
        everything = [tuple(row) for ids, _, _ in OrderedBatches(data.train, 64) for row in ids.numpy().tolist()]
    assert first == again != second and len(first) == len(batches) * 100
    left = len(everything) - len(first)
    assert left < 100
    counts = {row: everything.count(row) for row in set(everything)}
    assert all(first.count(row) <= count for row, count in counts.items())
    assert not any(tmp_path.iterdir())


def test_a_large_table_is_passed_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rooms, "RUN", 50)
    monkeypatch.setattr(rooms, "POOL", 150)
    monkeypatch.setattr(rooms, "EPOCH", 500)
    with prepare(open_clicks(click_table(), label="click"), tmp_path) as data:
        batches = ShuffledBatches(data.train, 10, seed=0)
        assert batches.parts == round(len(data.train.rows) / 500)
        runs = [run for part in range(batches.parts) for run in batches._runs(part)]
        assert sorted(runs) == [(s, min(s + 50, len(data.train.rows))) for s in range(0, len(data.train.rows), 50)]
        for epoch in range(batches.parts):
            batches.set_epoch(epoch)
            assert sum(1 for _ in batches) == len(batches)
        halves = [ShuffledBatches(data.train, 10, seed=0) for _ in range(2)]
        for rank, half in enumerate(halves):
            half.rank, half.ranks = rank, 2
        assert not set(halves[0]._runs(0)) & set(halves[1]._runs(0))
        assert len(halves[0]) == len(halves[1])


@pytest.mark.parametrize(
    ("change", "error", "what"),
    [
        ({"click": 1}, TrainingError, "the label 'click' is 1 in all"),
        ({"click": 3}, InputError, "the label 'click' is '3' in row 1"),
        ({"click": None}, InputError, "is empty in row 1"),
    ],
)
def test_labels_that_teach_nothing(change: dict, error: type[Exception], what: str, tmp_path: Path):
    values = [pl.lit(value).alias(name) for name, value in change.items()]
    click_log(200).with_columns(values).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(error, match=what), prepare(open_clicks(tmp_path / "t.parquet", label="click"), tmp_path / "r"):
        pass
    assert not any((tmp_path / "r").iterdir())


def test_the_users_own_folder_of_rows_survives(tmp_path: Path):
    """`attn ctr train data/rows/clicks.parquet --out data` once deleted data/rows."""
    mine = tmp_path / "data" / "rows" / "clicks.parquet"
    mine.parent.mkdir(parents=True)
    click_log(200).write_parquet(mine)
    clicks = open_clicks(mine, label="click")
    with pytest.raises(UsageError, match="data: holds rows, which attn did not write"):
        train(clicks, tmp_path / "data", Recipe(), FitConfig(epochs=1))
    with prepare(clicks, tmp_path / "data") as data:
        assert len(data.train.rows) > 100
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["rows"]
    assert len(pl.read_parquet(mine)) == 200


def test_one_table_is_not_used_twice(tmp_path: Path):
    """The same file, also by another name or in a folder, is refused unread; the same rows in any order when read."""
    log = click_log(400)
    for name, frame in (("all/a", log[:200]), ("all/b", log[200:]), ("c", click_log(300, seed=3))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        frame.write_csv(tmp_path / f"{name}.csv")
    (tmp_path / "link.csv").symlink_to("c.csv")
    log[:200].sample(fraction=1, shuffle=True).write_csv(tmp_path / "shuffled.csv")
    a, c = tmp_path / "all/a.csv", tmp_path / "c.csv"
    for table, others, message in (
        (a, {"validation": a}, "a.csv: has the rows to train on and those to choose the best epoch by; give each a"),
        (a, {"validation": c, "test": tmp_path / "link.csv"}, "link.csv: has the rows to choose the best epoch by and"),
        (tmp_path / "all", {"test": a}, "a.csv: has the rows to train on and those to measure on"),
    ):
        with pytest.raises(UsageError, match=message):
            open_clicks(table, label="click", **others)
    twice = open_clicks(a, label="click", validation=c, test=tmp_path / "shuffled.csv")
    with pytest.raises(UsageError, match=r"shuffled\.csv: has the rows to train on and those to measure on"):  # noqa: SIM117
        with prepare(twice, tmp_path):
            pass
    with prepare(open_clicks(a, label="click", validation=c, test=tmp_path / "all/b.csv"), tmp_path) as data:
        assert len(data.train.rows) == 200
