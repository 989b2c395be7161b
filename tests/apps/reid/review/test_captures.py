"""Capture histories by hand."""

from pathlib import Path

import polars as pl
import pytest
from reid_review_fixtures import HOSTILE, Scene

from attn.apps.reid.review.captures import capture_history, write_table
from attn.core.errors import InputError, UsageError


def test_days(scene: Scene) -> None:
    table, without = capture_history(scene.gallery)
    assert table.columns == ["individual", "ch", "2024-03-01", "2024-03-02"] and without == 0
    assert table.rows() == [("007", "11", 1, 1), (HOSTILE, "10", 1, 0)]


@pytest.mark.parametrize(
    ("occasion", "columns", "words"),
    [
        ("month", ["2024-03"], ["1", "1"]),
        ("encounter", ["2", "10"], ["10", "01"]),
        ("camera", ["north", "south"], ["11", "10"]),
    ],
)
def test_other_occasions(scene: Scene, occasion: str, columns: list[str], words: list[str]) -> None:
    table, _ = capture_history(scene.gallery, occasion)
    assert table.columns[2:] == columns and table["ch"].to_list() == words
    assert [int(word, 2) > 0 for word in words] == [True, True]


def test_a_table_keeps_its_words(scene: Scene, tmp_path: Path) -> None:
    table, _ = capture_history(scene.gallery)
    write_table(tmp_path / "h.csv", table)
    lines = (tmp_path / "h.csv").read_text().splitlines()
    assert lines[:2] == ['"individual","ch","2024-03-01","2024-03-02"', '"007","11",1,1']
    assert pl.read_csv(tmp_path / "h.csv", infer_schema=False)["individual"].to_list() == ["007", HOSTILE]


def test_what_has_no_occasion_is_counted_or_refused(scene: Scene) -> None:
    gallery = scene.gallery
    some = gallery.rows.with_columns(
        pl.when(pl.col("id") == "3.png").then(pl.lit("")).otherwise(pl.col("time")).alias("time")
    )
    object.__setattr__(gallery, "rows", some)
    assert capture_history(gallery)[1] == 1
    object.__setattr__(gallery, "rows", some.with_columns(time=pl.lit("at noon"), encounter=pl.lit("")))
    for occasion, column in ((None, "time"), ("year", "time"), ("encounter", "encounter")):
        with pytest.raises(InputError, match=f"every picture of somebody known has an empty {column}"):
            capture_history(gallery, occasion)
    with pytest.raises(UsageError, match="--occasion is day, month, year, encounter, camera, not 'week'"):
        capture_history(gallery, "week")
    with pytest.raises(UsageError, match=r"end its name in \.csv"):
        write_table(Path("h.txt"), some)


def test_exif_times_are_days(scene: Scene) -> None:
    gallery = scene.gallery
    object.__setattr__(gallery, "rows", gallery.rows.with_columns(time=pl.lit("2024:03:01 08:00:00")))
    assert capture_history(gallery)[0].columns[2:] == ["2024-03-01"]
