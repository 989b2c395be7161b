"""Which radiographs train, validate and measure: by group, so that no patient is on two sides.

Shapes: N rows, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from attn.core.errors import TrainingError

SMALLEST_CLASS = 3
HELD_OUT, VALIDATION = 1 / 5, 1 / 8  # of all, and of the rest: 70 / 10 / 20


@dataclass(frozen=True)
class Split:
    """Row numbers: trained on, validated on for early stopping and calibration, held out for the final numbers."""

    train: list[int]
    validation: list[int]
    held_out: list[int]


def grouped_split(labels: Sequence[str], groups: Sequence[int]) -> Split:
    """70/10/20 of the groups by class, with scikit-learn's `train_test_split` and seed 0.

    The split is the same for every seed of the training, so that seeds can be compared. Raises TrainingError when
    there is one class only, or one whose images belong to fewer than three groups.
    """
    names = sorted({*labels})
    if len(names) < 2:
        raise TrainingError("all rows have one label, so there is nothing to learn")
    for name in names:
        count = len({group for label, group in zip(labels, groups, strict=True) if label == name})
        if count < SMALLEST_CLASS:
            raise TrainingError(
                f"the class {name!r} has only {count} patients",
                hint=f"every class needs at least {SMALLEST_CLASS}: one each to train, validate and test on",
            )
    rows = np.arange(len(labels))
    rest, held_out = _part(rows, labels, groups, HELD_OUT)
    train, validation = _part(rest, labels, groups, VALIDATION)
    return Split(train.tolist(), validation.tolist(), held_out.tolist())


def _part(
    rows: np.ndarray, labels: Sequence[str], groups: Sequence[int], share: float
) -> tuple[np.ndarray, np.ndarray]:
    """The rows without and with a share of the groups; a group counts for its rarest label."""
    label_n, group_n = np.asarray(labels)[rows], np.asarray(groups)[rows]
    names, counts = np.unique(label_n, return_counts=True)
    order = np.argsort(np.argsort(counts))[np.searchsorted(names, label_n)]  # of each row, by how rare its label is
    by_rarity = np.lexsort((order, group_n))
    group_g, first_g = np.unique(group_n[by_rarity], return_index=True)
    label_g = label_n[by_rarity][first_g]
    # A very small set still gives every class a place in each part.
    share = max(share, len(names) / len(group_g))
    _, taken_g = train_test_split(group_g, test_size=share, random_state=0, stratify=label_g)
    taken_n = np.isin(group_n, taken_g)
    return rows[~taken_n], rows[taken_n]


def rarest_finding(targets_nk: Tensor, classes: Sequence[str]) -> list[str]:
    """What to stratify several findings an image by: of each row the finding that fewest rows have, or none."""
    there_nk = targets_nk.nan_to_num() > 0.5
    count_k = there_nk.sum(0)
    cost_nk = torch.where(there_nk, count_k, len(targets_nk) + 1)
    rarest_n = cost_nk.argmin(1).tolist()
    return [classes[k] if some else "" for k, some in zip(rarest_n, there_nk.any(1).tolist(), strict=True)]
