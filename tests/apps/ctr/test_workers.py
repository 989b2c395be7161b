"""A table in many files, scored by several processes: the same rows come out as from one."""

from pathlib import Path

import polars as pl
import pytest
from ctr_fixtures import click_log, click_model
from polars.testing import assert_frame_equal

from attn.apps.ctr.predict import CTRPredictor
from attn.core.errors import UsageError


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files in nested folders; one has ids as text, one its label first and another order, one more column in all."""
    folder = tmp_path_factory.mktemp("days")
    rows = click_log(90, seed=4)
    parts = [
        rows[:30],
        rows[30:60].with_columns(pl.col("user_id").cast(pl.String)),
        rows[60:].select("click", *rows.columns[:-1]),
    ]
    for number, part in enumerate(parts):
        place = folder / f"day={number}" / "deep"
        place.mkdir(parents=True)
        part.with_columns(more=pl.lit(1)).write_parquet(place / "part.parquet")
    return folder


def test_files_of_many_shapes_are_one_table(files: Path):
    predictor = CTRPredictor.load(click_model())
    whole = predictor.codebook.encode(click_log(90, seed=4))
    table = predictor.open(files)
    (frame,) = table.batches(predictor.codebook.columns)
    found = predictor.codebook.encode(frame)
    assert (found.ids == whole.ids).all() and table.columns[-1] == "day"


@pytest.mark.slow
def test_several_processes_give_the_rows_of_one(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    predictor = CTRPredictor.load(click_model(), device="cpu")
    table = predictor.open(files)
    batches = type(table).batches
    monkeypatch.setattr(type(table), "batches", lambda self, columns: batches(self, columns, rows=7))
    paths = [tmp_path / f"{workers}.parquet" for workers in (0, 2)]
    counts = [
        predictor.predict_table(table, path, keep=["day"], workers=workers)
        for workers, path in zip((0, 2), paths, strict=True)
    ]
    one, two = map(pl.read_parquet, paths)
    assert_frame_equal(one, two, abs_tol=1e-6)
    assert counts[0] == counts[1] and one["id"].to_list() == [str(row + 1) for row in range(90)]


def test_several_processes_are_for_the_cpu(files: Path, tmp_path: Path):
    predictor = CTRPredictor.load(click_model(), device="meta")
    with pytest.raises(UsageError, match="CPU only"):
        predictor.predict_table(predictor.open(files), tmp_path / "a.parquet", workers=2)
