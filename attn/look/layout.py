"""Where the tokens of a site lie, and how far apart: rings of patches, notes and bars, pairs of fields.

A distance is a small whole number with a name, so that attention by distance is a sum for each number.

Shapes: N tokens, D distances.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True, eq=False)
class Scale:
    """One way to say how far apart two tokens are.

    number_nn: of query (row) and key (column), the number of their distance; -1 where they have none. labels: the
    distances (D), the nearest first. near: distances below this one are near.
    """

    name: str
    labels: tuple[str, ...]
    number_nn: Int[np.ndarray, "N N"]
    near: int = 2


@dataclass(frozen=True, eq=False)
class Layout:
    """The tokens of a site: what each is called, and the scales on which they have distances, the most usual first.

    grid: lines and columns, where the last tokens are the places of a map in raster order.
    """

    tokens: tuple[str, ...]
    scales: tuple[Scale, ...]
    grid: tuple[int, int] | None = None

    @property
    def before(self) -> int:
        """Tokens that lie nowhere on the grid, such as the class token before it."""
        return 0 if self.grid is None else len(self.tokens) - self.grid[0] * self.grid[1]


def on_grid(lines: int, columns: int, *, class_token: bool = False) -> Layout:
    """Patches of an image, by rings: the Chebyshev distance of their places. A class token has no distance."""
    line_n, column_n = (each.reshape(-1) for each in np.indices((lines, columns)))
    ring_nn = np.maximum(abs(line_n[:, None] - line_n), abs(column_n[:, None] - column_n))
    names = [f"line {line}, column {column}" for line, column in zip(line_n, column_n, strict=True)]
    if class_token:
        ring_nn, names = np.pad(ring_nn, ((1, 0), (1, 0)), constant_values=-1), ["class token", *names]
    labels = tuple(str(ring) for ring in range(max(lines, columns)))
    return Layout(tuple(names), (Scale("rings", labels, ring_nn),), (lines, columns))


def in_time(names: Sequence[str], *, causal: bool = True, **index_n: Int[np.ndarray, " N"]) -> Layout:
    """A sequence, whose tokens have an index on each of several scales, such as their note and their bar.

    Distances are 0, 1, 2, then ranges that double: 3-4, 5-8. What lies ahead has no distance, or if not `causal`
    the distance of what lies as far back.
    """
    scales = []
    for name, of_n in index_n.items():
        back_nn = of_n[:, None] - of_n if causal else abs(of_n[:, None] - of_n)
        number_nn = np.ceil(np.log2(np.maximum(back_nn, 1))).astype(int) + 1
        number_nn = np.where(back_nn > 0, number_nn, 0)
        if causal:
            number_nn = np.where(np.tri(len(of_n), dtype=bool), number_nn, -1)
        scales.append(Scale(name, tuple(map(_doubling, range(max(2, int(number_nn.max()) + 1)))), number_nn))
    return Layout(tuple(names), tuple(scales))


def of_fields(names: Sequence[str]) -> Layout:
    """Fields of a row, which have no distance: each ordered pair is one of its own, and near is a field itself."""
    n = len(names)
    itself_nn = 1 - np.eye(n, dtype=int)
    pairs = tuple(f"{query} → {key}" for query in names for key in names)
    own = Scale("field", ("itself", "another"), itself_nn, near=1)
    return Layout(tuple(names), (own, Scale("pairs", pairs, np.arange(n * n).reshape(n, n))))


def _doubling(number: int) -> str:
    if number < 3:
        return str(number)
    return f"{2 ** (number - 2) + 1}-{2 ** (number - 1)}"
