"""Measure a music model: how surprised it is by pieces, and how close what it writes is to them.

Shapes: L tokens.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from attn.apps.music.compose import Composition
from attn.apps.music.corpus import Piece
from attn.apps.music.decode import Sampling
from attn.apps.music.likelihood import rates, surprise
from attn.apps.music.predict import MusicGenerator
from attn.apps.music.sources import PARTS, Collection
from attn.apps.music.statistics import NGrams, compare, motif_overlap, recurrence
from attn.apps.music.styles import BAR_SECONDS, STEPS_PER_BAR, Piano
from attn.core.errors import InputError, UsageError
from attn.data_adapters.midi.notes import Notes

RESAMPLES = 2000
COPIED_TOKENS = 16  # about a bar of a chorale, or four piano notes
MOTIF_SECONDS, WRITTEN_SECONDS = 8.0, 20.0
MOTIF_BARS, WRITTEN_BARS = 2, 4


def part_of(collection: Collection, split: str) -> list[Piece]:
    """The pieces to measure on. Raises UsageError for an unknown split, InputError for an empty one."""
    names = {"valid": "validation"}
    split = names.get(split, split)
    if split not in (*PARTS, "all"):
        raise UsageError(f"no split {split!r}", hint=f"there are {', '.join(PARTS)} and all")
    pieces = collection.part(split)
    if not pieces:
        raise InputError(f"has no {split} pieces", where=collection.fingerprint["source"])
    return pieces


def likelihood(
    generator: MusicGenerator,
    pieces: Sequence[Piece],
    *,
    length: int | None = None,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """NLL in nats per token, per note and per second, each with a 95 % interval over resampled pieces.

    length: the most tokens a prediction is made from, the model's own when not given; at least half of them where
    the piece has as many.
    """
    length = length or generator.context
    found = surprise(
        generator.model, generator.style, pieces, length=length, stride=max(1, length // 2), advance=advance
    )
    rng = np.random.default_rng(0)
    draws = [rates([found[i] for i in rng.integers(len(found), size=len(found))]) for _ in range(RESAMPLES)]
    report: dict[str, Any] = {"pieces": len(found), "tokens": sum(row.tokens for row in found), "context": length}
    for name, value in rates(found).items():
        low, high = np.percentile([draw[name] for draw in draws], [2.5, 97.5])
        report[name] = {"value": value, "low": float(low), "high": float(high)}
    return report


def writing(
    generator: MusicGenerator,
    pieces: Sequence[Piece],
    training: Sequence[Piece],
    *,
    samples: int,
    seed: int = 0,
    sampling: Sampling | None = None,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """What the model writes after the beginnings of `samples` pieces, against how they really go on.

    Distances of histograms (0 equal, 1 disjoint), the share of bars (for a piano, two seconds) that recur, the share of
    melodic figures taken from the motif, and the share of 16-token runs that are in the training pieces.
    """
    known = NGrams(COPIED_TOKENS)
    for piece in training:
        known.add(piece.ids[0].astype(np.int64))
    chosen = [pieces[i] for i in np.linspace(0, len(pieces) - 1, min(samples, len(pieces))).astype(int)]
    motifs, real, written, copied, copied_real = [], [], [], [], []
    for number, piece in enumerate(chosen):
        motif, rest, composition = _continue(generator, piece, seed + number, sampling)
        if len(motif) and len(rest):
            motifs.append(motif)
            real.append(rest)
            written.append(after(composition))
            copied.append(known.copied(composition.ids[composition.known :]))
            copied_real.append(known.copied(piece.ids[0].astype(np.int64)))
        advance()
    if not written:
        raise InputError("is too short to go on from", where="every piece", hint="measure with --samples 0")
    window = 2.0 if isinstance(generator.style, Piano) else BAR_SECONDS
    report: dict[str, Any] = {"continuations": len(written), "distance": compare(real, written, seed=seed)}
    report |= {
        "recurrence": {
            "generated": _mean(recurrence(x, window) for x in written),
            "real": _mean(recurrence(x, window) for x in real),
        },
        "motif_overlap": {
            "generated": _mean(map(motif_overlap, motifs, written)),
            "real": _mean(map(motif_overlap, motifs, real)),
        },
        "copied_from_training": {"generated": _mean(copied), "real": _mean(copied_real)} if training else None,
    }
    return report


def _continue(
    generator: MusicGenerator, piece: Piece, seed: int, sampling: Sampling | None
) -> tuple[Notes, Notes, Composition]:
    """The motif, how the piece goes on for as long as is written, and what the model writes."""
    style = generator.style
    if isinstance(style, Piano):
        notes = style.notes(piece.ids[0])
        notes = notes.shifted(-float(notes.start.min()))
        motif = notes.between(0, MOTIF_SECONDS)
        rest = notes.between(MOTIF_SECONDS, MOTIF_SECONDS + WRITTEN_SECONDS)
        return (
            motif,
            rest,
            generator.generate(motif, seconds=WRITTEN_SECONDS, seed=seed, sampling=sampling or Sampling())[0],
        )
    cells = style.voices * STEPS_PER_BAR
    known, following = piece.ids[0][: MOTIF_BARS * cells], piece.ids[0][MOTIF_BARS * cells :][: WRITTEN_BARS * cells]
    composition = generator.continue_grid(
        style.grid(known), bars=WRITTEN_BARS, seed=seed, sampling=sampling or Sampling()
    )[0]
    return style.notes(known), style.notes(following), composition


def after(composition: Composition) -> Notes:
    """The notes that start after the motif, from time 0."""
    notes = composition.notes
    return notes.where(notes.start >= composition.motif_seconds - 1e-6).shifted(-composition.motif_seconds)


def _mean(values: Any) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def rows_of(report: dict[str, Any]) -> list[dict[str, object]]:
    """The report as lines for a table: measure, value, and the interval where there is one."""
    rows: list[dict[str, object]] = []
    for name, value in report.items():
        if isinstance(value, dict) and "value" not in value:
            rows += [row | {"measure": f"{name} {row['measure']}"} for row in rows_of(value)]
        elif isinstance(value, dict):
            rows.append({"measure": name, **value})
        elif value is not None:
            rows.append({"measure": name, "value": value, "low": None, "high": None})
    return rows
