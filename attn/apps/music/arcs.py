"""Attention as arcs over the piano roll, from a note to the past notes that the model attended to.

Shapes: N notes, E arcs.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attn.apps.music.roll import INK, draw_header, draw_notes, label_time, pitch_range
from attn.core.errors import InputError
from attn.core.files import replacing
from attn.data_adapters.midi.notes import Notes

MOST_ARCS = 160  # more arcs would hide the notes
LEAST = 0.02  # weakest arc that is drawn, as a share of the strongest
MOST_OUTLINES = 12  # notes with arcs are outlined if there are at most this many
FAINTEST, WIDEST = 0.12, 2.2  # opacity, and line width in points, of the weakest and the strongest arc
INCHES_PER_SECOND, WIDTHS = 0.45, (13.0, 40.0)
INCHES_PER_PITCH = 0.062
RISE = 0.22  # height of an arc as long as the piece, as a share of the pitches shown
STEPS = np.linspace(0, 1, 48)
ARC = "#6a3d9a"


def draw_arcs(
    notes: Notes,
    weights_nn: np.ndarray,
    path: Path,
    *,
    motif_seconds: float | None = None,
    bar_seconds: float | None = None,
    title: str | None = None,
) -> None:
    """Write the roll of `notes` with arcs to the PNG `path`.

    weights_nn: (N, N); row i holds the attention of note i to each note, and only weights on earlier notes count. The
    160 largest weights are drawn; a larger weight gives a darker and thicker arc. If only a few notes have arcs, the
    notes are outlined. Raises InputError if there are no notes, and if `weights_nn` has another shape.
    """
    if not len(notes):
        raise InputError("no notes to draw")
    if weights_nn.shape != (len(notes), len(notes)):
        raise InputError(f"weights of shape {weights_nn.shape} for {len(notes)} notes")
    low, high = pitch_range(notes)
    width = float(np.clip(INCHES_PER_SECOND * notes.seconds, *WIDTHS))
    height = INCHES_PER_PITCH * (high - low) * (1 + RISE)
    figure = Figure(figsize=(width, height + 1.1), layout="constrained")
    header, axes = figure.subplots(2, 1, height_ratios=[0.22, height])
    draw_header(header, notes, motif_seconds, title)
    draw_notes(axes, notes, motif_seconds)
    axes.set_xlim(0, notes.seconds)
    label_time(axes, notes.seconds, bar_seconds, named=True)
    _arcs(axes, notes, weights_nn)
    with replacing(path) as part:
        figure.savefig(part, dpi=130, format="png")


def strongest(weights_nn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(E,) the attending notes, the past notes they attend to, and the weights: at most 160 arcs, weakest first."""
    past_nn = np.tril(weights_nn, -1)
    kept_e = np.argsort(past_nn, axis=None, kind="stable")[-MOST_ARCS:]
    looking_e, seen_e = np.unravel_index(kept_e, past_nn.shape)
    weight_e = past_nn[looking_e, seen_e]
    drawn = weight_e > LEAST * weight_e.max(initial=0)
    return looking_e[drawn], seen_e[drawn], weight_e[drawn]


def _arcs(axes: Axes, notes: Notes, weights_nn: np.ndarray) -> None:
    looking_e, seen_e, weight_e = strongest(weights_nn)
    if not len(weight_e):
        return
    low, high = pitch_range(notes)
    rise = RISE * (high - low)
    axes.set_ylim(low - 0.5, high + 0.5 + rise)
    start_e, end_e = notes.start[looking_e], notes.start[seen_e]
    # Long arcs rise higher, so that they are seen apart from short ones.
    height_e = rise * 2 * np.sqrt((start_e - end_e) / notes.seconds)
    time_es = start_e[:, None] + (end_e - start_e)[:, None] * STEPS
    pitch_e, seen_pitch_e = notes.pitch[looking_e], notes.pitch[seen_e]
    line_es = pitch_e[:, None] + (seen_pitch_e - pitch_e)[:, None] * STEPS
    pitch_es = line_es + height_e[:, None] * 4 * STEPS * (1 - STEPS)
    strength_e = weight_e / weight_e.max()
    axes.add_collection(
        LineCollection(
            list(np.stack([time_es, pitch_es], -1)),
            colors=ARC,
            alpha=(FAINTEST + (1 - FAINTEST) * strength_e).tolist(),
            linewidths=(0.5 + (WIDEST - 0.5) * strength_e).tolist(),
            zorder=3,
        )
    )
    looking = np.unique(looking_e)
    if len(looking) > MOST_OUTLINES:
        return
    for note in looking:
        corner = (notes.start[note], notes.pitch[note] - 0.5)
        length = notes.end[note] - notes.start[note]
        axes.add_patch(Rectangle(corner, length, 1, fill=False, edgecolor=INK, linewidth=1, zorder=4))
