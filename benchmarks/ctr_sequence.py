"""What the films that a user liked before are worth as a sequence: the same model with and without that field.

    uv run python benchmarks/ctr_sequence.py                     # three seeds, 1,200 users of MovieLens-1M
    uv run python benchmarks/ctr_sequence.py --seeds 0 --users 6040

The folder named by ATTN_DATA has no timestamps, so that "before" is the order of the file within a user. Of each user's
rows the first eight tenths train, the next tenth chooses the best epoch, the last tenth is measured. One thread; a row
that the results have already is not measured again.
"""

import argparse
import json
import os

import polars as pl
import torch
from ctr_data import folder
from rows import RESULTS, keep
from sklearn.metrics import log_loss, roc_auc_score

from attn import CTRClassifier
from attn.data_adapters.tables.open import open_table

NAME, LABEL, MOST = "ctr_sequence", "liked", 20
EPOCHS, PATIENCE = 12, 2
FIELDS = {"history": {"kind": "sequence", "target": "movie_id", "most": MOST}}


def rated(users: int) -> pl.DataFrame:
    """Ratings with `history`, the movies that the user liked earlier, and `place`, from 0 to 1 within the user."""
    table = open_table(folder())
    rows = table.head(table.rows()).filter(pl.col("user_id") <= users)
    before: dict[int, list[int]] = {}
    history = []
    for user, movie, liked in rows.select("user_id", "movie_id", LABEL).iter_rows():
        past = before.setdefault(user, [])
        history.append("|".join(map(str, past[-MOST:])))
        if liked:
            past.append(movie)
    place = pl.int_range(pl.len()).over("user_id") / pl.len().over("user_id")
    return rows.with_columns(place=place, history=pl.Series(history))


def measure(users: int, way: str, seed: int) -> dict[str, float]:
    rows = rated(users)
    parts = [rows.filter((pl.col("place") >= low) & (pl.col("place") < high)) for low, high in ((0, 0.8), (0.8, 0.9))]
    parts.append(rows.filter(pl.col("place") >= 0.9))
    left_out = ["place", LABEL] + ([] if way == "with" else ["history"])
    (x, y), validation, (x_test, y_test) = ((part.drop(left_out), part[LABEL].to_numpy()) for part in parts)
    model = CTRClassifier(epochs=EPOCHS, patience=PATIENCE, seed=seed, fields=FIELDS if way == "with" else None)
    p_n = model.fit(x, y, eval_set=validation).predict_proba(x_test)[:, 1]
    epochs = model.predictor_.record.metrics["best_epoch"] + 1
    return {"auc": float(roc_auc_score(y_test, p_n)), "logloss": float(log_loss(y_test, p_n)), "epochs": epochs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1200)
    parser.add_argument("--seeds", default="0,1,2")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / f"{NAME}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for seed in map(int, chosen.seeds.split(",")):
        for way in ("without", "with"):
            name = f"{chosen.users} users, {way}, {seed}"
            if name not in {row["run"] for row in rows}:
                found = measure(chosen.users, way, seed)
                keep(NAME, {"run": name, "users": chosen.users, "history": way, "seed": seed, **found})


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
