"""Says before a training which classes have too few examples: four stray labels are a class of their own otherwise."""

import logging
from collections.abc import Iterable

LEAST_TRAIN, LEAST_VALIDATION = 10, 3
NAMED = 5  # classes in the sentence
LOG = logging.getLogger("attn")


def warn_of_few(parts: Iterable[Iterable[tuple[str, int]]], things: str) -> None:
    """Log one sentence that names the classes with fewer than LEAST_TRAIN or LEAST_VALIDATION examples, rarest first.

    The two parts, to train and to validate on, have pairs of a class and the number of an example, which counts once.
    `things` is what an example is, as in "patients".
    """
    train_pairs, validation_pairs = map(set, parts)
    few = []
    for name in sorted({name for name, _ in train_pairs | validation_pairs}):
        learned, judged = (sum(name == other for other, _ in pairs) for pairs in (train_pairs, validation_pairs))
        if learned < LEAST_TRAIN or judged < LEAST_VALIDATION:
            few.append((learned + judged, f"{name[:60]!r} ({learned} to train on, {judged} to validate on)"))
    if few:
        named = [text for _, text in sorted(few)]
        more = [f"{len(named) - NAMED} more"] if len(named) > NAMED else []
        LOG.warning(
            "too few %s to learn or to judge the class %s: add %s, or correct or remove these labels",
            *(things, ", ".join([*named[:NAMED], *more]), things),
        )
