"""The example click log is what its script writes."""

import importlib.util
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_the_log_is_what_the_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("make_clicks", EXAMPLES / "make_clicks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert_frame_equal(module.make(), pl.read_csv(EXAMPLES / "clicks.csv"))
    day2 = module.make_day2()
    assert_frame_equal(day2, pl.read_csv(EXAMPLES / "clicks_day2.csv"))
    assert day2["time"].min() > module.make()["time"].max() and len(day2.columns) == len(module.make().columns)
