"""Music in numbers: histograms of pitch and rhythm, distances between them, and how much a piece repeats.

Shapes: N notes, C chords (notes struck together), M melodic intervals, P pieces, K bins, R resamples. Histograms are
counts; times are seconds.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from attn.data_adapters.midi.notes import Notes

TOGETHER = 0.03  # seconds between notes that a player means as one chord
WIDEST = 12  # semitones; wider intervals count as an octave
TIME_EDGES = np.geomspace(0.02, 5.12, 25)  # seconds; three bins per doubling
SLOTS = 8  # steps in which a window's rhythm is compared
ALIKE = 0.85  # cosine; 27 % of two-second windows of MAESTRO then recur, 0.2 % with the chords in random order
EPSILON = 1e-6  # seconds, so that rounding does not move a note of a grid into the next window
MOST_NGRAMS = 1 << 26  # half a gigabyte of hashes
MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, of random bits: 2^64 over the golden ratio
BLOCK = 512  # windows compared at once


def chords(notes: Notes) -> np.ndarray:
    """(N,) the number of each note's chord, from 0; a note that starts over 30 ms after the last begins a chord."""
    return np.cumsum(np.diff(notes.start, prepend=notes.start[:1]) > TOGETHER)


def chord_times(notes: Notes) -> np.ndarray:
    """(C,) the first onset of each chord."""
    return notes.start[np.unique(chords(notes), return_index=True)[1]]


def melody(notes: Notes) -> np.ndarray:
    """(C,) the highest pitch of each chord, which listeners hear as the melody."""
    chord_n = chords(notes)
    highest_c = np.zeros(int(chord_n[-1]) + 1 if len(notes) else 0, int)
    np.maximum.at(highest_c, chord_n, notes.pitch)
    return highest_c


def pitch_classes(notes: Notes) -> np.ndarray:
    """(12,) notes per pitch class, C first."""
    return np.bincount(notes.pitch % 12, minlength=12)


def intervals(notes: Notes) -> np.ndarray:
    """(25,) melodic intervals in semitones, -12 to 12."""
    return np.bincount(np.diff(melody(notes)).clip(-WIDEST, WIDEST) + WIDEST, minlength=2 * WIDEST + 1)


def inter_onsets(notes: Notes) -> np.ndarray:
    """(24,) times from one chord to the next, in logarithmic bins of 0.02 to 5.12 s; the outer bins are open."""
    return _log_histogram(np.diff(chord_times(notes)))


def durations(notes: Notes) -> np.ndarray:
    """(24,) lengths of the notes, in the bins of `inter_onsets`."""
    return _log_histogram(notes.end - notes.start)


HISTOGRAMS: dict[str, Callable[[Notes], np.ndarray]] = {
    "pitch_class": pitch_classes,
    "interval": intervals,
    "inter_onset": inter_onsets,
    "duration": durations,
}


def distance(counts_a: np.ndarray, counts_b: np.ndarray) -> np.ndarray:
    """Jensen-Shannon distance (the root of the divergence to base 2) along the last axis: 0 equal, 1 disjoint.

    Lin 1991, "Divergence measures based on the Shannon entropy", and Endres and Schindelin 2003 for the root, a
    metric. NaN where a histogram is empty.
    """
    with np.errstate(invalid="ignore"):
        p, q = (counts / counts.sum(-1, keepdims=True) for counts in (np.asarray(counts_a), np.asarray(counts_b)))
    divergence = _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2
    return np.asarray(np.sqrt(divergence.clip(0, 1)))


def compare(real: Sequence[Notes], generated: Sequence[Notes], *, seed: int = 0) -> dict[str, dict[str, float]]:
    """The distance between the pooled histograms of two sets of pieces: {histogram: {value, low, high}}.

    Pieces are resampled for the 95 % intervals. Resampling adds noise, and noise adds distance, so the interval is
    reflected (2 x value - percentile) and cut to 0..1.
    """
    rng = np.random.default_rng(seed)
    report = {}
    for name, histogram in HISTOGRAMS.items():
        counts = [np.stack([histogram(notes) for notes in pieces]) for pieces in (real, generated)]
        value = float(distance(*(counts_pk.sum(0) for counts_pk in counts)))
        resampled = [_resampled_weights(len(counts_pk), rng) @ counts_pk for counts_pk in counts]
        low, high = np.nanpercentile(distance(*resampled), (2.5, 97.5)) if np.isfinite(value) else (np.nan, np.nan)
        report[name] = {
            "value": value,
            "low": float(np.clip(2 * value - high, 0, 1)),
            "high": float(np.clip(2 * value - low, 0, 1)),
        }
    return report


def motif_distances(motifs: Sequence[Notes], continuations: Sequence[Notes]) -> dict[str, np.ndarray]:
    """{histogram: (P, P)} the distance between motif i (row) and continuation j (column)."""
    return {
        name: distance(
            np.stack([histogram(notes) for notes in motifs])[:, None],
            np.stack([histogram(notes) for notes in continuations])[None],
        )
        for name, histogram in HISTOGRAMS.items()
    }


def keeping(distance_pp: np.ndarray, *, seed: int = 0) -> dict[str, float]:
    """How much closer a motif is to its own continuation than to other motifs' continuations: {value, low, high}.

    A motif's gain is its mean distance to the other continuations minus the distance to its own; the value is the mean
    gain. `distance_pp` is one of `motif_distances`. If `low` is above 0, continuations keep to their motif.
    """
    others = ~np.eye(len(distance_pp), dtype=bool)
    gain_p = np.nanmean(np.where(others, distance_pp, np.nan), axis=1) - np.diagonal(distance_pp)
    return bootstrap_mean(gain_p, seed=seed)


def motif_overlap(motif: Notes, continuation: Notes, length: int = 3) -> float:
    """The share of the continuation's melodic figures that the motif has too, in any key.

    A figure is `length` melodic intervals in a row. NaN for a continuation without figures.
    """
    known = set(_figures(motif, length))
    figures = list(_figures(continuation, length))
    return sum(figure in known for figure in figures) / len(figures) if figures else float("nan")


def recurrence(notes: Notes, seconds: float = 2.0) -> float:
    """The share of windows of `seconds` that repeat an earlier one: a piece's self-similarity (after Foote 1999).

    A window starts at each chord; its onsets, by 12 pitch classes and 8 steps of time, describe it. The window recurs
    if it is alike (cosine 0.85 or more) to a window that ends before it starts. NaN for fewer than two windows.
    For grid music give the length of a bar: in half a bar, chords recur by chance.
    """
    start_c = chord_times(notes)
    start_c = start_c[start_c + seconds <= notes.seconds + EPSILON]
    end_c = start_c + seconds - EPSILON
    later = start_c >= end_c[:1]
    if not later.any():
        return float("nan")
    window_cf = _windows(notes, start_c, seconds)
    recurring = 0
    for begin in range(int(later.argmax()), len(start_c), BLOCK):
        alike = window_cf[begin : begin + BLOCK] @ window_cf.T >= ALIKE
        past = end_c[None] <= start_c[begin : begin + BLOCK, None]
        recurring += int((alike & past).any(1).sum())
    return recurring / int(later.sum())


def bootstrap_mean(values: Sequence[float] | np.ndarray, *, seed: int = 0, resamples: int = 2000) -> dict[str, float]:
    """{value, low, high}: the mean and its 95 % bootstrap interval (percentiles); NaN values are left out."""
    value_n = np.asarray(values, float)
    value_n = value_n[np.isfinite(value_n)]
    if not len(value_n):
        return {"value": float("nan"), "low": float("nan"), "high": float("nan")}
    mean_r = _resampled_weights(len(value_n), np.random.default_rng(seed), resamples) @ value_n / len(value_n)
    low, high = np.percentile(mean_r, (2.5, 97.5))
    return {"value": float(value_n.mean()), "low": float(low), "high": float(high)}


class NGrams:
    """The token n-grams of a training set, to measure how much of a piece was copied from it.

    Each n-gram is kept as a 64-bit hash, 8 bytes. When there are more than `most`, a bound is halved until the hashes
    below it fit. Only n-grams below the bound are then kept and looked up. They are a random sample, so memory is
    bounded and shares stay unbiased.
    """

    def __init__(self, length: int, most: int = MOST_NGRAMS) -> None:
        self.length, self.most = length, most
        self._hashes = np.empty(0, np.uint64)  # sorted, distinct
        self._pending: list[np.ndarray] = []
        self._bound = np.uint64(2**64 - 1)

    def add(self, ids: np.ndarray) -> None:
        """Add the n-grams of one piece, (L,) token ids."""
        self._pending.append(self._hash(ids))
        if sum(map(len, self._pending)) > max(len(self._hashes), self.most // 8):
            self._merge()

    def copied(self, ids: np.ndarray) -> float:
        """The share of the n-grams of `ids` (L,) that were added in the same key. NaN for `ids` without n-grams."""
        if self._pending:
            self._merge()
        hash_l = self._hash(ids)
        if not len(hash_l):
            return float("nan")
        after_l = np.searchsorted(self._hashes, hash_l, side="right")
        return float((after_l > np.searchsorted(self._hashes, hash_l)).mean())

    def _merge(self) -> None:
        hashes = np.sort(np.concatenate([self._hashes, *self._pending]))
        # np.unique and np.isin use a hash table, which takes many times as long.
        self._hashes = hashes[np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)]]
        self._pending = []
        while len(self._hashes) > self.most:
            self._bound >>= np.uint64(1)
            self._hashes = self._hashes[self._hashes <= self._bound]

    def _hash(self, ids: np.ndarray) -> np.ndarray:
        """The hashes that are not above the bound; each token is mixed in by one round."""
        token_l = np.asarray(ids).astype(np.uint64)
        count = max(0, len(token_l) - self.length + 1)
        hash_l = np.zeros(count, np.uint64)
        for place in range(self.length):
            hash_l = (hash_l ^ (token_l[place : place + count] + np.uint64(1))) * MIX
            hash_l ^= hash_l >> np.uint64(29)
        return hash_l[hash_l <= self._bound]


def _resampled_weights(count: int, rng: np.random.Generator, resamples: int = 1000) -> np.ndarray:
    """(R, P) how often each resample contains each of `count` pieces."""
    return np.asarray(rng.multinomial(count, np.full(count, 1 / count), size=resamples))


def _figures(notes: Notes, length: int) -> Iterator[tuple[int, ...]]:
    steps = np.diff(melody(notes)).tolist()
    return (tuple(steps[begin : begin + length]) for begin in range(len(steps) - length + 1))


def _log_histogram(seconds: np.ndarray) -> np.ndarray:
    inside = np.searchsorted(TIME_EDGES, seconds, side="right") - 1
    return np.bincount(inside.clip(0, len(TIME_EDGES) - 2), minlength=len(TIME_EDGES) - 1)


def _entropy(p: np.ndarray) -> np.ndarray:
    """The entropy in bits along the last axis."""
    return np.asarray(-(p * np.log2(p, where=p > 0, out=np.zeros_like(p))).sum(-1))


def _windows(notes: Notes, start_c: np.ndarray, seconds: float) -> np.ndarray:
    """(C, 12 x 9) unit vectors: onsets by pitch class and step; an onset between two steps counts partly for each.

    A note that is played a little late then changes the vector only a little.
    """
    window_cf = np.zeros((len(start_c), 12, SLOTS + 1), np.float32)
    first_c, last_c = np.searchsorted(notes.start, (start_c, start_c + seconds - EPSILON))
    window_n = np.repeat(np.arange(len(start_c)), last_c - first_c)
    note_n = np.arange(len(window_n)) - np.repeat(np.cumsum(last_c - first_c) - last_c, last_c - first_c)
    place_n = (notes.start[note_n] - start_c[window_n]) / seconds * SLOTS
    slot_n = place_n.astype(int)
    share_n = place_n - slot_n
    np.add.at(window_cf, (window_n, notes.pitch[note_n] % 12, slot_n), 1 - share_n)
    np.add.at(window_cf, (window_n, notes.pitch[note_n] % 12, slot_n + 1), share_n)
    flat_cf = window_cf.reshape(len(start_c), -1)
    return np.asarray(flat_cf / np.linalg.norm(flat_cf, axis=1, keepdims=True))
