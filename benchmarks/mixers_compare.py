"""What mechanisms are worth in the apps at a small budget, and what probing finds in frozen backbones.

uv run python benchmarks/mixers_compare.py DATA --out FOLDER [--only clicks,galaxies] [--seeds 3]

DATA is the folder that the other benchmarks read. The trainings lie in FOLDER: the same call goes on where one was
stopped, and rows are kept as they come. `docs/make_results.py` makes the tables of docs/mixers.md of
them: three seeds of clicks and galaxies, one of the chorales.
"""

import argparse
from pathlib import Path

import polars as pl
import torch
from rows import keep
from typer.testing import CliRunner

from attn.cli import app as attn
from attn.mixers.compare import Plan, Trained, compare, folder_of, table
from attn.mixers.forms import FORMS

GALAXIES = 1500  # of EFIGI at least, spread evenly over the table
MUSIC = "--style chorale --width 48 --depth 3 --heads 4 --length 128 --batch-size 4 --learning-rate 0.005 --epochs 10"
VARIANTS = ("mlp", "static", "approximate", "non_approximate", "fixed", "random")
PAIRS = tuple(name for variant in VARIANTS for name in (variant, f"softmax+{variant}+softmax"))
CAUSAL = (
    "relative", "relative_local", "relative_places", "relative_convolutional", "selective", "routing", "axial",
    "neighborhood", "large_kernel",
)  # fmt: skip
MAPS = (
    "relative", "halo", "neighborhood", "axial", "gated_positional", "dual", "large_kernel", "selective",
    "context_mixing", "hyper_zzw",
)  # fmt: skip

# Each study: its app, the options of its trainings, and what is compared, the first one with all others. The two of the
# chorales share their trainings.
STUDIES = {
    "chorales_variants": ("music", MUSIC, ("softmax", *PAIRS)),
    "clicks": ("ctr", "--label click --epochs 8", ("softmax", "interacting", "selective", "dual")),
    "galaxies": ("galaxy", "--image path --label coarse --variant nano --epochs 8", ("softmax", *MAPS)),
    "chorales": ("music", MUSIC, ("softmax", *CAUSAL)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default=",".join(STUDIES))
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    for study in options.only.split(","):
        app, typed, names = STUDIES[study]
        plan = Plan(app, str(_data(study, options.data, options.out)), 60, tuple(typed.split()))
        place = options.out / study.partition("_")[0]
        place.mkdir(exist_ok=True)
        found: list[Trained] = []
        for name in names:  # one by one, so that what is there is kept
            for seed in range(options.seeds):  # here, because a process of its own takes as long to start as to train
                folder = folder_of(place, name, seed)
                if not (folder / "model.json").exists():
                    CliRunner().invoke(attn, plan.command(name, seed, folder)[1:])
            found += compare(plan, [name], options.seeds, place, print)
            for row in table(found, FORMS[app].measure):
                keep(f"mixers_{study}", row)


def _data(study: str, folder: Path, out: Path) -> Path:
    if study == "clicks":
        return Path(__file__).resolve().parents[1] / "examples" / "clicks.csv"
    if study != "galaxies":
        return folder / "music" / "jsb" / "Jsb16thSeparated.json"
    place, labels = out / "galaxies.csv", folder / "galaxy" / "efigi" / "labels.csv"
    frame = pl.read_csv(labels, infer_schema=False).filter(pl.col("coarse").is_not_null())
    frame = frame.gather_every(max(1, len(frame) // GALAXIES)).with_columns(
        pl.lit(str(labels.parent) + "/").add(pl.col("path")).alias("path")
    )
    frame.write_csv(place)
    return place


if __name__ == "__main__":
    main()
