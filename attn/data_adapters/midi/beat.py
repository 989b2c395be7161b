"""The tempo of notes that a person played or sang: the beat that most onsets fall on.

Shapes: N onsets, B tempos.
"""

import numpy as np

SLOWEST, FASTEST = 50.0, 180.0  # quarters a minute
USUAL, SPREAD = 100.0, 0.45  # quarters a minute, and the spread of tempos as a logarithm (base e)
PARTS = (1, 2, 4)  # of a quarter: onsets fall on quarters, eighths, and sixteenths
TURN = 0.05  # of a sixteenth: how far the last onset is off where the tempo is the nearest that is tried
SHORT = 20.0  # seconds, from which the tempo of longer pieces is found in ever longer beginnings
NEARBY = 4  # tempos tried on either side of that of a shorter beginning


def beat_of(start_n: np.ndarray) -> tuple[float, float]:
    """Quarter notes a minute, and when a sixteenth begins, the nearest to the first of the onsets (N,) in seconds.

    The onsets lie best on quarters, eighths and sixteenths: as points of a circle that turns once a quarter, twice, or
    four times, they are near to each other, so that their mean is long. Of like tempos the one nearer to 100 is taken.
    A beginning tells the tempo roughly, and each one of twice the length more finely.
    """
    start = start_n - start_n[0]
    span = min(SHORT, max(1.0, float(start[-1])))
    bpm_b = np.arange(SLOWEST, FASTEST, _step(span))
    while True:
        mean_pb = _means(bpm_b, start[start <= span])
        prior_b = np.exp(-0.5 * (np.log(bpm_b / USUAL) / SPREAD) ** 2)
        best = int(np.argmax(prior_b * np.abs(mean_pb).sum(axis=0)))
        bpm = float(bpm_b[best])
        if span >= start[-1]:
            break
        before, span = _step(span), 2 * span
        bpm_b = np.arange(bpm - NEARBY * before, bpm + NEARBY * before, _step(span))
    late = float(np.angle(mean_pb[-1, best])) / (2 * np.pi) * 60 / (PARTS[-1] * bpm)
    return bpm, float(start_n[0]) + late


def _step(span: float) -> float:
    """How far apart tempos are tried for a piece of so many seconds."""
    return 2 * TURN * 60 / (PARTS[-1] * span)


def _means(bpm_b: np.ndarray, start_n: np.ndarray) -> np.ndarray:
    """(3, B) complex: the means of the points of each circle."""
    turns_bn = np.outer(bpm_b / 60, start_n)
    return np.stack([np.exp(2j * np.pi * parts * turns_bn).mean(axis=1) for parts in PARTS])
