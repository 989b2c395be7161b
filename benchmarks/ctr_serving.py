"""How long a click model lets people wait: one user with 200 items, a table of a million rows, the start.

    uv run python benchmarks/ctr_serving.py [--rows 1000000]

Prints milliseconds at the median and at the 99th of 100 calls: of `CTRPredictor.score` with the bundled model, of the
exported folder's `Scorer`, and of the network alone. `cpu_ms` is the time of the calling thread on a processor, which
other programs on the machine lengthen less. Then rows per second of `predict` from Parquet to Parquet, and the seconds
that a new process takes to its first answer.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

ITEMS, CALLS = 200, 500
START = {
    "attn": "from attn import CTRPredictor; CTRPredictor.load().score({user}, {items})",
    "exported": "import sys; sys.path.insert(0, {folder!r}); from score import Scorer; Scorer().score([{row}])",
}


def measured(call: Callable[[], Any], calls: int = CALLS) -> dict[str, float]:
    """Wall and CPU times in milliseconds."""
    for _ in range(20):
        call()
    wall, cpu = np.empty(calls), np.empty(calls)
    for number in range(calls):
        began, worked = time.perf_counter(), time.thread_time()
        call()
        wall[number], cpu[number] = time.perf_counter() - began, time.thread_time() - worked
    names = {"p50_ms": (wall, 50), "p99_ms": (wall, 99), "cpu_ms": (cpu, 50)}
    return {name: round(1e3 * float(np.percentile(*each)), 2) for name, each in names.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows

    from attn import CTRPredictor
    from attn.apps.ctr.export import export

    predictor = CTRPredictor.load(device="cpu")
    draw = np.random.default_rng(0)
    values = {name: some.to_list() for name, some in predictor.codebook.vocabularies.items()}
    user = {"user_id": 42, "gender": "F", "age": 25, "occupation": 4, "zip": "55117"}
    items = [
        {"movie_id": movie, "genres": "|".join(draw.choice(values["genres"], 2, replace=False)), "year": 1995}
        for movie in values["movie_id"][:ITEMS]
    ]
    together = [{**user, **item} for item in items]
    encoded = predictor.encode(together)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "served"
        export(predictor, folder)
        sys.path.insert(0, str(folder))
        from score import Scorer  # the exported one

        scorer = Scorer(folder)
        calls = {
            "score": lambda: predictor.score(user, items),
            "exported": lambda: scorer.score(together),
            "network": lambda: predictor.logits(encoded),
        }
        for name, call in calls.items():
            print(json.dumps({"what": f"{name}, {ITEMS} items", **measured(call)}), flush=True)
        for name, code in START.items():
            began = time.perf_counter()
            filled = code.format(user=user, items=items[:1], row=together[0], folder=str(folder))
            subprocess.run([sys.executable, "-c", filled], check=True)
            print(json.dumps({"what": f"start, {name}", "seconds": round(time.perf_counter() - began, 2)}), flush=True)
        if rows:
            table, out = Path(temporary) / "table.parquet", Path(temporary) / "scored.parquet"
            frame = pl.DataFrame(together)
            pl.concat([frame] * -(-rows // len(frame))).head(rows).write_parquet(table)
            began = time.perf_counter()
            predictor.predict_table(predictor.open(table), out)
            seconds = time.perf_counter() - began
            print(json.dumps({"what": f"predict, {rows:,} rows", "rows_per_second": round(rows / seconds)}))


if __name__ == "__main__":
    main()
