"""One click in a hundred: what helps a network that learns 600 clicks by heart, and what logistic regression does.

    uv run python benchmarks/ctr_rare.py

A drawn log of 60,000 rows trains; 30,000 other rows are measured after each half epoch by the average of the weights,
and the half epoch with the best log loss is kept. One thread, one seed.
"""

import copy
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from rows import keep
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import OneHotEncoder

from attn.apps.ctr.data import Clicks, prepare
from attn.apps.ctr.model import AutoInt, configure
from attn.apps.ctr.rows import ShuffledBatches
from attn.apps.ctr.start import architecture
from attn.apps.ctr.train import ClickModule, Recipe, answers
from attn.data_adapters.tables.frame import frame_table
from attn.data_adapters.tables.guess import infer_fields

NAME, HALVES, DECAY = "ctr_rare", 4, 0.999
CATEGORIES = ["user_id", "item_id", "hour", "device", "segment", "topic"]
ARMS: dict[str, tuple[dict[str, Any], int]] = {
    "defaults": ({}, 2),
    "learning rate 0.0005 instead of 0.002": ({"learning_rate": 5e-4}, 2),
    "decay of the table 3 instead of 0.1": ({"table_decay": 3.0}, 2),
    "values with fewer than 50 rows are unknown": ({}, 50),
    "both of learning rate and unknown values": ({"learning_rate": 5e-4}, 50),
    "0.3 of the values hidden instead of 0.01": ({"unknown": 0.3}, 2),
}


def log(rows: int, seed: int) -> tuple[pl.DataFrame, np.ndarray]:
    """Clicks that depend on user, item, device, hour, price and each pair of a segment and a topic; and their rates."""
    draw, fixed = np.random.default_rng(seed), np.random.default_rng(1)
    segment_u, topic_i = fixed.integers(0, 8, 2000), fixed.integers(0, 8, 300)
    user_u, item_i, pair_st = fixed.normal(0, 0.6, 2000), fixed.normal(0, 0.7, 300), fixed.normal(0, 0.8, (8, 8))
    user_n, item_n = (2000 * draw.random(rows) ** 1.5).astype(int), (300 * draw.random(rows) ** 1.5).astype(int)
    hour_n, price_n = draw.integers(0, 24, rows), np.round(np.exp(draw.normal(2, 1, rows)), 2)
    device_n = draw.choice(["phone", "desktop", "tablet"], rows, p=[0.6, 0.3, 0.1])
    logit_n = -5.15 + user_u[user_n] + item_i[item_n] + pair_st[segment_u[user_n], topic_i[item_n]]
    logit_n += 0.4 * (device_n == "phone") + 0.5 * np.sin(hour_n / 24 * 6.28) - 0.25 * np.log(price_n)
    rate_n = 1 / (1 + np.exp(-logit_n))
    columns = {"user_id": user_n, "item_id": item_n, "hour": hour_n, "device": device_n, "price": price_n}
    columns |= {
        "segment": segment_u[user_n],
        "topic": topic_i[item_n],
        "click": (draw.random(rows) < rate_n).astype(int),
    }
    return pl.DataFrame(columns), rate_n


def measure(learned: pl.DataFrame, others: pl.DataFrame, changes: dict[str, Any], least: int) -> dict[str, float]:
    table = frame_table(learned)
    fields = tuple(infer_fields(table, "click", learned))
    clicks = Clicks(table, "click", fields, validation=frame_table(others))
    with tempfile.TemporaryDirectory() as place, prepare(clicks, Path(place), least=least) as data:
        torch.manual_seed(0)
        model = AutoInt(configure(data.codebook, **architecture(None)))
        rows, clicked = len(data.train.rows), data.train.rows.positives
        torch.nn.init.constant_(model.out.bias, math.log(clicked / (rows - clicked)))
        module = ClickModule(model, Recipe(**changes))
        module.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer
        optimizer, step = module.configure_optimizers(), 0
        average = {name: value.clone() for name, value in model.state_dict().items()}
        batches = ShuffledBatches(data.train, min(1024, rows // 100), 0)
        found = []
        for half in range(HALVES):
            batches.set_epoch(half // 2)
            first = len(batches) // 2 * (half % 2)
            for number, batch in enumerate(batches):
                if not first <= number < first + len(batches) // 2:
                    continue
                optimizer.zero_grad()
                module.training_step(batch, number).backward()
                optimizer.step()
                step += 1
                for name, value in model.state_dict().items():
                    average[name].lerp_(value, 1 - min(DECAY, (1 + step) / (10 + step)))
            weights = copy.deepcopy(model.state_dict())
            model.load_state_dict(average)
            logits_n, labels_n, _ = answers(model, data.validation)
            model.load_state_dict(weights)
            model.train()
            found.append({**scores(labels_n, 1 / (1 + np.exp(-logits_n.astype(float)))), "epochs": (half + 1) / 2})
    return min(found, key=lambda each: each["logloss"])


def scores(labels_n: np.ndarray, p_n: np.ndarray) -> dict[str, float]:
    return {"auc": float(roc_auc_score(labels_n, p_n)), "logloss": float(log_loss(labels_n, p_n))}


def main() -> None:
    torch.set_num_threads(1)
    (learned, _), (others, rate_n) = log(60_000, 100), log(30_000, 105)
    for name, (changes, least) in ARMS.items():
        keep(NAME, {"model": name, **measure(learned, others, changes, least)})
    encoder = OneHotEncoder(handle_unknown="ignore").fit(learned.select(CATEGORIES).to_numpy())
    x, x_others = (encoder.transform(each.select(CATEGORIES).to_numpy()) for each in (learned, others))
    for strength in (0.1, 1.0):
        fitted = LogisticRegression(C=strength, max_iter=300).fit(x, learned["click"].to_numpy())
        found = scores(others["click"].to_numpy(), fitted.predict_proba(x_others)[:, 1])
        keep(NAME, {"model": f"logistic regression, C = {strength}", **found, "epochs": None})
    keep(NAME, {"model": "the rates it was drawn with", **scores(others["click"].to_numpy(), rate_n), "epochs": None})


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
