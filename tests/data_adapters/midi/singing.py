"""A drawn singer: harmonics through formants, with vibrato, slides and breath."""

import numpy as np

RATE = 22050
FORMANTS = ((700, 130), (1150, 140), (2800, 250))  # Hz of the middle and of the half width
VIBRATO, SLIDE = 0.4, 0.06  # semitones, seconds


def sung(pitches: list[int], beats: list[float], bpm: float, *, rest: float = 0.7, seed: int = 0) -> np.ndarray:
    """(S,) float32 at RATE: the notes one after another, each held for nine tenths of its beats, after a rest."""
    rng = np.random.default_rng(seed)
    begin = rest + np.cumsum([0, *beats]) * 60 / bpm
    size = int((begin[-1] + 0.5) * RATE)
    semitones, loud = np.full(size, np.nan), np.zeros(size)
    for k, pitch in enumerate(pitches):
        length = int(0.9 * (begin[k + 1] - begin[k]) * RATE)
        time, place = np.arange(length) / RATE, slice(int(begin[k] * RATE), int(begin[k] * RATE) + length)
        before = pitches[max(0, k - 1)]
        slide = 0.5 * (1 + np.cos(np.pi * np.clip(time / SLIDE, 0, 1)))
        tremble = VIBRATO * np.sin(2 * np.pi * 5.5 * time) * np.clip((time - 0.15) / 0.2, 0, 1)
        semitones[place] = pitch + (before - pitch) * slide + tremble + rng.normal(0, 0.1)
        loud[place] = np.clip(np.minimum(time / 0.03, (time[-1] - time) / 0.04), 0, 1) * rng.uniform(0.7, 1)
    known = np.flatnonzero(~np.isnan(semitones))
    frequency = 440 * 2 ** ((np.interp(np.arange(size), known, semitones[known]) - 69) / 12)
    phase, sound = 2 * np.pi * np.cumsum(frequency) / RATE, np.zeros(size)
    for partial in range(1, 30):
        through = 0.02 + sum(1 / (1 + ((partial * frequency - middle) / width) ** 2) for middle, width in FORMANTS)
        sound += np.where(partial * frequency < RATE / 2, through * np.sin(partial * phase) / partial**0.7, 0)
    sound *= loud
    return np.asarray(0.5 * sound / np.abs(sound).max() + 0.003 * rng.normal(size=size), np.float32)
