"""What a small embedding table costs, and whether a table larger than memory trains and predicts within bounds.

    uv run python benchmarks/ctr_tables.py small                        # the bundled model on ml-1m's test rows
    uv run python benchmarks/ctr_tables.py large --rows 30000000 --minutes 10

small: AUC with the table as float32, bfloat16 and int8, rows per CPU-second, bytes. large: writes a Parquet
file of 40 columns, then trains for `--minutes` and predicts all rows, each in a process of its own with one thread,
whose largest resident memory is printed; the aim is 3 GB.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
from ctr_data import load
from rows import keep

from attn.apps.ctr.evaluate import evaluate_table
from attn.apps.ctr.predict import CTRPredictor

NUMBERS, CATEGORIES = 13, 26
ROWS_A_FILE = 1_000_000


def small(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ml-1m-B-test.parquet"
    load("B").test.write_parquet(path)
    for kind in ("float32", "bfloat16", "int8"):
        predictor = CTRPredictor.load(table=kind)
        size = sum(t.nbytes for t in (*predictor.model.embedding.parameters(), *predictor.model.embedding.buffers()))
        began = time.process_time()
        report = evaluate_table(predictor, predictor.open(path), predictor.label).report()
        rate = report["rows"] / (time.process_time() - began)
        scores = {"auc": report["auc"], "logloss": report["logloss"]}
        keep("ctr_table_types", {"type": kind, "MB": size / 1e6, **scores, "rows_per_cpu_second": rate})


def make(path: Path, rows: int) -> None:
    """A folder of Parquet files: a label, 13 numbers, 26 categories of up to a million values, with long tails."""
    path.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, rows, ROWS_A_FILE)):
        part = path / f"part-{number:03}.parquet"
        if part.exists():
            continue
        rng, count = np.random.default_rng(number), min(ROWS_A_FILE, rows - start)
        columns: dict[str, object] = {}
        logit = np.full(count, -1.5)
        for n in range(1, NUMBERS + 1):
            x = rng.lognormal(1, 1, count).round(2)
            logit += 0.1 * np.log(x) * (-1) ** n
            columns[f"N{n}"] = x
        for n in range(1, CATEGORIES + 1):
            values = int(10 ** (1 + 5 * n / CATEGORIES))
            drawn = (values * rng.random(count) ** 3).astype(np.int64)
            logit += 0.3 * np.cos(drawn)
            columns[f"C{n}"] = pl.Series([f"{n:x}"]).repeat_by(count).explode() + pl.Series(drawn).cast(pl.String)
        label = (rng.random(count) < 1 / (1 + np.exp(-logit))).astype(np.int8)
        pl.DataFrame({"click": label, **columns}).write_parquet(part, row_group_size=100_000)


def large(folder: Path, rows: int, minutes: float) -> None:
    table, out = folder / f"large-{rows}", folder / f"large-{rows}-run"
    make(table, rows)
    size = sum(path.stat().st_size for path in table.iterdir())
    print(f"{rows:,} rows, {NUMBERS + CATEGORIES} fields, {size / 1e9:.1f} GB of Parquet")
    predictions = folder / "large.parquet"
    steps = {
        "train": ("train", table, "--label", "click", "--out", out, "--minutes", minutes, "--width", 16, "--depth", 1),
        "predict": ("predict", table, "--model", out, "--keep", "click", "--out", predictions),
    }
    for name, arguments in steps.items():
        began = time.monotonic()
        command = [sys.executable, __file__, "peak", *map(str, arguments)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        peak = float(done.stdout.splitlines()[-1])
        keep("ctr_large", {"step": name, "minutes": (time.monotonic() - began) / 60, "memory_GB": peak / 1e9})


def peak(arguments: list[str]) -> None:
    """Run a command in this process and print its largest resident memory in bytes."""
    import torch

    from attn.cli import app

    torch.set_num_threads(1)
    try:
        app(["ctr", *arguments])
    except SystemExit as ended:
        if ended.code:
            raise
    print(1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]))


def main() -> None:
    if sys.argv[1:2] == ["peak"]:
        peak(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("small", "large"))
    parser.add_argument("--out", type=Path, default=Path("runs/ctr-tables"))
    parser.add_argument("--rows", type=int, default=30_000_000)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    if options.what == "small":
        small(options.out)
    else:
        large(options.out, options.rows, options.minutes)


if __name__ == "__main__":
    main()
