"""Pictures of a labelled set as vectors, without those that the model has seen: what it is measured and calibrated on.

What a model has seen is known by the pixels of its pictures, and by the names of its individuals: another picture of an
individual that it was trained on is not held out.

Shapes: N pictures, C channels.
"""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from attn.apps.reid.nearest import unit
from attn.apps.reid.predict import ReIDPredictor
from attn.core.errors import InputError
from attn.core.models.record import ModelRecord
from attn.core.models.used import answer_unseen, array_hash, in_words, name_hash, start_unknown, texts, uses_of
from attn.data_adapters.images.identities import LabelledIndividuals

BATCH = 32
PARTS = ("train", "validation", "calibration", "start")
NAMED = {
    "train": "of individuals that the model was trained on",
    "validation": "of individuals that chose its best epoch",
    "calibration": "of individuals that it was calibrated on",
    "start": "of individuals that the model it began from has seen",
}
UNUSABLE = "has no usable embedding: the model gives zero or no number for it"


@dataclass(frozen=True)
class Unseen:
    """individuals: the pictures, in the order of their ids. vectors: (N, C) of length 1. hashes: of their pixels.

    failed: the reason for each id that cannot be used. measured_on: a sentence part that says which pictures these are.
    """

    individuals: LabelledIndividuals
    vectors: Float[np.ndarray, "N C"]
    hashes: list[str]
    failed: dict[str, str]
    measured_on: str

    def conflicts(self) -> list[list[str]]:
        """Ids of pictures with the same pixels and different individuals, both known: errors of the labels."""
        first: dict[str, int] = {}
        found = []
        for row, (hash, name) in enumerate(zip(self.hashes, self.individuals.identities, strict=True)):
            if not name:
                continue
            other = first.setdefault(hash, row)
            if self.individuals.identities[other] != name:
                found.append([self.individuals.ids[other], self.individuals.ids[row]])
        return found


def unseen(
    predictor: ReIDPredictor,
    source: LabelledIndividuals,
    *,
    parts: Collection[str] = PARTS,
    advance: Callable[[], None] = lambda: None,
) -> Unseen:
    """The pictures of `source` that the model has not used for any of `parts`, keys of NAMED, with their vectors.

    The order of the rows of `source` changes nothing. Raises InputError when no picture is left.
    """
    record, total = predictor.record, len(source)
    source = source.take(sorted(range(total), key=lambda row: (source.ids[row], source.identities[row])))
    part_of = {hash: part for part in parts for hash in _names(record, part)}
    named = {row: part_of[hash] for row, hash in enumerate(map(name_hash, source.identities)) if hash in part_of}
    uses = {hash: part for hash, part in uses_of(record).items() if part in parts}
    found = answer_unseen(
        [row for row in range(total) if row not in named],
        lambda row: _with_hash(source.read(row)),
        lambda pictures: torch.from_numpy(predictor.embed(pictures)),
        uses,
        batch_size=BATCH,
        advance=advance,
    )
    failed = {source.ids[row]: reason for row, reason in found.failed.items()}
    also = {source.identities[row] for row in found.used} - {""}
    rows = [row for row in sorted(found.logits) if source.identities[row] not in also]
    usable = np.empty(0, bool)
    if rows:
        vectors, usable = unit(torch.stack([found.logits[row] for row in rows]).numpy())
    failed |= {source.ids[row]: UNUSABLE for row, good in zip(rows, usable, strict=True) if not good}
    by_name = Counter(named.values())
    left_out = [
        *(f"{by_name[part]} {words}" for part, words in NAMED.items() if by_name[part]),
        in_words(found.used.values()),
        _counted(len(found.logits) - len(rows), "other pictures of these individuals"),
        _counted(len(failed), "that cannot be used"),
    ]
    said = ", ".join(filter(None, left_out))
    if not usable.any():
        hint = next(iter(failed.values()), "give pictures of individuals that the model has not seen")
        raise InputError(
            f"none of {total} pictures is left: {said or 'there are none'}", where=source.source, hint=hint
        )
    kept = [row for row, good in zip(rows, usable, strict=True) if good]
    known = bool(uses_of(record, calibration=False))
    which = "which the model has not seen" if known else "and the model's record does not say what it was trained on"
    if known and tuple(parts) != PARTS:
        which = "which the model was not trained on" if parts else "whether the model has seen them or not"
    return Unseen(
        source.take(kept),
        vectors[usable],
        [found.hashes[row] for row in kept],
        failed,
        f"{len(kept)} of {total} pictures, {which}"
        + (f"; left out: {said}" if said else "")
        + start_unknown(record.data),
    )


def rows_of(record: ModelRecord, source: LabelledIndividuals, part: str) -> list[int]:
    """The rows of the individuals that the model used for `part`, by name."""
    names = _names(record, part)
    return [row for row, name in enumerate(source.identities) if name and name_hash(name) in names]


def _names(record: ModelRecord, part: str) -> set[str]:
    if part == "calibration":
        return {*texts(record.calibration, "used_individuals")}
    return {*texts(record.data.get("used_individuals"), part)}


def _with_hash(pixels: np.ndarray) -> tuple[np.ndarray, str]:
    return pixels, array_hash(pixels)


def _counted(number: int, words: str) -> str:
    return f"{number} {words}" if number else ""
