"""Write `clicks.csv`, a small click log made by chance: what is shown to whom, and whether it was clicked.

`clicks_day2.csv` is what comes after it: two more days, with campaigns that are new and prices that are higher.

    uv run python examples/make_clicks.py

A click depends on hour and device together, on how many of the visitor's interests an advertisement has, and on its
price. Nobody is in it.
"""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

ROWS = 8000
INTERESTS = ("music", "travel", "sport", "food", "games", "books")
DEVICES = ("phone", "tablet", "desktop")
FIRST = datetime(2026, 1, 5)


def make(rows: int = ROWS, seed: int = 0) -> pl.DataFrame:
    """The log, in the order of time."""
    rng = np.random.default_rng(seed)
    hours = np.sort(rng.integers(0, 14 * 24, rows))
    device = rng.choice(3, rows, p=(0.6, 0.1, 0.3))
    interests = rng.random((rows, len(INTERESTS))) < 0.35
    topic = rng.integers(0, len(INTERESTS), rows)
    price = np.round(np.exp(rng.normal(2, 1, rows)), 2)
    evening = (hours % 24 >= 18).astype(float)
    matches = interests[np.arange(rows), topic]
    logit = -1.5 + 2.5 * matches + 2 * evening * (device == 0) - 2 * evening * (device == 2) - 0.5 * np.log(price)
    clicked = rng.random(rows) < 1 / (1 + np.exp(-logit))
    return pl.DataFrame(
        {
            "click": clicked.astype(int),
            "time": [(FIRST + timedelta(hours=int(hour))).isoformat(sep=" ") for hour in hours],
            "device": np.array(DEVICES)[device],
            "interests": ["|".join(np.array(INTERESTS)[row]) or None for row in interests],
            "topic": np.array(INTERESTS)[topic],
            "price": np.where(rng.random(rows) < 0.05, np.nan, price),
            "campaign_id": rng.zipf(1.5, rows).clip(max=400),
        }
    ).with_columns(pl.col("price").fill_nan(None))


def make_day2() -> pl.DataFrame:
    """Rows of the two days after the log's last one."""
    log = make(2000, seed=1).with_columns(time=pl.int_range(pl.len()) * 48 // pl.len())
    times = [(FIRST + timedelta(hours=14 * 24 + hour)).isoformat(sep=" ") for hour in log["time"]]
    later = pl.when(pl.col("campaign_id") % 3 == 0).then(pl.col("campaign_id") + 1000).otherwise("campaign_id")
    return log.with_columns(pl.Series("time", times), campaign_id=later, price=(pl.col("price") * 1.5).round(2))


if __name__ == "__main__":
    make().write_csv(Path(__file__).with_name("clicks.csv"))
    make_day2().write_csv(Path(__file__).with_name("clicks_day2.csv"))
