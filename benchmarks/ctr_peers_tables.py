"""The peers that are no networks: logistic regression and gradient-boosted trees, each tuned on the validation rows."""

from typing import Any

import lightgbm
import numpy as np
from ctr_data import GENRES, UNKNOWN, Dataset, Part, encode
from ctr_result import Clock, Result, result, score
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

INVERSE_PENALTIES = (0.1, 0.3, 1.0, 3.0)  # scikit-learn's C
ORDERED = ("age", "year")  # numbers to LightGBM in any case
ROUNDS, WAIT = 5000, 50
FIRST = {"categories": True, "num_leaves": 127, "feature_fraction": 1.0, "cat_smooth": 10.0, "learning_rate": 0.1}
STEPS: dict[str, tuple[Any, ...]] = {  # tried one after the other, each from the best so far
    "categories": (False,),
    "num_leaves": (31, 511),
    "feature_fraction": (0.6,),
    "cat_smooth": (50.0,),
    "learning_rate": (0.03,),
}


def logistic_regression(data: Dataset, seed: int, minutes: float) -> Result:
    """scikit-learn's on one column for each value, genres with one for each of theirs; C tuned."""
    clock, encoded = Clock(minutes), encode(data)
    x_train, x_valid, x_test = (one_hot(part, encoded.sizes) for part in encoded)
    models: dict[float, LogisticRegression] = {}
    losses: dict[float, float] = {}
    for c in INVERSE_PENALTIES:
        if models and clock.over:
            break
        models[c] = LogisticRegression(C=c, max_iter=1000, random_state=seed).fit(x_train, encoded.train.liked)
        losses[c] = score(models[c].predict_proba(x_valid)[:, 1], encoded.valid.liked)[1]
    c = min(losses, key=losses.__getitem__)
    model = models[c]
    return result(
        "logistic regression",
        data,
        seed,
        clock,
        [model.predict_proba(x)[:, 1] for x in (x_valid, x_test)],
        [encoded.valid, encoded.test],
        epochs=int(model.n_iter_[0]),
        parameters=model.coef_.size + 1,
        converged=len(models) == len(INVERSE_PENALTIES) and model.n_iter_[0] < model.max_iter,
        choice=f"C {c}",
    )


def one_hot(part: Part, sizes: dict[str, int]) -> csr_matrix:
    """One column for each id of each field; padding and unknown values have no column."""
    rows, columns, start = [], [], 0
    for field, ids in part.ids.items():
        at = np.nonzero(ids > UNKNOWN)
        rows.append(at[0])
        columns.append(start + ids[at])
        start += sizes[field]
    where = np.concatenate(rows), np.concatenate(columns)
    return csr_matrix((np.ones(len(where[0]), np.float32), where), shape=(len(part.liked), start))


def trees(data: Dataset, seed: int, minutes: float) -> Result:
    """LightGBM; ids as its categories or as numbers in order, genres as a 0 or 1 each, tuned step by step."""
    clock, encoded = Clock(minutes), encode(data)
    x_train, x_valid, x_test = (columns(part, encoded.sizes[GENRES]) for part in encoded)
    unordered = [i for i, field in enumerate(f for f in data.fields if f != GENRES) if field not in ORDERED]

    def train(settings: dict[str, Any]) -> tuple[float, lightgbm.Booster]:
        options = settings | {"objective": "binary", "metric": "binary_logloss", "seed": seed, "num_threads": 1}
        categories = options.pop("categories")
        # As numbers, each id gets a bin of its own; the default of 255 would join those of many users.
        options |= {"verbose": -1, "deterministic": True, "max_bin": 255 if categories else max(encoded.sizes.values())}
        fields = unordered if categories else []
        rows = lightgbm.Dataset(x_train, encoded.train.liked, categorical_feature=fields, params=options)
        watched = rows.create_valid(x_valid, encoded.valid.liked)
        stop = lightgbm.early_stopping(WAIT, verbose=False)
        booster = lightgbm.train(options, rows, ROUNDS, valid_sets=[watched], callbacks=[stop])
        return score(booster.predict(x_valid), encoded.valid.liked)[1], booster

    best = FIRST
    loss, booster = train(best)
    finished = True
    for name, value in ((name, value) for name, values in STEPS.items() for value in values):
        if finished := not clock.over:
            tried = train(best | {name: value})
            if tried[0] < loss:
                best, (loss, booster) = best | {name: value}, tried
    return result(
        "LightGBM",
        data,
        seed,
        clock,
        [booster.predict(x) for x in (x_valid, x_test)],
        [encoded.valid, encoded.test],
        epochs=booster.best_iteration,
        parameters=int(booster.trees_to_dataframe()["split_feature"].isna().sum()),
        converged=finished and booster.best_iteration < ROUNDS,
        choice=", ".join(f"{name} {value}" for name, value in best.items()),
    )


def columns(part: Part, genres: int) -> NDArray[np.float32]:
    """N x (fields + genres): one id for each field, a 0 or 1 for each genre."""
    ids_nl = part.ids[GENRES]
    hot_ng = np.zeros((len(ids_nl), genres), np.float32)
    hot_ng[np.arange(len(ids_nl))[:, None], ids_nl] = 1
    single = [ids for field, ids in part.ids.items() if field != GENRES]
    return np.column_stack([*single, hot_ng[:, UNKNOWN + 1 :]]).astype(np.float32)
