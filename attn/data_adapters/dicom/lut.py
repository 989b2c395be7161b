"""From stored values to what a display shows: PS3.3 C.11.1 (modality), C.11.2 (VOI), C.7.6.3.1.2 (polarity).

docs/chest.md writes the rule out with numbers. All functions map arrays of values, so that one table over every stored
value does a whole picture.
"""

import math
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Values: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"  # of any shape
SHOWN_WORDS = frozenset((
    "abdomen", "algo", "angio", "ap", "auto", "automatic", "bone", "bones", "brain", "bright", "center", "chest",
    "contrast", "custom", "dark", "default", "display", "edge", "enhanced", "exact", "film", "first", "fixed",
    "frontal", "full", "gamma", "hard", "harder", "heart", "high", "inverse", "inverted", "lat", "lateral", "linear",
    "low", "lower", "lung", "lungs", "lut", "max", "mean", "mediastinal", "mediastinum", "medium", "min", "narrow",
    "neck", "normal", "original", "pa", "pelvis", "preset", "range", "rib", "ribs", "second", "sharp", "sigmoid",
    "skull", "smooth", "soft", "softer", "spine", "standard", "third", "thorax", "tissue", "upper", "user", "vessel",
    "vessels", "voi", "wide", "width", "window", "windows", "wl", "ww",
))  # fmt: skip
_WORD = re.compile(r"[^\W\d_]+|\d+")


def shown(name: str) -> str:
    """The name of a display with a blank before it; "" when it has a word that is neither in SHOWN_WORDS nor of one
    or two digits: it is free text, in which a patient may stand."""
    words = _WORD.findall(name.casefold())
    known = all(word in SHOWN_WORDS or (word.isdecimal() and len(word) <= 2) for word in words)
    return f" {name}" if words and known else ""


@dataclass(frozen=True)
class Rescale:
    """Modality value = slope x stored value + intercept."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, values: Values) -> Values:
        """Modality values."""
        return values * self.slope + self.intercept

    def __str__(self) -> str:
        return f"rescale slope {self.slope:g}, intercept {self.intercept:g}"


@dataclass(frozen=True)
class Table:
    """A lookup table: the entry for values from `first` on; values outside get the first or the last entry."""

    first: int
    entries: Any  # (N,) integers
    bits: int
    name: str = ""

    def __call__(self, values: Values) -> Values:
        """The entries of values; fractions of values are cut off."""
        index = np.clip(np.floor(values) - self.first, 0, len(self.entries) - 1).astype(np.intp)
        return np.asarray(self.entries[index], np.float64)

    def display(self, values: Values) -> Values:
        """The entries over their nominal range, 0 to 2^bits - 1, as 0 to 1."""
        return np.asarray(np.clip(self(values) / (2**self.bits - 1), 0, 1))

    def __str__(self) -> str:
        return f"table{shown(self.name)} of {len(self.entries):,} entries of {self.bits} bits from {self.first}"


@dataclass(frozen=True)
class Window:
    """A VOI window: LINEAR (C.11.2.1.2.1), LINEAR_EXACT (C.11.2.1.3.2) or SIGMOID (C.11.2.1.3.1)."""

    center: float
    width: float
    function: str = "LINEAR"
    name: str = ""

    def display(self, values: Values) -> Values:
        """0 to 1 over the window."""
        center, width = self.center, self.width
        if self.function == "SIGMOID":
            return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
        if self.function == "LINEAR":
            center, width = center - 0.5, width - 1
        if width == 0:
            return np.asarray(values > center, np.float64)
        return np.clip((values - center) / width + 0.5, 0, 1)

    def __str__(self) -> str:
        return f"{self.function} window{shown(self.name)}, center {self.center:g}, width {self.width:g}"


@dataclass(frozen=True)
class Span:
    """What a picture without a VOI is shown by: its lowest and highest values, but for half a percent at each end."""

    low: float
    high: float

    def display(self, values: Values) -> Values:
        """0 to 1 over the span; a span of one value is black."""
        if self.high <= self.low:
            return np.zeros(np.shape(values))
        return np.clip((values - self.low) / (self.high - self.low), 0, 1)

    def __str__(self) -> str:
        return f"0.5 to 99.5 percentile, {self.low:g} to {self.high:g}"


Voi = Table | Window | Span


def span_of_counts(values: Values, counts: Any, quantiles: tuple[float, float] = (0.005, 0.995)) -> Span:
    """The span of a picture that has each of `values` so many times; quantiles between two values are interpolated."""
    order = np.argsort(values, kind="stable")
    values, total = values[order], np.cumsum(counts[order])
    if not len(total) or total[-1] == 0:
        return Span(0.0, 0.0)

    def at(quantile: float) -> float:
        place = quantile * (total[-1] - 1)
        low, high = (values[np.searchsorted(total, k, side="right")] for k in (math.floor(place), math.ceil(place)))
        return float(low + (high - low) * (place - math.floor(place)))

    found = Span(at(quantiles[0]), at(quantiles[1]))
    if found.high > found.low:
        return found
    return found if quantiles == (0.0, 1.0) else span_of_counts(values, np.diff(total, prepend=0), (0.0, 1.0))
