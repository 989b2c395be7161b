"""Click models side by side on ml-1m, each trained to its own convergence.

    uv run --group ctr-peers python benchmarks/ctr_quality.py --setting B --seed 0
    uv run --group ctr-peers python benchmarks/ctr_quality.py --setting A --seed 0 --only LightGBM
    uv run python benchmarks/ctr_quality.py --ship runs/ctr/attn-AutoInt+-B-0

Appends one line of JSON for each peer. Peers that the file already has are not run again, so a run that was stopped
continues. `docs/make_results.py` makes the tables from `results/ctr_quality.jsonl`; where a line has `null`, only its
four digits were kept. AutoInts share the settings of `ctr_result.py`; the head of each module says what is its peer's
own. `--ship` copies a model into the package.
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
from ctr_result import Result

PEERS = {  # name, as in the results: where it is; a library is imported when its turn comes
    "attn AutoInt+": ("ctr_ours", "autoint_plus"),
    "attn AutoInt": ("ctr_ours", "autoint"),
    "LightGBM": ("ctr_peers_tables", "trees"),
    "logistic regression": ("ctr_peers_tables", "logistic_regression"),
    "torch-rechub AutoInt": ("ctr_peers_rechub", "quality"),
    "FuxiCTR AutoInt": ("ctr_peers_fuxictr", "quality"),
    "DeepCTR-Torch AutoInt": ("ctr_peers_deepctr", "quality"),
}


RESULTS = Path(__file__).parent / "results" / "ctr_quality.jsonl"
LIMITS = [
    "It knows the users and movies of MovieLens-1M by number. It scores other users and movies by their other fields.",
    "A click is a rating above 3; ratings of 3 are left out. The model ranks what people chose to rate.",
    "It is there for a first try. Train a model on your own log.",
]
LICENCE = "trained on MovieLens-1M: research use, see grouplens.org/datasets/movielens/1m"


def run(peer: str, data: Dataset, seed: int, minutes: float) -> Result:
    """Train a peer and measure it on the test rows; `minutes` of the processor end it if patience does not."""
    module, name = PEERS[peer]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries' own
        result: Result = getattr(importlib.import_module(module), name)(data, seed, minutes)
    return result


def read(path: Path) -> list[Result]:
    """The results that a file has; empty if there is no file."""
    return [Result(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def missing(peers: Iterable[str], data: Dataset, seed: int, path: Path) -> list[str]:
    done = {(row.peer, row.setting, row.seed) for row in read(path)}
    return [peer for peer in peers if (peer, data.setting, seed) not in done]


def ship(folder: Path) -> None:
    """Copy a trained model into the package, with what it is known not to do."""
    import attn
    from attn.apps.ctr.folder import load_codebook, save_model
    from attn.core.models import folder as model_folder

    record = model_folder.load_record(folder)
    data = record.data | {"source": "MovieLens-1M"}
    update = {"name": "autoint-plus-ml1m", "limits": LIMITS, "licence": LICENCE, "data": data}
    weights = Path(attn.__file__).parent / "apps" / "ctr" / "weights"
    state = model_folder.load_state(folder, record)
    save_model(weights, state, record.model_copy(update=update), load_codebook(folder, record))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--setting", choices=("A", "B"), default="B")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=90, help="of the processor, for each peer")
    parser.add_argument("--out", type=Path, help="results; that of the README, with --quick another")
    parser.add_argument("--only", choices=tuple(PEERS))
    parser.add_argument("--quick", action="store_true", help="few rows and little time, to see that it runs")
    parser.add_argument("--ship", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    out = options.out or (Path("runs/ctr-quick.jsonl") if options.quick else RESULTS)
    if options.ship:
        ship(options.ship)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    data, minutes = load(options.setting), options.minutes
    if options.quick:
        data, minutes = data.head(20_000), 0.1
    for peer in missing([options.only] if options.only else PEERS, data, options.seed, out):
        row = run(peer, data, options.seed, minutes)
        with out.open("a") as lines:
            lines.write(json.dumps(asdict(row)) + "\n")
        print(f"{peer}, {row.setting}, seed {row.seed}: AUC {row.auc:.4f}, log loss {row.logloss:.4f}", flush=True)


if __name__ == "__main__":
    main()
