"""Two tables side by side: a field that drifts is found, a table beside itself has no drift."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from ctr_fixtures import click_log, click_model, click_predictor
from typer.testing import CliRunner

from attn.apps.ctr.compare import compare_tables, stability
from attn.cli import app


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("days")
    day = click_log(1500, seed=11)
    day.write_parquet(folder / "before.parquet")
    later = click_log(1500, seed=12).with_columns(
        pl.lit(None, pl.String).alias("tags"),
        site=pl.when(pl.int_range(pl.len()) < 300).then(pl.lit("new")).otherwise("site"),
    )
    later.write_parquet(folder / "after.parquet")
    return folder / "before.parquet", folder / "after.parquet"


def test_what_changed_comes_first(tables: tuple[Path, Path]) -> None:
    predictor = click_predictor()
    found = compare_tables(predictor, *(predictor.open(path) for path in tables), "click")
    rows = {row["field"]: row for row in found.fields}
    assert {found.fields[0]["field"], found.fields[1]["field"]} >= {"tags"}
    assert rows["tags"]["missing_after"] == 1 and rows["tags"]["drift"] > 1
    assert rows["site"]["unknown_after"] == pytest.approx(0.2, abs=0.02) and rows["site"]["drift"] > 0.25
    assert max(rows[name]["drift"] for name in ("price", "at: hour")) < 0.1
    assert found.after["rate"] == pytest.approx(click_log(1500, seed=12)["click"].mean())


def test_a_table_beside_itself_has_not_drifted(tables: tuple[Path, Path]) -> None:
    predictor = click_predictor()
    found = compare_tables(predictor, predictor.open(tables[0]), predictor.open(tables[0]), "click")
    assert {row["drift"] for row in found.fields} == {0.0} and found.before == found.after


def test_the_index_is_the_sum_over_frequent_values_and_the_rest():
    p_r, q_r = np.full(100, 0.01), np.concatenate([np.full(50, 0.015), np.full(50, 0.005)])
    wanted = 50 * 0.005 * np.log(1.5) - 0.25 * np.log(0.5)
    assert stability(p_r, q_r, 0) == pytest.approx(wanted)


def test_the_command_writes_a_report_with_a_picture(tables: tuple[Path, Path], tmp_path: Path) -> None:
    arguments = ["ctr", "compare", *map(str, tables), "--model", str(click_model()), "--out", str(tmp_path / "r")]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["fields"][0]["field"]
    assert {path.name for path in (tmp_path / "r").iterdir()} >= {"report.json", "compare.png"}
