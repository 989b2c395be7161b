"""What keeping freed memory does to a training step of the small Astroformer, in processes that alternate.

uv run python benchmarks/memory.py
"""

import argparse
import statistics
import subprocess
import sys
import time

import torch
from rows import keep
from torch.nn import functional as F

from attn.apps.galaxy.model import Astroformer, variant
from attn.core.training.malloc import keep_freed_memory


def images_per_second(batch: int = 64, steps: int = 8) -> float:
    """Median over steps, on one thread."""
    torch.set_num_threads(1)
    model = Astroformer(variant("nano")).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters())
    x, y = torch.randn(batch, 3, 64, 64), torch.randint(10, (batch,))
    times = []
    for _ in range(steps):
        began = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        times.append(time.perf_counter() - began)
    return batch / statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--one", choices=("kept", "plain"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        if options.one == "kept":
            keep_freed_memory()
        print(images_per_second())
        return
    results: dict[str, list[float]] = {"kept": [], "plain": []}
    for _ in range(options.turns):
        for mode, values in results.items():
            done = subprocess.run([sys.executable, __file__, "--one", mode], capture_output=True, text=True, check=True)
            values.append(float(done.stdout))
    kept, plain = (statistics.median(values) for values in results.values())
    what = "training step, nano, 64 px, batch 64, freed memory kept"
    rates = {"ours": kept, "theirs": plain, "peer": "not kept", "ratio": kept / plain}
    keep("galaxy_speed", {"what": what, **rates, "aim": "report"})


if __name__ == "__main__":
    main()
