"""Labels of a table that are not those of the model: which of them mean the same.

Shapes: N rows, K classes of the model, C classes that are measured.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attn.core.errors import UsageError


@dataclass(frozen=True)
class LabelMap:
    """Classes to measure: `names` (C), the numbers of the model's classes in each, and the class of each table's label.

    Rows with a label of `left_out` are not measured.
    """

    names: list[str]
    members: list[list[int]]
    class_of: dict[str, int]
    left_out: frozenset[str] = frozenset()

    def joined(self, p_nk: Float[np.ndarray, "N K"]) -> Float[np.ndarray, "N C"]:
        """The probability of each measured class: the sum of those of its members."""
        return np.stack([p_nk[:, members].sum(1) for members in self.members], axis=1)


def same_labels(labels: Sequence[str]) -> LabelMap:
    """The table has the model's labels."""
    return LabelMap([*labels], [[k] for k in range(len(labels))], {label: k for k, label in enumerate(labels)})


def read_map(texts: Collection[str], labels: Sequence[str]) -> LabelMap:
    """What `texts` of the form `smooth=elliptical,lenticular` say, for a model of `labels`.

    One side names labels of the model, the other those of the table. `merger=` leaves rows out. Labels of the model
    that the table has as well mean what `texts` say of them, else themselves, or the class that they are part of.
    Raises UsageError for another form, and for classes that overlap.
    """
    meant: dict[str, frozenset[str]] = {}
    left_out: set[str] = set()
    for text in texts:
        name, equals, others = text.partition("=")
        name, listed = name.strip(), [other.strip() for other in others.split(",") if other.strip()]
        if not name or not equals:
            raise UsageError(f"--map {text!r} is not of the form name=label,label")
        if not listed:
            left_out.add(name)
        elif set(listed) <= set(labels):
            meant[name] = frozenset(listed)
        elif name in labels:
            meant |= dict.fromkeys(listed, frozenset([name]))
        else:
            raise UsageError(
                f"--map {text!r} names no label of the model on either side", hint=f"it knows {', '.join(labels)}"
            )
    named = frozenset[str]().union(*meant.values())
    meant |= {
        label: frozenset([label]) for label in labels if label not in named and label not in left_out | meant.keys()
    }
    return _classes(meant, labels, frozenset(left_out))


def _classes(meant: dict[str, frozenset[str]], labels: Sequence[str], left_out: frozenset[str]) -> LabelMap:
    """One class for each set of labels of the model, in the model's order, called as the table calls it."""
    sets = sorted(set(meant.values()), key=lambda each: min(map(labels.index, each)))
    for label in labels:
        if sum(label in each for each in sets) > 1:
            raise UsageError(f"--map gives the model's {label!r} two meanings that are not the same")
    members = [sorted(map(labels.index, each)) for each in sets]
    own = {label: k for k, each in enumerate(sets) for label in each - left_out - meant.keys()}
    class_of = {name: sets.index(each) for name, each in meant.items()} | own
    hidden = {label for each in sets if len(each) > 1 for label in each - meant.keys()}  # `smooth` says it shorter
    names = [
        "|".join(name for name, k in class_of.items() if k == each and name not in hidden) for each in range(len(sets))
    ]
    return LabelMap(names, members, class_of, left_out)
