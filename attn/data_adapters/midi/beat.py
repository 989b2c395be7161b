"""The tempo of notes that a person played or sang: the beat that most onsets fall on.

Shapes: N onsets, B tempos.
"""

import numpy as np

SLOWEST, FASTEST, FINENESS = 50.0, 180.0, 1.002  # quarters a minute; from one to the next
USUAL, SPREAD = 100.0, 0.45  # quarters a minute, and the spread of tempos as a logarithm (base e)
PARTS = (1, 2, 4)  # of a quarter: onsets fall on quarters, eighths, and sixteenths


def beat_of(start_n: np.ndarray) -> tuple[float, float]:
    """Quarter notes a minute, and when a sixteenth begins, the nearest to the first of the onsets (N,) in seconds.

    The onsets lie best on quarters, eighths and sixteenths: as points of a circle that turns once a quarter, twice, or
    four times, they are near to each other, so that their mean is long. Of like tempos the one nearer to 100 is taken.
    """
    start = start_n - start_n[0]
    steps = int(np.log(FASTEST / SLOWEST) / np.log(FINENESS)) + 1
    bpm_b = SLOWEST * FINENESS ** np.arange(steps)
    means = [np.exp(2j * np.pi * parts / 60 * np.outer(bpm_b, start)).mean(axis=1) for parts in PARTS]
    prior_b = np.exp(-0.5 * (np.log(bpm_b / USUAL) / SPREAD) ** 2)
    best = int(np.argmax(prior_b * np.abs(means).sum(axis=0)))
    bpm = float(bpm_b[best])
    late = float(np.angle(means[-1][best])) / (2 * np.pi) * 60 / (PARTS[-1] * bpm)
    return bpm, float(start_n[0]) + late
