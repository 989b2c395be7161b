"""How fast AutoInts are at equal settings, each used the way its own examples do.

    uv run --group ctr-peers python benchmarks/ctr.py --turns 2

Equal: embedding and width 16, 3 layers, 2 heads, no DNN, batches of 1,024, one thread, float32, the same raw CSV.
`first_batch`, `train_rows` and `predict_rows` each run in a process of their own, so that one peer's memory and thread
pools are not another's, and all peers have their turn before the next one begins; the rows have medians. Imports are
not timed; processes that a library starts to read its batches (FuxiCTR) are.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Protocol

import torch
from ctr_data import write_csv
from ctr_result import cpu_seconds, descendants
from rows import keep

MODULES = {
    "attn": "ctr_ours",
    "torch-rechub": "ctr_peers_rechub",
    "FuxiCTR": "ctr_peers_fuxictr",
    "DeepCTR-Torch": "ctr_peers_deepctr",
}


class Session(Protocol):
    """What a peer's module calls `Session(path)`: made from the raw file, it holds the peer's own batches of it."""

    rows: int

    def first_batch(self) -> None: ...
    def model(self) -> None: ...
    def train(self) -> None: ...
    def predict(self) -> int: ...


@dataclass(frozen=True)
class Speed:
    rows: int
    cpu_seconds: float
    seconds: float
    peak_bytes: int

    @property
    def rows_per_cpu_second(self) -> float:
        return self.rows / self.cpu_seconds


def first_batch(peer: str, path: Path) -> Speed:
    """Of the raw file: read, build vocabularies, encode all rows, and hand out the first batch of training."""
    return in_subprocess("first_batch", peer, path)


def train_rows(peer: str, path: Path) -> Speed:
    """One epoch over the rows of the file, which are encoded before the clock starts."""
    return in_subprocess("train", peer, path)


def predict_rows(peer: str, path: Path) -> Speed:
    """Probabilities of the rows of the file, which are encoded before the clock starts."""
    return in_subprocess("predict", peer, path)


def measured(stage: str, peer: str, path: Path) -> Speed:
    """In this process."""
    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # the first one imports half of torch: not any peer's work
    make: Callable[[Path], Session] = importlib.import_module(MODULES[peer]).Session
    if stage == "first_batch":
        cpu_began, began = cpu_seconds(), time.perf_counter()
        session = make(path)
        session.first_batch()
    else:
        session = make(path)
        session.model()
        step = session.train if stage == "train" else session.predict
        cpu_began, began = cpu_seconds(), time.perf_counter()
        step()
    spent, taken = cpu_seconds() - cpu_began, time.perf_counter() - began
    peak = 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    return Speed(session.rows, spent, taken, peak)


def in_subprocess(stage: str, peer: str, path: Path) -> Speed:
    """Runs `measured`; the peak is that of the process, or, where it starts others, of all together if that is more."""
    with tempfile.TemporaryDirectory() as folder:
        answer, log = Path(folder) / "speed.json", Path(folder) / "log"
        command = [sys.executable, __file__, "--one", stage, peer, str(path), str(answer)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with log.open("w") as output:
            worker = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
            together = 0
            while worker.poll() is None:
                together = max(together, sum(map(proportional_bytes, descendants(worker.pid))))
                time.sleep(0.1)
        if worker.returncode:
            raise RuntimeError(f"{peer}, {stage}: {log.read_text()[-3000:]}")
        speed = Speed(**json.loads(answer.read_text()))
    return Speed(**asdict(speed) | {"peak_bytes": max(speed.peak_bytes, together)})


def proportional_bytes(process: int) -> int:
    """Memory of a process, what it shares divided by the number of sharers; 0 if it has ended."""
    try:
        return 1024 * int(Path(f"/proc/{process}/smaps_rollup").read_text().split("Pss:")[1].split()[0])
    except (OSError, IndexError):
        return 0


def summarise(turns: list[dict[str, tuple[Speed, ...]]]) -> None:
    """Medians over turns: what each peer took for its first batch, in training and in scoring."""
    for peer in MODULES:
        first, train, predict = zip(*(turn[peer] for turn in turns), strict=True)
        trained, scored = (median(s.rows_per_cpu_second for s in stage) for stage in (train, predict))
        row = {
            "library": peer,
            "first_batch": median(s.cpu_seconds for s in first),
            "trained": trained,
            "scored": scored,
            "memory_MB": max(median(s.peak_bytes for s in stage) for stage in (first, train, predict)) / 1e6,
        }
        keep("ctr_speed", row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--one", nargs=4, metavar=("STAGE", "PEER", "PATH", "ANSWER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        stage, peer, path, answer = options.one
        with redirect_stdout(sys.stderr):
            speed = measured(stage, peer, Path(path))
        Path(answer).write_text(json.dumps(asdict(speed)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = write_csv(Path(folder) / "clicks.csv", options.rows)
        stages = (first_batch, train_rows, predict_rows)
        summarise(
            [{peer: tuple(stage(peer, path) for stage in stages) for peer in MODULES} for _ in range(options.turns)]
        )


if __name__ == "__main__":
    main()
