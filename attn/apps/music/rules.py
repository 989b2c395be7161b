"""Soft rules that guide sampling: they lower the logits of what a listener would mind, by so many nats.

The model is as it was; with strength 0 it speaks alone.

Shapes: B pieces, V ids.
"""

import numpy as np

PERFECT = (0, 7)  # octaves and fifths, in semitones modulo 12
PARALLEL = 6.0  # nats at strength 1, as all below
STILL_STEPS, STILL = 10, 2.0  # sixteenths without any change, after which holding costs
DENSE, DENSITY_WINDOW = 6.0, 4.0  # for each multiple of the motif's density beyond ROOM, over so many seconds
ROOM = 1.2
WANTED, RAISED = 20.0, 1.0  # for each multiple of a density that was asked for; nats at most for strikes below it
KEYS, CROWDED = 7, 1.0  # sounding keys that are free, and the price of a note for each one more
MOST = 12.0  # nats
RECALL = 2.5  # for the note that goes on with three intervals of the motif; of fewer, so many thirds


def parallel_bias(before_bv: np.ndarray, now_bu: np.ndarray, first_pitch: int, vocabulary: int) -> np.ndarray:
    """(B, V) for the next voice: ids that move in parallel fifths or octaves with a voice above.

    before_bv: ids of the last step; now_bu: ids of the voices above in this one. Ids below `first_pitch` are silent.
    """
    voice = now_bu.shape[1]
    bias_bv = np.zeros((len(now_bu), vocabulary))
    ids = np.arange(vocabulary)
    mine_b = before_bv[:, voice]
    for upper in range(voice):
        then_b, now_b = before_bv[:, upper], now_bu[:, upper]
        sounding_b = (np.minimum(np.minimum(then_b, now_b), mine_b) >= first_pitch) & (then_b != now_b)
        interval_b = (then_b - mine_b) % 12
        moves_b = sounding_b & np.isin(interval_b, PERFECT)
        same_bv = (now_b[:, None] - ids) % 12 == interval_b[:, None]
        bias_bv[moves_b[:, None] & same_bv & (ids != mine_b[:, None]) & (ids >= first_pitch)] = -PARALLEL
    return bias_bv


def striking_bias(density_b: np.ndarray, sounding_b: np.ndarray, *, wanted: bool = False) -> np.ndarray:
    """(B,) for striking a note at all. density_b: notes a second over the motif's, or over those that are `wanted`, of
    which fewer are too few; sounding_b: keys that sound.
    """
    dense_b = np.maximum(WANTED * (density_b - 1), -RAISED) if wanted else DENSE * np.maximum(0, density_b - ROOM)
    bias_b = -dense_b - CROWDED * np.maximum(0, sounding_b - KEYS)
    return np.asarray(np.maximum(bias_b, -MOST))
