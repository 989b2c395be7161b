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
_NUMBER = re.compile(r"([A-Za-z]{0,2})\s*([-+]?\d+(?:\.\d+)?)")  # 3, -2.5, T+3


def class_targets(labels: list[str], classes: list[str]) -> Float[Tensor, "N K"]:
    """One-hot rows; `a|b` is shared evenly, unless a class is called just that.

    Raises InputError for a class that is not among `classes`.
    """
    target_nk = torch.zeros(len(labels), len(classes))
    for row, label in enumerate(labels):
        names = [label] if label in classes else sorted(set(label.split(EITHER)))
        for name in names:
            if name not in classes:
                raise InputError(f"unknown class {name!r}", where=f"row {row + 1}", hint=f"known: {', '.join(classes)}")
            target_nk[row, classes.index(name)] = 1 / len(names)
    return target_nk


def further_targets(columns: dict[str, Column], rows: int) -> Float[Tensor, "N A"]:
    """Targets in 0..1 from further columns, NaN where a cell says nothing.

    A cell list `name=value;...` gives each name's value divided by its largest, a negative one meaning unknown; numbers
    (also as `T+3`, all with the same letters) of few distinct values give "more than this" for each but the largest;
    other text gives one target per distinct value. Empty cells and `nan` say nothing. Raises InputError for a column
    of another form; the error names the row of a list that cannot be read.
    """
    parts = [_encode(name, cells) for name, cells in columns.items()]
    return torch.from_numpy(np.concatenate([np.zeros((rows, 0), np.float32), *parts], axis=1))


def _encode(name: str, cells: Column) -> Float[np.ndarray, "N A"]:
    texts = ["" if cell is None or cell.strip().lower() == "nan" else cell.strip() for cell in cells]
    values = sorted({text for text in texts if text})
    if values and all("=" in value for value in values):
        return _pairs(name, texts)
    if not 1 < len(values) <= LEVELS:
        raise InputError(
            f"the column {name!r} has {len(values)} distinct values; it can teach nothing beside the class",
            hint=f"further columns have 2 to {LEVELS} distinct values, or cells of the form name=value;...",
        )
    found = {value: match for value in values if (match := _NUMBER.fullmatch(value))}
    number_of = {value: float(match[2]) for value, match in found.items()}
    if len(set(number_of.values())) == len(values) and len({match[1] for match in found.values()}) == 1:
        steps = sorted(number_of.values())[:-1]
        rows = [[float(number_of[text] > step) if text else np.nan for step in steps] for text in texts]
    else:
        rows = [[float(text == value) if text else np.nan for value in values] for text in texts]
    return np.array(rows, np.float32)


def _pairs(name: str, texts: list[str]) -> Float[np.ndarray, "N A"]:
    rows: list[dict[str, float]] = []
    for number, text in enumerate(texts, 1):
        items = [item.partition("=") for item in text.split(";") if item.strip()]
        try:
            rows.append({key.strip(): float(value) for key, _, value in items})
        except ValueError as error:
            raise InputError(
                f"{text[:80]!r} in the column {name!r} is not of the form name=value;...", where=f"row {number}"
            ) from error
    names = sorted({key for row in rows for key in row})
    value_na = np.array([[row.get(key, np.nan) for key in names] for row in rows], np.float32)
    value_na[(value_na < 0) | np.isinf(value_na)] = np.nan
    largest_a = np.maximum(np.nanmax(value_na, axis=0, initial=0), 1e-6)
    return np.asarray(value_na / largest_a, np.float32)
