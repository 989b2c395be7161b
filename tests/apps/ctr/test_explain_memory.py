"""What `explain` holds does not grow with the square of the fields."""

import subprocess
import sys
from pathlib import Path

import pytest

EXPLAIN = """
import sys
from pathlib import Path
import numpy as np
import polars as pl
from attn.apps.ctr.explain import TableExplanation, attention
from attn.apps.ctr.model import AutoInt, configure
from attn.apps.ctr.predict import CTRPredictor
from attn.data_adapters.tables.codes import Codebook
from attn.data_adapters.tables.fields import Field
names = [f"c{n}" for n in range(1000)]
fields = tuple(Field(name=name, column=name, kind="category") for name in names)
codebook = Codebook(fields, {name: pl.Series(["a", "b"]) for name in names}, {})
predictor = object.__new__(CTRPredictor)
predictor.codebook, predictor.model = codebook, AutoInt(configure(codebook, embedding=4, widths=(4,), heads=2)).eval()
encoded = codebook.encode(pl.DataFrame({name: ["a", "b"] * 100 for name in names}))
weights_lff = attention(predictor, encoded)
assert np.allclose(weights_lff.sum(2), 1, atol=1e-4)
TableExplanation(tuple(names), weights_lff, []).save(Path(sys.argv[1]))
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(peak // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_thousand_fields_are_explained_in_bounded_memory(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", EXPLAIN, tmp_path], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) < 2000
