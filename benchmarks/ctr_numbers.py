"""What a number is worth as a number and as a category: the same columns, both ways, three seeds.

    uv run python benchmarks/ctr_numbers.py                    # all tables
    uv run python benchmarks/ctr_numbers.py --only steps,spike --seeds 0

Tables: `steps`, a drawn one whose click rate jumps at known thresholds; `spike`, a drawn one with a mass at zero;
`items`, a drawn log of app usage whose item is one of 4,082 integers, read as guessed and both ways; `criteo`, the 13
counts of 10,000 rows of Criteo; `movielens`, age, occupation and year of 60,000 rows of MovieLens-1M, without ids. The
last two need the folder named by ATTN_DATA. Other columns are what they are guessed to be. One thread; a row that the
results have already is not measured again, so a run that was stopped continues.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch
from ctr_data import folder, load
from rows import RESULTS, keep

from attn.apps.ctr.data import open_clicks
from attn.apps.ctr.split import Split
from attn.apps.ctr.train import Recipe, train
from attn.core.training.config import FitConfig
from attn.data_adapters.tables.open import open_table

NAME = "ctr_numbers"
EPOCHS = 15
WAYS = ("number", "category")


def clicked(logit_n: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    return (draw.random(len(logit_n)) < 1 / (1 + np.exp(-logit_n))).astype(int)


def steps(rows: int = 20_000) -> tuple[pl.DataFrame, list[str]]:
    """Rates that jump at 0.13, 0.37 and 0.81 of the range, each way by itself, and one that follows a line."""
    draw = np.random.default_rng(11)
    x_n, z_n, w_n = draw.lognormal(0, 1, rows), draw.uniform(0, 100, rows), draw.normal(0, 1, rows)
    levels = np.searchsorted(np.quantile(x_n, [0.13, 0.37, 0.81]), x_n)
    logit_n = np.array([-1.5, 0.8, -0.6, 1.2])[levels] + 1.0 * (z_n > 63.7) * (z_n < 71.2) * 2 + 0.5 * w_n - 0.5
    columns = {"x": x_n.round(4), "z": z_n.round(1), "w": w_n.round(3)}
    device = draw.choice(["phone", "desktop", "tablet"], rows)
    return pl.DataFrame({**columns, "device": device, "click": clicked(logit_n, draw)}), list(columns)


def spike(rows: int = 20_000) -> tuple[pl.DataFrame, list[str]]:
    """Nine tenths zeros, whose rate is not that of small gains, as of Adult's capital gain."""
    draw = np.random.default_rng(12)
    gain_n = np.where(draw.random(rows) < 0.9, 0.0, draw.lognormal(8, 1, rows).round(0))
    hours_n = draw.integers(1, 100, rows)
    logit_n = np.where(gain_n == 0, -0.8, np.where(gain_n > 5000, 2.5, -2.5)) + 0.03 * (hours_n - 40)
    device = draw.choice(["phone", "desktop", "tablet"], rows)
    columns = {"gain": gain_n, "hours": hours_n}
    return pl.DataFrame({**columns, "device": device, "click": clicked(logit_n, draw)}), list(columns)


def items(rows: int = 60_000) -> tuple[pl.DataFrame, list[str]]:
    """A log of app usage: 957 users, 4,082 items with a long tail, both as integers, and contexts."""
    draw = np.random.default_rng(13)
    user_n, item_n = (957 * draw.random(rows) ** 1.5).astype(int), (4082 * draw.random(rows) ** 2.5).astype(int)
    taste_ui = (draw.normal(0, 1, (957, 4)), draw.normal(0, 1, (4082, 4)))
    liked_n = (taste_ui[0][user_n] * taste_ui[1][item_n]).sum(1)
    logit_n = 2.5 * draw.normal(0, 1, 4082)[item_n] + 1.0 * draw.normal(0, 1, 957)[user_n] + liked_n - 1
    order = draw.permutation(4082)
    columns = {"user": user_n, "item": order[item_n], "daytime": draw.integers(0, 7, rows)}
    return pl.DataFrame({**columns, "click": clicked(logit_n, draw)}), ["item"]


def criteo() -> tuple[pl.DataFrame, list[str]]:
    place = folder().parent / "criteo-10k"
    table = open_table(sorted(each for each in place.iterdir() if each.is_file())[0], format="criteo")
    frame = table.head(10_000).rename({"label": "click"})
    return frame, [f"I{n}" for n in range(1, 14)]


def movielens() -> tuple[pl.DataFrame, list[str]]:
    data = load("A")
    frame = data.train.head(60_000).select(*data.fields, click="liked")
    names = ["age", "occupation", "year"]
    return frame.with_columns(pl.col(name).cast(pl.Int64, strict=False) for name in names), names


TABLES: dict[str, Callable[[], tuple[pl.DataFrame, list[str]]]] = {
    each.__name__: each for each in (steps, spike, items, criteo, movielens)
}


def measure(table: str, way: str, seed: int) -> dict[str, float]:
    frame, numbers = TABLES[table]()
    with tempfile.TemporaryDirectory() as place:
        path, toml = Path(place) / "table.parquet", Path(place) / "fields.toml"
        frame.write_parquet(path)
        toml.write_text("".join(f'[{name}]\nkind = "{way}"\n' for name in numbers if way in WAYS))
        split = Split(shares=(0.1, 0.2))
        clicks = open_clicks(path, label="click", fields=toml, split=split)
        fields = [one for one in clicks.fields if way == "guessed" or one.name != f"{one.column} as a number"]
        clicks = type(clicks)(clicks.table, "click", tuple(fields), split=split)
        settings = {"embedding": 16, "widths": (32, 32, 32), "heads": 2, "embedding_dropout": 0.1}
        official = {"mixer": "interacting:scaled=true,activated=true,bias=true", "norm": True}
        official |= {"residual_activated": True, "residual_bias": True}
        fit_config = FitConfig(epochs=EPOCHS, seed=seed, ema_decay=0.999, patience=3)
        record = train(clicks, Path(place) / "model", Recipe(), fit_config, **settings, **official)
    return {name: record.metrics[name] for name in ("auc", "logloss")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(TABLES), help="tables, with commas")
    parser.add_argument("--seeds", default="0,1,2")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / f"{NAME}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for seed in map(int, chosen.seeds.split(",")):
        for table in chosen.only.split(","):
            for way in ("guessed", *WAYS) if table == "items" else WAYS:
                name = f"{table}, {way}, {seed}"
                if name not in {row["run"] for row in rows}:
                    keep(NAME, {"run": name, "table": table, "as": way, "seed": seed, **measure(table, way, seed)})


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
