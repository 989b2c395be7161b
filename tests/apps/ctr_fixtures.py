"""A small click log with a field of every kind, and a tiny model trained on it, made once a session."""

import atexit
import shutil
import tempfile
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from attn.apps.ctr.data import open_clicks
from attn.apps.ctr.predict import CTRPredictor
from attn.apps.ctr.split import Split
from attn.apps.ctr.train import Recipe, train
from attn.core.training.config import FitConfig

TAGS = ("sport", "news", "film", "jazz", "food", "auto", "home", "toys")
SITES = 12
START = datetime(2024, 5, 1)


def click_log(rows: int = 2400, seed: int = 0) -> pl.DataFrame:
    """Columns user_id, site, price, tags, at and click; each column but `click` lacks a few cells.

    A click depends on the site, the price, the tag "jazz" and the hour.
    """
    draw = np.random.default_rng(seed)
    site_n = (SITES * draw.random(rows) ** 2).astype(int)
    price_n = draw.lognormal(1, 1, rows)
    tags = [draw.choice(TAGS, draw.integers(1, 4), replace=False) for _ in range(rows)]
    minutes_n = draw.integers(0, 14 * 24 * 60, rows)
    hour_n = minutes_n // 60 % 24
    jazz_n = np.array(["jazz" in some for some in tags])
    logit_n = 1.5 * np.cos(site_n) - 0.6 * np.log(price_n) + 1.5 * jazz_n + (hour_n > 17) - 1
    frame = pl.DataFrame(
        {
            "user_id": draw.integers(100, 160, rows),
            "site": [f"s{number}" for number in site_n],
            "price": price_n.round(2),
            "tags": ["|".join(some) for some in tags],
            "at": [START + timedelta(minutes=int(minute)) for minute in minutes_n],
            "click": (draw.random(rows) < 1 / (1 + np.exp(-logit_n))).astype(np.int64),
        }
    )
    holes = {name: pl.Series(draw.random(rows) < 0.05) for name in frame.columns if name != "click"}
    return frame.with_columns(pl.when(~hole).then(pl.col(name)).alias(name) for name, hole in holes.items())


@cache
def click_table() -> Path:
    """The click log as a Parquet file. Not to be changed."""
    path = _folder() / "clicks.parquet"
    click_log().write_parquet(path)
    return path


@cache
def click_model() -> Path:
    """A model folder made by three epochs on the click log. Not to be changed."""
    out = _folder() / "model"
    clicks = open_clicks(click_table(), label="click", split=Split(shares=(0.1, 0.1)))
    settings = {"embedding": 8, "widths": (8, 8), "heads": 2}
    train(clicks, out, Recipe(learning_rate=1e-2, batch_size=128), FitConfig(epochs=3), **settings)
    return out


def click_predictor() -> CTRPredictor:
    """That model, loaded anew."""
    return CTRPredictor.load(click_model())


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="attn-clicks-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
