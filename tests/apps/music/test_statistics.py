"""Statistics of music against scipy, brute force and pieces made for the purpose."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from attn.apps.music import statistics
from attn.apps.music.statistics import (
    HISTOGRAMS,
    NGrams,
    bootstrap_mean,
    chords,
    compare,
    distance,
    durations,
    inter_onsets,
    intervals,
    keeping,
    melody,
    motif_distances,
    motif_overlap,
    pitch_classes,
    recurrence,
)
from attn.data_adapters.midi.notes import Notes


def tune(pitches, step: float = 0.5, seed: int | None = None) -> Notes:
    """One note after another; with a seed, played a few milliseconds early or late."""
    start = step * np.arange(len(pitches))
    if seed is not None:
        start = start + np.random.default_rng(seed).uniform(0, 0.01, len(start))
    return Notes.of(start, start + 0.9 * step, pitches, [80] * len(pitches))


def random_tune(seed: int, length: int = 60) -> Notes:
    return tune(np.random.default_rng(seed).integers(48, 84, length))


def test_histograms_of_a_piece_counted_by_hand():
    notes = Notes.of([0, 0.01, 1, 2, 2.02], [0.5, 0.5, 1.25, 4, 4], [60, 64, 76, 48, 62], [80] * 5)
    assert chords(notes).tolist() == [0, 0, 1, 2, 2]
    assert melody(notes).tolist() == [64, 76, 62]
    assert {k: int(n) for k, n in enumerate(pitch_classes(notes)) if n} == {0: 2, 2: 1, 4: 2}
    # 64 up to 76 is an octave; 76 down to 62 is more than one, and counts as one.
    assert {k - 12: int(n) for k, n in enumerate(intervals(notes)) if n} == {12: 1, -12: 1}
    edges = statistics.TIME_EDGES
    (filled,) = np.flatnonzero(inter_onsets(notes))
    assert inter_onsets(notes)[filled] == 2 and edges[filled] <= 1 < edges[filled + 1]
    for length, count in ((0.25, 1), (0.5, 2), (2, 2)):
        assert durations(notes)[np.searchsorted(edges, length * 0.99) - 1] == count


def test_histograms_lose_no_note_however_short_or_long():
    notes = Notes.of([0, 100, 100.5], [1e-4, 100.3, 900], [60, 61, 62], [80] * 3)
    assert durations(notes).sum() == 3 and inter_onsets(notes).sum() == 2
    assert durations(notes)[0] == 1 == durations(notes)[-1]


@pytest.mark.parametrize("histogram", HISTOGRAMS.values(), ids=HISTOGRAMS)
def test_no_notes_are_no_counts(histogram):
    counts = histogram(Notes.none())
    assert counts.sum() == 0 and np.isnan(distance(counts, histogram(random_tune(0))))


def test_distance_is_scipys_and_ends_at_0_and_1():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(0, 5, 12), rng.integers(0, 50, 12)
        assert distance(a, b) == pytest.approx(jensenshannon(a, b, base=2), abs=1e-7)
        assert distance(a, b) == distance(b, a)
    assert distance(a, 3 * a) == pytest.approx(0, abs=1e-7)
    assert distance(np.array([1, 2, 0, 0]), np.array([0, 0, 4, 1])) == pytest.approx(1)


def test_halves_of_one_kind_of_music_are_near_and_another_kind_is_far():
    pieces = [random_tune(seed) for seed in range(24)]
    near, far = compare(pieces[:12], pieces[12:]), compare(pieces[:12], [p.stretched(2) for p in pieces[12:]])
    for name in HISTOGRAMS:
        assert 0 <= near[name]["low"] <= near[name]["high"] < 0.25
    assert far["inter_onset"]["value"] == pytest.approx(1) == far["duration"]["value"]
    assert far["pitch_class"] == near["pitch_class"]
    assert near == compare(pieces[:12], pieces[12:])


def test_the_interval_covers_the_distance_of_the_two_sources():
    rng = np.random.default_rng(0)
    likely = [np.r_[np.full(6, 1 / 6), np.zeros(6)], np.r_[np.zeros(3), np.full(9, 1 / 9)]]
    truth = float(distance(*likely))
    covered = 0
    for seed in range(40):
        sets = [[tune(60 + rng.choice(12, 40, p=p)) for _ in range(10)] for p in likely]
        found = compare(*sets, seed=seed)["pitch_class"]
        covered += found["low"] <= truth <= found["high"]
    assert covered >= 33  # 95 % of 40 are 38


def test_a_continuation_that_keeps_its_motif_is_found_and_one_that_does_not_is_not():
    rng = np.random.default_rng(0)
    scales = [rng.choice(12, 4, replace=False) for _ in range(10)]
    steps = 0.1 * 1.5 ** np.arange(10)
    motifs = [tune(60 + rng.choice(scale, 20), step) for scale, step in zip(scales, steps, strict=True)]
    faithful = [tune(60 + rng.choice(scale, 60), step) for scale, step in zip(scales, steps, strict=True)]
    for name in ("pitch_class", "inter_onset", "duration"):
        assert keeping(motif_distances(motifs, faithful)[name])["low"] > 0.1
    turned = motif_distances(motifs, faithful[1:] + faithful[:1])
    assert keeping(turned["inter_onset"])["value"] < 0


def test_keeping_is_the_mean_over_motifs_by_hand():
    found = keeping(np.array([[0.1, 0.5, 0.3], [0.4, 0.4, 0.4], [0.9, 0.7, 0.2]]))
    assert found["value"] == pytest.approx((0.3 + 0.0 + 0.6) / 3)


def test_overlap_counts_figures_also_transposed():
    motif = tune([60, 62, 64, 65, 67])
    assert motif_overlap(motif, motif.transposed(5)) == 1
    # Of its four figures of three intervals, the motif has the first two.
    assert motif_overlap(motif, tune([50, 52, 54, 55, 57, 50, 51])) == 0.5
    assert motif_overlap(motif, tune([67, 65, 64, 62, 60])) == 0
    assert np.isnan(motif_overlap(motif, tune([60, 62, 64])))


def test_a_repeated_phrase_recurs_and_a_tune_that_never_returns_does_not():
    phrase = np.random.default_rng(1).integers(48, 84, 16)
    assert recurrence(tune(np.r_[phrase, phrase, phrase])) > 0.6
    assert recurrence(tune(np.r_[phrase, phrase, phrase], seed=1)) > 0.6
    assert recurrence(random_tune(2, 200)) < 0.1
    assert recurrence(tune([60] * 40)) == 1
    assert np.isnan(recurrence(tune([60]))) and np.isnan(recurrence(Notes.none()))


def test_recurrence_compares_every_window_with_every_earlier_one(monkeypatch):
    """Against a double loop over windows written out step by step."""
    notes = tune(np.random.default_rng(3).choice([60, 62, 67], 80), step=0.3)
    seconds, found = 1.0, []

    def window(start):
        grid = np.zeros((12, statistics.SLOTS + 1))
        for time, pitch in zip(notes.start, notes.pitch, strict=True):
            if start <= time < start + seconds - 1e-6:
                slot, late = divmod((time - start) / seconds * statistics.SLOTS, 1)
                grid[pitch % 12, int(slot)] += 1 - late
                grid[pitch % 12, int(slot) + 1] += late
        return grid / np.linalg.norm(grid)

    starts = [start for start in notes.start if start + seconds <= notes.seconds]
    for later in starts:
        past = [start for start in starts if start + seconds <= later + 1e-6]
        if past:
            found.append(any((window(start) * window(later)).sum() >= statistics.ALIKE for start in past))
    monkeypatch.setattr(statistics, "BLOCK", 7)
    assert recurrence(notes, seconds) == pytest.approx(np.mean(found)) and 0 < np.mean(found) < 1


@pytest.mark.real_data
def test_real_music_repeats_itself_and_its_chords_in_random_order_do_not(data_dir):
    from attn.data_adapters.midi.file import read_midi

    files = sorted((data_dir / "music" / "maestro" / "2004").glob("*.midi"))[:4]
    rng = np.random.default_rng(0)
    for notes in (read_midi(path).notes for path in files):
        start_n = statistics.chord_times(notes)[chords(notes)]
        moved_n = rng.permutation(statistics.chord_times(notes))[chords(notes)] - start_n
        shuffled = Notes.of(notes.start + moved_n, notes.end + moved_n, notes.pitch, notes.velocity)
        assert recurrence(notes) > 0.05 > 0.02 > recurrence(shuffled)


def test_the_bootstrap_has_the_width_of_the_normal_interval():
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = bootstrap_mean([*values, np.nan])
    assert found["value"] == pytest.approx(values.mean())
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert np.isnan(bootstrap_mean([])["low"])


def test_copied_ngrams_against_a_set_of_tuples():
    rng = np.random.default_rng(0)
    pieces = [rng.integers(0, 4, rng.integers(0, 300)) for _ in range(20)]
    ngrams, known = NGrams(5, most=1 << 20), set()
    for piece in pieces:
        ngrams.add(piece)
        known |= {tuple(piece[k : k + 5]) for k in range(len(piece) - 4)}
    ids = rng.integers(0, 4, 500)
    assert ngrams.copied(ids) == np.mean([tuple(ids[k : k + 5]) in known for k in range(496)])
    assert ngrams.copied(pieces[0]) == 1 and ngrams.copied(ids + 4) == 0
    assert np.isnan(ngrams.copied(ids[:4]))


def test_memory_is_bounded_and_the_share_stays_right():
    rng = np.random.default_rng(0)
    ngrams = NGrams(8, most=2000)
    piece = rng.integers(0, 300, 40_000)
    for begin in range(0, len(piece), 4000):
        ngrams.add(piece[begin : begin + 4007])
    half = np.r_[piece[:20_000], rng.integers(0, 300, 20_000)]
    assert ngrams.copied(half) == pytest.approx(0.5, abs=0.05)
    assert len(ngrams._hashes) <= 2000
