"""Intervals by resampling groups of rows that belong together, such as the images of one patient.

Rows of a group resemble each other: resampled one by one they would give intervals that are too narrow.

Shapes: N rows, G groups, R resamples. A weight says how often a row is drawn.
"""

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from attn.core.errors import InputError

RESAMPLES = 1000
BLOCK = 2**21  # weights in memory at once

Statistic = Callable[[Float[np.ndarray, "R N"]], dict[str, Float[np.ndarray, " R"]]]
"""Values by name, one for each row of weights; NaN where the drawn rows have no such value."""
Estimate = dict[str, float | None]
"""`value`, and `low` and `high` of its 95 % interval; None where there is none."""


def bootstrap(
    statistic: Statistic,
    groups_n: Sequence[int] | Int[np.ndarray, " N"],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    reflected: Collection[str] = (),
) -> dict[str, Estimate]:
    """Each value on all rows once, and its percentile interval over resamples that draw groups with replacement.

    Resamples in which a value is NaN do not count for it. Names in `reflected` get 2 x value - percentile, cut at 0,
    as their interval: the noise of resampling biases an error such as the ECE upward.

    Raises InputError when there are no rows.
    """
    if not len(groups_n):
        raise InputError("no labelled rows to measure on")
    values = {name: float(value[0]) for name, value in statistic(np.ones((1, len(groups_n)))).items()}
    blocks = [statistic(w_rn) for w_rn in resampled_weights(groups_n, resamples=resamples, seed=seed)]
    found: dict[str, Estimate] = {}
    for name, value in values.items():
        drawn_r = np.concatenate([block[name] for block in blocks])
        drawn_r = drawn_r[~np.isnan(drawn_r)]
        if np.isnan(value) or not len(drawn_r):
            found[name] = {"value": None if np.isnan(value) else value, "low": None, "high": None}
            continue
        low, high = np.percentile(drawn_r, (2.5, 97.5)).tolist()
        if name in reflected:
            low, high = max(0.0, 2 * value - high), max(0.0, 2 * value - low)
        found[name] = {"value": value, "low": low, "high": high}
    return found


def paired_bootstrap(
    first: Statistic,
    second: Statistic,
    groups_n: Sequence[int] | Int[np.ndarray, " N"],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """`second` minus `first`, two models on the same rows: every resample draws the same rows for both.

    What makes rows hard for both models cancels, so that the interval is narrower than that of two separate samples.
    """

    def difference(w_rn: Float[np.ndarray, "R N"]) -> dict[str, Float[np.ndarray, " R"]]:
        one, other = first(w_rn), second(w_rn)
        return {name: other[name] - one[name] for name in one}

    return bootstrap(difference, groups_n, resamples=resamples, seed=seed)


def resampled_weights(
    groups_n: Sequence[int] | Int[np.ndarray, " N"], *, resamples: int, seed: int
) -> Iterator[Float[np.ndarray, "R N"]]:
    """Blocks of weights (R, N), R in all blocks together `resamples`: each draws as many groups as there are."""
    _, group_n = np.unique(np.asarray(groups_n), return_inverse=True)
    count = int(group_n.max()) + 1
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK // len(group_n))
    for start in range(0, resamples, block):
        here = min(block, resamples - start)
        # A group of resample r is numbered from r * count, so that one count serves all resamples of the block.
        drawn = rng.integers(count, size=(here, count)) + np.arange(here)[:, None] * count
        times_rg = np.bincount(drawn.ravel(), minlength=here * count).reshape(here, count)
        yield times_rg[:, group_n].astype(np.float64)
