"""A table larger than memory: what is held does not grow with it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

READ = """
import sys
from attn.data_adapters.tables.open import open_table
table = open_table(sys.argv[1])
rows = sum(batch.height for batch in table.batches())
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(rows, peak // 1024)
"""
PART = 250_000


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("suffix", ["parquet", "arrow", "csv"])
def test_forty_columns_stream_in_bounded_memory(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    numbers = {f"i{k}": rng.integers(0, 10 ** (k % 7 + 1), PART) for k in range(14)}
    codes = {f"c{k}": pl.Series(rng.integers(0, 10 ** (k % 5 + 1), PART)).cast(pl.String) for k in range(26)}
    part = pl.DataFrame(numbers | codes)
    parts = pl.concat([part.lazy()] * 10)
    if suffix == "csv":
        parts.sink_csv(tmp_path / "t.csv")
    elif suffix == "arrow":
        parts.sink_ipc(tmp_path / "t.arrow")
    else:
        parts.sink_parquet(tmp_path / "t.parquet", row_group_size=400_000)
    held = 10 * (part.estimated_size() + 16 * PART * len(codes))  # of a text, polars counts the characters only
    assert held > 1_400 * 2**20
    printed = subprocess.run(
        [sys.executable, "-c", READ, tmp_path / f"t.{suffix}"], capture_output=True, text=True, check=True
    )
    rows, peak = map(int, printed.stdout.split())
    assert rows == 10 * PART
    assert peak < 750
