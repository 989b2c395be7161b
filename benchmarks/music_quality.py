"""The music models in numbers: likelihood of validation and test pieces, and whether continuations keep to their motif.

    uv run python benchmarks/music_quality.py likelihood --out runs/music    # every run of music_train.py
    uv run python benchmarks/music_quality.py motifs                          # the model that ships

Likelihood: nats per token, all pieces together. A token is predicted from at most `context` tokens, and from at least
half of them where the piece has as many; the edge before a piece is given, the end of a performance is predicted,
padding counts nowhere, and nothing is transposed. Motifs: the first 8 s of validation performances, each continued
eight times for 20 s; distances of the continuations to their own motif and to the others'.
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl
import torch
from music_train import RUNS, collection

from attn.apps.music.corpus import Piece
from attn.apps.music.decode import Sampling
from attn.apps.music.evaluate import MOTIF_SECONDS, WRITTEN_SECONDS, after
from attn.apps.music.likelihood import rates, surprise
from attn.apps.music.predict import MusicGenerator
from attn.apps.music.statistics import keeping, motif_distances
from attn.apps.music.styles import Piano
from attn.core.models.folder import RECORD

SAMPLES = 8  # of each motif
CONTEXTS = {"piano": (512, 2048), "chorale": (256, 512)}


def likelihood(out: Path, most: int | None) -> None:
    rows = []
    for name, (style, _, _) in RUNS.items():
        if not (out / name / RECORD).exists():
            continue
        generator = MusicGenerator.load(out / name)
        pieces = collection(style, out, stretched=False)
        for context in CONTEXTS["piano" if isinstance(style, Piano) else "chorale"]:
            row = {
                "run": name,
                "parameters_M": sum(p.numel() for p in generator.model.parameters()) / 1e6,
                "epochs": generator.record.metrics["epochs"],
                "minutes": generator.record.metrics["minutes"],
                "context": context,
            }
            for part in ("validation", "test"):
                chosen = spread(pieces.part(part), most)
                found = surprise(generator.model, style, chosen, length=context, stride=context // 2)
                row[f"{part}_pieces"], row[part] = len(chosen), rates(found)["nll_per_token"]
            rows.append(row)
            print(row, flush=True)
    show(rows)


def spread(pieces: list[Piece], most: int | None) -> list[Piece]:
    """At most `most` pieces, evenly over the list."""
    if most is None or len(pieces) <= most:
        return pieces
    return [pieces[i] for i in np.linspace(0, len(pieces) - 1, most).astype(int)]


def motifs(model: Path | None, out: Path, count: int, seed: int) -> None:
    generator = MusicGenerator.load(model)
    style = generator.style
    assert isinstance(style, Piano)
    given, written_ps = [], []
    for number, piece in enumerate(spread(collection(style, out, stretched=False).validation, count)):
        notes = style.notes(piece.ids[0])
        motif = notes.shifted(-float(notes.start.min())).between(0, MOTIF_SECONDS)
        compositions = generator.generate(
            motif, seconds=WRITTEN_SECONDS, seed=seed + number, samples=SAMPLES, sampling=Sampling(top_p=0.98)
        )
        compositions[0].save(out / f"motif-{number}.mid")
        given.append(motif)
        written_ps.append([after(composition) for composition in compositions])
    samples = [motif_distances(given, list(written_p)) for written_p in zip(*written_ps, strict=True)]
    rows = []
    for name in samples[0]:
        distance_pp = np.nanmean([distances[name] for distances in samples], axis=0)
        own = float(np.diag(distance_pp).mean())
        others = float(distance_pp[~np.eye(len(given), dtype=bool)].mean())
        rows.append({"histogram": name, "own motif": own, "other motifs": others, **keeping(distance_pp, seed=seed)})
    show(rows)


def show(rows: list[dict[str, object]]) -> None:
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=200, tbl_formatting="MARKDOWN", float_precision=3):
        print(pl.DataFrame(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("likelihood", "motifs"))
    parser.add_argument("--out", type=Path, default=Path("runs/music"))
    parser.add_argument("--model", type=Path)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--most", type=int, help="pieces of each part, evenly chosen; all when not given")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "likelihood":
        likelihood(options.out, options.most)
    else:
        motifs(options.model, options.out, options.count, options.seed)


if __name__ == "__main__":
    main()
