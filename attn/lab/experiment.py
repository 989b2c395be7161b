"""What an experiment is: predictions made before it, a run that measures the same quantities, a figure.

One file in this folder is one experiment. It has the paper's equations at the top and an `EXPERIMENT`; EXPERIMENTS
names it, so that the commands can list it without an import of it.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What each one shows.
EXPERIMENTS = {
    "scan-and-snap": "How attention learns: it scans distinct tokens, then snaps; a faster decoder snaps earlier.",
    "in-context-regression": "What heads compute: two of opposite sign are a step of debiased gradient descent.",
    "random-features": "What one layer can learn with frozen queries and keys, beside a network on all tokens at once.",
    "deconstruct": "What is left of a language model whose attention loses a principle, in all layers or some.",
    "locality": "How a network that begins as a convolution leaves locality, layer by layer: drawn galaxies.",
    "relative-memory": "What relative positions cost: the skewing of Music Transformer, beside a vector for each pair.",
}

REFERENCE = "reference run"  # the source of a number that was measured in the paper's setting before this was written

Advance = Callable[[], None]


@dataclass(frozen=True)
class Prediction:
    """What theory, or a measurement of its authors, says of a quantity before it is measured.

    value: what is expected, with a tolerance; without one it is a bound, which the measured value is above, or at most
    where it is `most`. source: the theorem, section or table that says so.
    """

    quantity: str
    value: float
    source: str
    tolerance: float | None = None
    most: bool = False

    @property
    def text(self) -> str:
        """The expected value, or the bound with its sign."""
        sign = "" if self.tolerance is not None else "at most " if self.most else "above "
        return f"{sign}{self.value:.4g}"

    def holds(self, measured: float) -> bool:
        """Whether the measurement is as predicted; one that is not finite never is."""
        if not math.isfinite(measured):
            return False
        if self.tolerance is not None:
            return abs(measured - self.value) <= self.tolerance
        return measured <= self.value if self.most else measured > self.value


@dataclass(frozen=True)
class Outcome:
    """What a run gave: a number for each predicted quantity, and whatever the figure shows."""

    measured: Mapping[str, float]
    shown: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """An experiment of a paper, small enough for two minutes on a CPU.

    paper: its source. setting: the sizes, and what differs from the paper. steps: how often a run calls `advance`.
    run: the same seed gives the same numbers. draw: the paper's figure, of the first seed's outcome.
    """

    paper: str
    setting: str
    predictions: Sequence[Prediction]
    steps: int
    run: Callable[[int, Advance], Outcome]
    draw: Callable[["Figure", Outcome], None]


def load(name: str) -> Experiment:
    """The experiment of a name in EXPERIMENTS."""
    found: Experiment = import_module(f"{__package__}.{name.replace('-', '_')}").EXPERIMENT
    return found


def table(predictions: Sequence[Prediction], outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """A row for each prediction: the mean over the outcomes, their standard deviation, and whether all hold.

    Raises KeyError where an outcome lacks a quantity that was predicted.
    """
    rows = []
    for each in predictions:
        values = [outcome.measured[each.quantity] for outcome in outcomes]
        rows.append(
            {
                "quantity": each.quantity,
                "predicted": each.text,
                "tolerance": each.tolerance,
                "measured": statistics.fmean(values),
                "spread": statistics.stdev(values) if len(values) > 1 else None,
                "holds": all(map(each.holds, values)),
                "source": each.source,
            }
        )
    return rows
