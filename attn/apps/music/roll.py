"""The piano roll: notes as bars over time and pitch, in rows like a score, the motif in a colour of its own.

Shapes: N notes. Times are seconds.
"""

import math
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from attn.core.errors import InputError
from attn.core.files import MADE_BY, replacing
from attn.data_adapters.midi.notes import Notes

WIDTH = 13.0  # inches
ROW_SECONDS, MOST_ROWS = 24.0, 8  # a longer piece gets longer rows instead of more rows
INCHES_PER_PITCH = 0.058
FEWEST_PITCHES, MARGIN = 30, 2  # least number of semitones shown, and free semitones above and below the notes
BLACK_KEYS = (1, 3, 6, 8, 10)
INK, FAINT = "0.25", "0.88"
SHADE = "#fdf0dc"  # behind the motif
PLAYED = (16, 108)  # velocities from the lightest to the darkest shade
KEY_WIDTH = 0.8  # inches
LONGEST_TITLE = 64  # characters


def _ramp(name: str) -> Colormap:
    """The darker part of a colour map, so that a soft note is visible too."""
    return LinearSegmentedColormap.from_list(f"{name}_ink", colormaps[name](np.linspace(0.35, 0.95, 64)))


PLAIN, MOTIF = _ramp("GnBu"), _ramp("YlOrRd")


def draw_roll(
    notes: Notes,
    path: Path,
    *,
    motif_seconds: float | None = None,
    bar_seconds: float | None = None,
    title: str | None = None,
) -> None:
    """Write the piano roll of `notes` to the PNG `path`; a darker note is struck harder.

    motif_seconds: notes that start earlier are the motif; they have another colour and a shaded background.
    bar_seconds: the length of a bar; time is then counted in bars instead of seconds. Raises InputError if there are no
    notes.
    """
    if not len(notes):
        raise InputError("no notes to draw")
    unit = bar_seconds or 1.0
    units = max(1, math.ceil(notes.seconds / unit - 1e-6))
    rows = min(MOST_ROWS, math.ceil(units * unit / ROW_SECONDS))
    row_seconds = math.ceil(units / rows) * unit
    rows = math.ceil(units * unit / row_seconds - 1e-6)  # rounding up may have left the last row empty
    low, high = pitch_range(notes)
    height = INCHES_PER_PITCH * (high - low)
    figure = Figure(figsize=(WIDTH, 0.75 + rows * (height + 0.35)), layout="constrained")
    grid = figure.add_gridspec(rows + 1, 1, height_ratios=[0.22, *[height] * rows])
    draw_header(figure.add_subplot(grid[0]), notes, motif_seconds, title)
    for row in range(rows):
        axes = figure.add_subplot(grid[row + 1])
        draw_notes(axes, notes, motif_seconds)
        axes.set_xlim(row * row_seconds, (row + 1) * row_seconds)
        label_time(axes, notes.seconds, bar_seconds, named=row == rows - 1)
    with replacing(path) as part:
        figure.savefig(part, dpi=130, format="png", metadata={"Software": MADE_BY})


def draw_notes(axes: Axes, notes: Notes, motif_seconds: float | None = None) -> None:
    """Draw stripes for the black keys, the motif's shade and the notes as bars; the caller sets the x limits."""
    low, high = pitch_range(notes)
    for pitch in range(low, high + 1):
        if pitch % 12 in BLACK_KEYS:
            axes.axhspan(pitch - 0.5, pitch + 0.5, color="0.96", linewidth=0, zorder=0)
        if pitch % 12 == 0:
            axes.axhline(pitch - 0.5, color=FAINT, linewidth=0.8, zorder=0.5)
    if motif_seconds is not None:
        axes.axvspan(0, motif_seconds, color=SHADE, linewidth=0, zorder=0.2)
        axes.axvline(motif_seconds, color="tab:orange", linewidth=1, linestyle=(0, (4, 3)), zorder=0.6)
    late_n = notes.start >= (-math.inf if motif_seconds is None else motif_seconds)
    for mask_n, colours in ((late_n, PLAIN), (~late_n, MOTIF)):
        part = notes.where(mask_n)
        left, right, bottom, top = part.start, part.end, part.pitch - 0.42, part.pitch + 0.42
        corners_n42 = np.stack(
            [np.stack(corner, -1) for corner in ((left, bottom), (left, top), (right, top), (right, bottom))], 1
        )
        # A thin light edge separates repeated notes, and keeps the shortest notes visible.
        bars = PolyCollection(
            list(corners_n42), facecolors=colours(_loudness(part.velocity)), edgecolors="white", linewidths=0.3
        )
        bars.set_zorder(2)
        axes.add_collection(bars)
    axes.set_ylim(low - 0.5, high + 0.5)
    octaves = [pitch for pitch in range(low, high + 1) if pitch % 12 == 0]
    axes.set_yticks(octaves, [f"C{pitch // 12 - 1}" for pitch in octaves], fontsize=8, color=INK)
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("0.7")


def draw_header(axes: Axes, notes: Notes, motif_seconds: float | None, title: str | None) -> None:
    """Draw one line above the roll: the title on the left, the meaning of the colours on the right."""
    if title is not None:
        shown = title if len(title) <= LONGEST_TITLE else title[: LONGEST_TITLE - 1] + "…"
        axes.text(0, 0.5, shown, va="center", fontsize=12, color=INK, parse_math=False)
    low, high = int(notes.velocity.min()), int(notes.velocity.max())
    loudness = f"velocity {low}" if low == high else f"velocity {low} to {high}"
    keys = [(loudness, PLAIN)] if motif_seconds is None else [("motif", MOTIF), (f"continuation, {loudness}", PLAIN)]
    right = WIDTH - 0.1
    for name, colours in reversed(keys):
        left = right - 0.075 * len(name) - KEY_WIDTH  # inches: about the width of the text, and of the swatch
        swatch = colours(_loudness(np.linspace(low, high, 64)[None]))
        axes.imshow(swatch, extent=(left, left + KEY_WIDTH, 0.25, 0.75), aspect="auto")
        axes.text(left + KEY_WIDTH + 0.08, 0.5, name, va="center", fontsize=8, color=INK)
        right = left - 0.3
    axes.set(xlim=(0, WIDTH), ylim=(0, 1))
    axes.set_axis_off()


def label_time(axes: Axes, seconds: float, bar_seconds: float | None, *, named: bool) -> None:
    """Set ticks in bars, seconds or minutes; `named` writes the unit below the axis, once for all rows."""
    if bar_seconds is not None:
        bars = (axes.get_xlim()[1] - axes.get_xlim()[0]) / bar_seconds
        axes.xaxis.set_major_locator(MultipleLocator(bar_seconds * max(1, math.ceil(bars / 24))))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda time, _: f"{round(time / bar_seconds) + 1}"))
        name = "bar"
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=16, steps=[1, 2, 5, 10], integer=True))
        minutes = seconds > 120
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda time, _: f"{int(time) // 60}:{int(time) % 60:02}" if minutes else f"{time:g}")
        )
        name = "minutes" if minutes else "seconds"
    axes.tick_params(axis="x", labelsize=8, labelcolor=INK, length=2, color="0.7")
    axes.grid(axis="x", color=FAINT, linewidth=0.6, zorder=0.4)
    axes.set_axisbelow(True)
    if named:
        axes.set_xlabel(name, fontsize=9, color=INK)


def pitch_range(notes: Notes) -> tuple[int, int]:
    """The lowest and highest pitch to show: those of the notes with a margin, two and a half octaves at least."""
    low, high = int(notes.pitch.min()) - MARGIN, int(notes.pitch.max()) + MARGIN
    more = max(0, FEWEST_PITCHES - (high - low))
    return low - more // 2, high + more - more // 2


def _loudness(velocity: np.ndarray) -> np.ndarray:
    """Velocities as 0..1 over the range that people play."""
    softest, hardest = PLAYED
    return np.clip((velocity - softest) / (hardest - softest), 0, 1)
