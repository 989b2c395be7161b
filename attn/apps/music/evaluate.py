"""Measure a music model: the likelihood of real pieces, and how similar its continuations are to the real ones."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attn.apps.music.compose import Composition
from attn.apps.music.corpus import Piece
from attn.apps.music.decode import Sampling
from attn.apps.music.likelihood import Surprise, rates, surprise
from attn.apps.music.predict import MusicGenerator
from attn.apps.music.sources import PARTS, Collection
from attn.apps.music.statistics import HISTOGRAMS, TIME_EDGES, WIDEST, NGrams, compare, motif_overlap, recurrence
from attn.apps.music.styles import BAR_SECONDS, STEPS_PER_BAR, Piano
from attn.core.errors import InputError, UsageError
from attn.core.files import claim, replacing
from attn.data_adapters.midi.notes import Notes

RESAMPLES = 2000
COPIED_TOKENS = 16  # about a bar of a chorale, or four piano notes
MOTIF_SECONDS, WRITTEN_SECONDS = 8.0, 20.0
MOTIF_BARS, WRITTEN_BARS = 2, 4
GROUPS = ("split", "folder")
PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
AXES = {  # edges of the bins of each histogram
    "pitch_class": np.arange(13) - 0.5,
    "interval": np.arange(2 * WIDEST + 2) - WIDEST - 0.5,
    "inter_onset": TIME_EDGES,
    "duration": TIME_EDGES,
}


def known_split(split: str) -> str:
    """The part that a person means. Raises UsageError where there is none of that name."""
    split = {"valid": "validation"}.get(split, split)
    if split not in (*PARTS, "all"):
        raise UsageError(f"no split {split!r}", hint=f"there are {', '.join(PARTS)} and all")
    return split


def part_of(collection: Collection, split: str) -> list[Piece]:
    """The pieces to measure on. Raises UsageError for an unknown split, InputError for an empty one."""
    split = known_split(split)
    pieces = collection.part(split)
    if not pieces:
        raise InputError(f"has no {split} pieces", where=collection.fingerprint["source"])
    return pieces


def groups_of(collection: Collection, pieces: Sequence[Piece], by: str) -> list[str]:
    """The group of each piece: its `split`, or the `folder` of its file. Raises UsageError for another `by`.

    MAESTRO has a folder for each year. Pieces of a JSON file have the folder ".".
    """
    if by not in GROUPS:
        raise UsageError(f"no column {by!r}", hint=f"there are {' and '.join(GROUPS)}")
    if by == "folder":
        return [str(PurePath(piece.name).parent) for piece in pieces]
    split_of = {piece.name: split for split in PARTS for piece in collection.part(split)}
    return [split_of[piece.name] for piece in pieces]


def likelihood(
    generator: MusicGenerator,
    pieces: Sequence[Piece],
    *,
    length: int | None = None,
    groups: Sequence[str] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """NLL in nats per token, per note and per second, each with a 95 % interval over resampled pieces.

    A token is predicted from at most `length` tokens (by default as many as in the model's training), and from at least
    half of them where the piece has them. The report has a row for each piece and, if `groups` names the group of each
    piece, a row for each group.
    """
    length = length or generator.context
    found = surprise(
        generator.model, generator.style, pieces, length=length, stride=max(1, length // 2), advance=advance
    )
    report = _measured(found) | {"context": length}
    if groups is not None:
        members = {group: [row for row, of in zip(found, groups, strict=True) if of == group] for group in groups}
        report["groups"] = [{"group": group, **_measured(members[group])} for group in sorted(members)]
    report["per_piece"] = [{"piece": row.name, "tokens": row.tokens, **rates([row])} for row in found]
    return report


def _measured(found: Sequence[Surprise]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    draws = [rates([found[i] for i in rng.integers(len(found), size=len(found))]) for _ in range(RESAMPLES)]
    report: dict[str, Any] = {"pieces": len(found), "tokens": sum(row.tokens for row in found)}
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
    """The model continues the beginnings of `samples` pieces; its continuations are compared with the real ones.

    The report has the distances between histograms (0 equal, 1 disjoint), the histograms, the share of bars (for a
    piano, of two seconds) that recur, the share of melodic figures taken from the motif, and the share of runs of 16
    tokens that the training pieces have too. Raises InputError if no piece is long enough.
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
        raise InputError("no piece is long enough to be continued", hint="measure with --samples 0")
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
        "histograms": {
            name: {"real": _total(map(histogram, real)), "generated": _total(map(histogram, written))}
            for name, histogram in HISTOGRAMS.items()
        },
    }
    return report


def _continue(
    generator: MusicGenerator, piece: Piece, seed: int, sampling: Sampling | None
) -> tuple[Notes, Notes, Composition]:
    """The motif, the real continuation of the piece, and the piece that the model writes, both of the same length."""
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


def pictures(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write evaluation.png to `folder`: the likelihood of each piece, and what real and generated music is made of.

    report: that of `likelihood`, with that of `writing` if there is one. Raises UsageError as `claim` does.
    """
    claim(folder)
    histograms = report.get("histograms", {})
    figure = Figure(figsize=(13 if histograms else 5, 6.5), layout="constrained")
    axes = figure.add_subplot(figure.add_gridspec(2, 3)[:, 0]) if histograms else figure.add_subplot()
    values = [row["nll_per_token"] for row in report["per_piece"] if row["tokens"]]
    axes.hist(values, bins=20, color="tab:blue", edgecolor="white", label=f"{len(values)} pieces")
    axes.axvline(report["nll_per_token"]["value"], color="0.25", linestyle="--", label="all tokens together")
    axes.set(xlabel="negative log-likelihood, nats per token", ylabel="pieces", title="likelihood")
    axes.legend()
    for number, (name, counts) in enumerate(histograms.items()):
        _draw_histogram(figure.add_subplot(2, 3, (2, 3, 5, 6)[number]), name, counts, report["distance"][name]["value"])
    path = folder / "evaluation.png"
    with replacing(path) as part:
        figure.savefig(part, dpi=130, format="png")
    return [path]


def _draw_histogram(axes: Axes, name: str, counts: dict[str, list[int]], distance: float) -> None:
    edges = AXES[name]
    for kind, colour in (("real", "tab:blue"), ("generated", "tab:orange")):
        total = max(1, sum(counts[kind]))
        axes.stairs([count / total for count in counts[kind]], edges, color=colour, label=kind, linewidth=1.5)
    if name == "pitch_class":
        axes.set_xticks(range(12), PITCH_CLASSES)
    elif name != "interval":
        axes.set_xscale("log")
    unit = {"pitch_class": "", "interval": ", semitones"}.get(name, ", seconds")
    axes.set(xlabel=name.replace("_", " ") + unit, ylabel="share", title=f"distance {distance:.2f}")
    axes.legend()


def _total(histograms: Iterable[np.ndarray]) -> list[int]:
    total: list[int] = np.sum(list(histograms), axis=0).tolist()
    return total


def _mean(values: Any) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def rows_of(report: dict[str, Any]) -> list[dict[str, object]]:
    """The numbers of the report as rows of a table: measure, value, and the interval if the measure has one."""
    rows: list[dict[str, object]] = []
    for name, value in report.items():
        if isinstance(value, dict) and "value" not in value:
            rows += [row | {"measure": f"{name} {row['measure']}"} for row in rows_of(value)]
        elif isinstance(value, dict):
            rows.append({"measure": name, **value})
        elif isinstance(value, int | float):
            rows.append({"measure": name, "value": value, "low": None, "high": None})
    return rows
