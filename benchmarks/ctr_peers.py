"""The peers of the CTR comparison, each trained to its own convergence on ml-1m.

    uv run --group ctr-peers python benchmarks/ctr_peers.py --setting B --seed 0 --out runs/ctr_peers.jsonl

Appends one line of JSON for each peer, and leaves out those that the file has already, so that a run that was stopped
goes on. AutoInts share the settings of `ctr_peers_result.py`; the head of each module says what is its peer's own.
"""

import argparse
import importlib
import json
import warnings
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import torch
from ctr_data import Dataset, load
from ctr_peers_result import Result

PEERS = {  # name, as in the results: where it is; a library is imported when its turn comes
    "attn AutoInt+": ("ctr_ours", "autoint_plus"),
    "attn AutoInt": ("ctr_ours", "autoint"),
    "LightGBM": ("ctr_peers_tables", "trees"),
    "logistic regression": ("ctr_peers_tables", "logistic_regression"),
    "torch-rechub AutoInt": ("ctr_peers_rechub", "quality"),
    "FuxiCTR AutoInt": ("ctr_peers_fuxictr", "quality"),
    "DeepCTR-Torch AutoInt": ("ctr_peers_deepctr", "quality"),
}


def run(peer: str, data: Dataset, seed: int, minutes: float) -> Result:
    """Train a peer and measure it on the test rows; `minutes` of the processor end it if patience does not."""
    module, name = PEERS[peer]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries' own
        result: Result = getattr(importlib.import_module(module), name)(data, seed, minutes)
    return result


def read(path: Path) -> list[Result]:
    """The results that a file has; none if there is no file."""
    return [Result(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def missing(peers: Iterable[str], data: Dataset, seed: int, path: Path) -> list[str]:
    done = {(row.peer, row.setting, row.seed) for row in read(path)}
    return [peer for peer in peers if (peer, data.setting, seed) not in done]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--setting", choices=("A", "B"), required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=90, help="of the processor, for each peer")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=tuple(PEERS))
    parser.add_argument("--quick", action="store_true", help="few rows and little time, to see that it runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, minutes = load(options.setting), options.minutes
    if options.quick:
        data, minutes = data.head(20_000), 0.1
    for peer in missing([options.only] if options.only else PEERS, data, options.seed, options.out):
        row = run(peer, data, options.seed, minutes)
        with options.out.open("a") as lines:
            lines.write(json.dumps(asdict(row)) + "\n")
        print(f"{peer}, {row.setting}, seed {row.seed}: AUC {row.auc:.4f}, log loss {row.logloss:.4f}", flush=True)


if __name__ == "__main__":
    main()
