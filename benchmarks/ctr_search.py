"""A search of scikit-learn over settings, on one job and on two: do the trainings stand in each other's way?

    uv run python benchmarks/ctr_search.py [--rows 2000]

Prints the wall seconds of the same four fits. On two free cores, two jobs take about half as long; the start of the
second process, a few seconds, counts. On a machine that does other work, they can only show that nothing hangs.
"""

import argparse
import json
import time

import numpy as np
import polars as pl
from sklearn.model_selection import GridSearchCV

from attn import CTRClassifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    rows = parser.parse_args().rows
    draw = np.random.default_rng(0)
    frame = pl.DataFrame({f"field{number}": draw.integers(0, 30, rows).astype(str) for number in range(8)})
    labels_n = (draw.random(rows) < np.where(frame["field0"].str.ends_with("1").to_numpy(), 0.6, 0.2)).astype(int)
    for jobs in (1, 2):
        search = GridSearchCV(CTRClassifier(epochs=5), {"dropout": [0.0, 0.1]}, cv=2, scoring="roc_auc", n_jobs=jobs)
        began = time.perf_counter()
        search.fit(frame, labels_n)
        print(json.dumps({"jobs": jobs, "seconds": round(time.perf_counter() - began, 1)}), flush=True)


if __name__ == "__main__":
    main()
