"""What a galaxy network learns from a labelled row: the class, and whatever else is known of the galaxy.

Finer labels of the same rows (a Hubble T type, visual attributes) teach the network more per image than the class
alone. They are learned beside it as numbers in 0..1 and play no part in prediction.

Shapes: N rows, K classes, A further targets.
"""

import re

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attn.core.errors import InputError

Column = list[str | None]

EITHER = "|"  # "elliptical|lenticular" is a label that says one of the two
LEVELS = 40  # distinct values up to which a column is taken as steps or categories
_PAIR = re.compile(r"\s*([^=;]+)=\s*([-+.\deE]+)\s*")
_NUMBER = re.compile(r"^[A-Za-z]{0,2}\s*([-+]?\d+(?:\.\d+)?)$")  # 3, -2.5, T+3


def class_targets(labels: list[str], classes: list[str]) -> Float[Tensor, "N K"]:
    """One-hot rows; `a|b` is shared evenly. Raises InputError for a class that is not among `classes`."""
    target_nk = torch.zeros(len(labels), len(classes))
    for row, label in enumerate(labels):
        names = label.split(EITHER)
        for name in names:
            if name not in classes:
                raise InputError(f"unknown class {name!r}", where=f"row {row + 1}", hint=f"known: {', '.join(classes)}")
            target_nk[row, classes.index(name)] = 1 / len(names)
    return target_nk


def further_targets(columns: dict[str, Column], rows: int) -> Float[Tensor, "N A"]:
    """Targets in 0..1 from further columns, NaN where a cell says nothing.

    A cell list `name=value;...` gives each name's value divided by its largest, a negative one meaning unknown; numbers
    (also as `T+3`) of few distinct values give "more than this" for each but the largest; other text gives one target
    per distinct value. Raises InputError for a column that is none of these.
    """
    parts = [_encode(name, cells) for name, cells in columns.items()]
    return torch.from_numpy(np.concatenate([np.zeros((rows, 0), np.float32), *parts], axis=1))


def _encode(name: str, cells: Column) -> Float[np.ndarray, "N A"]:
    known = [cell for cell in cells if cell]
    if known and all(_PAIR.match(cell) for cell in known):
        return _pairs(cells)
    values = sorted(set(known))
    if not 1 < len(values) <= LEVELS:
        raise InputError(
            f"the column {name!r} has {len(values)} distinct values; it can teach nothing beside the class",
            hint=f"further columns have 2 to {LEVELS} distinct values, or cells of the form name=value;...",
        )
    numbers = [_NUMBER.match(value) for value in values]
    if all(numbers):
        steps = sorted({float(number[1]) for number in numbers if number})[:-1]
        return np.array(
            [[np.nan if not cell else float(_number(cell) > step) for step in steps] for cell in cells],
            np.float32,
        )
    return np.array([[np.nan if not cell else float(cell == value) for value in values] for cell in cells], np.float32)


def _pairs(cells: Column) -> Float[np.ndarray, "N A"]:
    rows = [{m[1].strip(): float(m[2]) for m in _PAIR.finditer(cell or "")} for cell in cells]
    names = sorted({name for row in rows for name in row})
    value_na = np.array([[row.get(name, np.nan) for name in names] for row in rows], np.float32)
    value_na[value_na < 0] = np.nan
    largest_a = np.maximum(np.nanmax(value_na, axis=0, initial=0), 1e-6)
    return np.asarray(value_na / largest_a, np.float32)


def _number(cell: str) -> float:
    found = _NUMBER.match(cell)
    assert found is not None
    return float(found[1])
