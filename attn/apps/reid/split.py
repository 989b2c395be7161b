"""Which pictures train and which choose the best epoch, and what is told apart: never a picture of a test split.

For re-identification the two have no individual in common, because it is unknown individuals that are searched for.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attn.core.errors import TrainingError

SHARE = 0.15  # of the individuals, or of each class's pictures, for validation
VALIDATION = ("val", "valid", "validation")


@dataclass(frozen=True)
class Split:
    """Row numbers: trained on, and validated on."""

    train: list[int]
    validation: list[int]


def told_apart(identities: Sequence[str], within: Sequence[str] | None) -> list[tuple[str, str]]:
    """What a picture is of: the individual and, where pictures are compared within a flank, that flank of it."""
    return [*zip(identities, within or [""] * len(identities), strict=True)]


def split_individuals(identities: Sequence[str], within: Sequence[str] | None, splits: Sequence[str] | None) -> Split:
    """Labelled rows of the split "train" where there are splits, else all; a share of the individuals validates.

    Where there is a split for validation it is that. The choice is the same for every seed of the training. Raises
    TrainingError when no two pictures of validation show the same, or fewer than two individuals are left to train on.
    """
    rows, given = _usable(identities, splits)
    named = told_apart(identities, within)
    if not given:
        often = Counter(named[row] for row in rows)
        matched = {identities[row] for row in rows if often[named[row]] > 1}
        taken = _held_out(sorted(matched), sorted({identities[row] for row in rows} - matched))
        given = [row for row in rows if identities[row] in taken]
        rows = [row for row in rows if identities[row] not in taken]
    if max(Counter(named[row] for row in given).values(), default=0) < 2:
        raise TrainingError("no two pictures of the split for validation show the same individual")
    if len({identities[row] for row in rows}) < 2:
        raise TrainingError("training needs two individuals or more")
    return Split(rows, given)


def _held_out(matched: list[str], single: list[str]) -> set[str]:
    """Individuals for validation: of those with pictures that can be compared; where they are few, one of them, among
    some that have none."""
    generator = np.random.default_rng(0)
    count = max(2, round(SHARE * len(matched)))
    if len(matched) >= count + 2:
        return {matched[i] for i in generator.permutation(len(matched))[:count]}
    if len(matched) < 2 or len(single) < 2:
        raise TrainingError(
            f"only {len(matched)} individuals have two pictures that can be compared",
            hint="training needs four, or two beside others: some to learn from, some to choose the best epoch by",
        )
    others = generator.permutation(len(single))[: max(1, round(SHARE * len(single)))]
    return {matched[int(generator.integers(len(matched)))], *(single[i] for i in others)}


def split_classes(labels: Sequence[str], splits: Sequence[str] | None) -> Split:
    """As `split_individuals`, for classes: a share of the pictures of each class validates.

    Raises TrainingError when there is one class only, or one with a single picture.
    """
    rows, given = _usable(labels, splits)
    if not given:
        of: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            of[labels[row]].append(row)
        generator = np.random.default_rng(0)
        for label, mine in sorted(of.items()):
            if len(mine) < 2:
                raise TrainingError(f"the class {label!r:.60} has a single picture", hint="each class needs two")
            given += generator.permutation(mine)[: max(1, round(SHARE * len(mine)))].tolist()
        rows = sorted({*rows} - {*given})
    known = {labels[row] for row in rows}
    if len(known) < 2:
        raise TrainingError("all pictures have one label, so there is nothing to learn")
    return Split(rows, sorted(row for row in given if labels[row] in known))


def _usable(names: Sequence[str], splits: Sequence[str] | None) -> tuple[list[int], list[int]]:
    """Labelled rows to train on, and to validate on where a split is for that."""
    labelled = [row for row, name in enumerate(names) if name]
    if splits is None:
        return labelled, []
    train = [row for row in labelled if splits[row] == "train"]
    if not train:
        there = ", ".join(sorted({*splits} - {""})) or "none"
        raise TrainingError(f"no labelled picture is of the split 'train'; there are {there}")
    return train, [row for row in labelled if splits[row] in VALIDATION]
