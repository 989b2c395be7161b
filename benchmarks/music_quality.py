"""The music models in numbers: likelihood of validation and test pieces, and whether continuations keep to their motif.

    uv run python benchmarks/music_quality.py bundled                         # the models that ship
    uv run python benchmarks/music_quality.py likelihood --out runs/music     # every run of music_train.py
    uv run python benchmarks/music_quality.py motifs                          # the piano model that ships

Likelihood: nats per token, all pieces together. A token is predicted from at most `context` tokens, and from at least
half of them where the piece has as many; the edge before a piece is given, the end of a performance is predicted,
padding counts nowhere, and nothing is transposed. Motifs: the first 8 s of validation performances, each continued
eight times for 20 s; distances of the continuations to their own motif and to the others'.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from music_train import RUNS, collection
from rows import keep

from attn.apps.music.corpus import Piece
from attn.apps.music.decode import Sampling
from attn.apps.music.evaluate import MOTIF_SECONDS, WRITTEN_SECONDS, after
from attn.apps.music.likelihood import rates, surprise
from attn.apps.music.predict import MusicGenerator
from attn.apps.music.sources import Collection
from attn.apps.music.statistics import keeping, motif_distances
from attn.apps.music.styles import Piano
from attn.core.models.folder import RECORD

SAMPLES = 8  # of each motif
CONTEXTS = {"piano": (512, 2048), "chorale": (256, 512)}
MECHANISMS = {  # runs at equal budget: what the table calls them, and the paper's validation value
    "chorale-plain": ("plain, with sinusoids", 0.417),
    "chorale-relative": ("relative", 0.357),
    "chorale-pitch-time": ("relative, pitch and time in the first layer", 0.335),
}
BUNDLED = {  # what it is, minutes of training on one shared core, context
    "chorale": ("relative; pitch and time in the first layer", 210, 1024),
    "piano": ("relative local, blocks of 256", 104, 2048),
    "accompany": ("encoder and decoder; alto, tenor, bass only", 23, 512),
}
LABELS = {
    "pitch_class": "pitch classes",
    "inter_onset": "time between onsets",
    "duration": "lengths of notes",
    "interval": "melodic intervals",
}


def measured(generator: MusicGenerator, pieces: Collection, context: int, most: int | None) -> dict[str, Any]:
    """Nats per token of the validation and the test part, and the number of their pieces."""
    found: dict[str, Any] = {}
    for part in ("validation", "test"):
        chosen = spread(pieces.part(part), most)
        surprises = surprise(generator.model, generator.style, chosen, length=context, stride=context // 2)
        found |= {part: rates(surprises)["nll_per_token"], f"{part}_pieces": len(chosen)}
    return found


def bundled(out: Path, most: int | None, names: list[str]) -> None:
    for name in names:
        architecture, minutes, context = BUNDLED[name]
        generator = MusicGenerator.load(bundled=name)
        facts = {"model": name, "architecture": architecture, "parameters_M": parameters(generator), "minutes": minutes}
        pieces = collection(generator.style, out, stretched=False)
        keep("music_bundled", {**facts, "context": context, **measured(generator, pieces, context, most)})


def parameters(generator: MusicGenerator) -> float:
    return sum(p.numel() for p in generator.model.parameters()) / 1e6


def likelihood(out: Path, most: int | None) -> None:
    for name, (style, _, _) in RUNS.items():
        if not (out / name / RECORD).exists():
            continue
        generator = MusicGenerator.load(out / name)
        pieces = collection(style, out, stretched=False)
        for context in CONTEXTS["piano" if isinstance(style, Piano) else "chorale"]:
            row = measured(generator, pieces, context, most)
            training = {key: generator.record.metrics[key] for key in ("epochs", "minutes")}
            print({"run": name, "parameters_M": parameters(generator), "context": context, **training, **row})
            if name in MECHANISMS and context == 256:
                mechanism, paper = MECHANISMS[name]
                keep("music_mechanisms", {"mechanism": mechanism, **row, "paper": paper})


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
    for name, label in LABELS.items():
        distance_pp = np.nanmean([distances[name] for distances in samples], axis=0)
        own = float(np.diag(distance_pp).mean())
        others = float(distance_pp[~np.eye(len(given), dtype=bool)].mean())
        difference = keeping(distance_pp, seed=seed)
        keep("music_motifs", {"histogram": label, "own": own, "others": others, "difference": difference})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("bundled", "likelihood", "motifs"))
    parser.add_argument("--out", type=Path, default=Path("runs/music"))
    parser.add_argument("--model", type=Path)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--most", type=int, help="pieces of each part, evenly chosen; all when not given")
    parser.add_argument("--only", action="append", choices=tuple(BUNDLED), help="one of the bundled models")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "bundled":
        bundled(options.out, options.most, options.only or list(BUNDLED))
    elif options.what == "likelihood":
        likelihood(options.out, options.most)
    else:
        motifs(options.model, options.out, options.count, options.seed)


if __name__ == "__main__":
    main()
