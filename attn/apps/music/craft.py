"""What a listener and a teacher of harmony would count: key, density, returning figures, parallels, cadences.

Shapes: N notes, T grid steps, 4 voices. Times are seconds; a grid holds pitches, -1 for silence.
"""

import numpy as np

from attn.apps.music.key import Key
from attn.apps.music.rules import PERFECT
from attn.apps.music.statistics import EPSILON, chord_times, motif_overlap
from attn.apps.music.styles import STEPS_PER_BAR
from attn.data_adapters.midi.notes import Notes

FIGURE = 4  # intervals in a figure
CONSONANT = np.isin(np.arange(12), (0, 3, 4, 5, 7, 8, 9))  # unison, thirds, fourth, fifth, sixths, and their octaves


def rate(notes: Notes, seconds: float) -> float:
    """Notes a second."""
    return len(notes) / seconds if seconds > 0 else float("nan")


def off_key(notes: Notes, key: Key) -> float:
    """The share of notes that are not of the key; NaN without notes."""
    return float((~key.scale[notes.pitch % 12]).mean()) if len(notes) else float("nan")


def returning(motif: Notes, continuation: Notes) -> float:
    """The share of the continuation's figures of four melodic intervals that the motif has too."""
    return motif_overlap(motif, continuation, FIGURE)


def consonance(notes: Notes) -> float:
    """The share of pairs of sounding notes that are consonant, whenever a note is struck; NaN without pairs."""
    consonant = pairs = 0
    for time in chord_times(notes) if len(notes) else ():
        pitch = notes.pitch[(notes.start <= time + EPSILON) & (notes.end > time + EPSILON)]
        one, other = np.triu_indices(len(pitch), 1)
        pairs += len(one)
        consonant += int(CONSONANT[abs(pitch[one] - pitch[other]) % 12].sum())
    return consonant / pairs if pairs else float("nan")


def crowded(notes: Notes, begin: float, end: float, keys: int = 10) -> float:
    """The share of the time from `begin` to `end` in which at least so many keys sound."""
    times = np.concatenate([notes.start, notes.end]).clip(begin, end)
    change = np.repeat([1, -1], len(notes))
    order = np.argsort(times, kind="stable")
    at, sounding = times[order], np.cumsum(change[order])
    lengths = np.diff(np.append(at, end))
    return float(lengths[sounding >= keys].sum() / (end - begin))


def parallels(grid_tv: np.ndarray) -> tuple[int, int]:
    """Pairs of voices that move in parallel fifths and in parallel octaves or unisons, from one step to the next."""
    fifths = octaves = 0
    before, now = grid_tv[:-1], grid_tv[1:]
    for upper in range(grid_tv.shape[1]):
        for lower in range(upper + 1, grid_tv.shape[1]):
            pair = (before[:, upper], before[:, lower], now[:, upper], now[:, lower])
            moved = (pair[0] != pair[2]) & (pair[1] != pair[3]) & (np.minimum.reduce(pair) >= 0)
            then, after = (pair[0] - pair[1]) % 12, (pair[2] - pair[3]) % 12
            octaves += int((moved & (then == after) & (then == PERFECT[0])).sum())
            fifths += int((moved & (then == after) & (then == PERFECT[1])).sum())
    return fifths, octaves


def still_bars(grid_tv: np.ndarray) -> float:
    """The share of whole bars in which no voice moves; NaN for less than a bar."""
    bars = len(grid_tv) // STEPS_PER_BAR
    if not bars:
        return float("nan")
    cut = grid_tv[: bars * STEPS_PER_BAR].reshape(bars, STEPS_PER_BAR, -1)
    return float((cut == cut[:, :1]).all((1, 2)).mean())


def closes(grid_tv: np.ndarray, key: Key) -> bool:
    """Whether the piece ends with its tonic chord in root position after a dominant one.

    In minor the last chord may be major (Picardy): so three quarters of Bach's chorales close, and half of his minor
    ones would not otherwise.
    """
    last, moves = grid_tv[-1], np.flatnonzero(np.diff(grid_tv[:, -1]))
    if not len(moves):
        return False
    before = grid_tv[moves[-1]]
    tonic = key.triad[last % 12].all() or Key(key.tonic, True).triad[last % 12].all()
    final = last[-1] % 12 == key.tonic and tonic
    return bool(final and before[-1] % 12 == (key.tonic + 7) % 12 and key.dominant[before % 12].mean() >= 0.75)
