"""What a model has used images for, so that none of them is called held out: hashes of images in the model's record.

`data["used"]` has the hashes by part of the training (`train`, `validation`), and those that the model had seen from
which the training began (`start`); `calibration["used"]` those of the images that its probabilities were fitted to.

Shapes: N rows, B batch, K classes.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attn.core.errors import AttnError
from attn.core.models.record import ModelRecord
from attn.core.models.stream import answer_stream

USES = {
    "train": "that the model was trained on",
    "validation": "that chose its best epoch",
    "calibration": "that it was calibrated on",
    "start": "that the model it began from has seen",
}

X = TypeVar("X")


def array_hash(pixels: np.ndarray) -> str:
    """64 bits in hexadecimal that say which image it is, wherever its file lies and whatever it is called."""
    pixels = np.ascontiguousarray(pixels)
    return hashlib.sha256(f"{pixels.dtype}{pixels.shape}".encode() + pixels.tobytes()).hexdigest()[:16]


def name_hash(name: str) -> str:
    """64 bits in hexadecimal for the name of an individual: who was learned from, without saying who."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def uses_of(record: ModelRecord, *, training: bool = True, calibration: bool = True) -> dict[str, str]:
    """A key of USES by hash. `training`: include the images of the training; `calibration`: those it was fitted to.

    Images that the start of the training had seen are always included.
    """
    used = record.data.get("used")
    parts = ("start", "validation", "train") if training else ("start",)
    uses = {hash: part for part in parts for hash in texts(used, part)}
    return uses | dict.fromkeys(texts(record.calibration, "used") if calibration else [], "calibration")


def used_by(start: ModelRecord | None, **parts: Sequence[str]) -> dict[str, Any]:
    """What the `data` of a record says about a training: `used`, the hashes by part, and the model that it began from.

    Where that model's record says what it has seen, those hashes are a part too.
    """
    if start is None:
        return {"used": parts}
    known = isinstance(start.data.get("used"), dict) and not start_unknown(start.data)
    return {"start": start.name, "used": parts | ({"start": [*uses_of(start)]} if known else {})}


def start_unknown(data: Mapping[str, Any]) -> str:
    """A clause for `measured_on` where the training began from a model of which nobody knows what it has seen."""
    start, used = data.get("start"), data.get("used")
    if not isinstance(start, str) or (isinstance(used, dict) and "start" in used):
        return ""
    return f"; the training began from {start[:80]}, and what that model has seen is not known"


def in_words(parts: Iterable[str]) -> str:
    """How many rows were used for what, as in "28 that the model was trained on, 8 that it was calibrated on"."""
    counts = Counter(parts)
    return ", ".join(f"{counts[part]} {words}" for part, words in USES.items() if counts[part])


def texts(values: Any, name: str) -> list[str]:
    """A list of texts in a record, which anybody may have written; empty in a record that lacks it."""
    found = values.get(name) if isinstance(values, dict) else None
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []


@dataclass
class Answers:
    """What a model answered to the rows that it has not seen.

    `logits` (K,) and `hashes` by row number; `failed` has the reason of each row that cannot be read, `used` the part
    (a key of USES) of each that the model has seen.
    """

    logits: dict[int, Float[Tensor, " K"]] = field(default_factory=dict)
    hashes: dict[int, str] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    used: dict[int, str] = field(default_factory=dict)


def answer_unseen(
    rows: Sequence[int],
    read: Callable[[int], tuple[X, str]],
    answer: Callable[[list[X]], Float[Tensor, "B K"]],
    uses: Mapping[str, str],
    *,
    batch_size: int,
    advance: Callable[[], None] = lambda: None,
) -> Answers:
    """Run a model over `rows`, calling `advance` once a row; it is not asked about images whose hash is in `uses`.

    `read` gives an image and its hash, or raises an AttnError.
    """

    def answers(images: list[tuple[X, str]]) -> Iterator[tuple[str, Tensor | None]]:
        new = [image for image, hash in images if hash not in uses]
        logits_bk = iter(answer(new).cpu() if new else torch.zeros(0))
        for _, hash in images:
            yield hash, None if hash in uses else next(logits_bk)

    found = Answers()
    for row, answered in answer_stream(rows, read, answers, batch_size=batch_size):
        advance()
        if isinstance(answered, AttnError):
            found.failed[row] = str(answered)
            continue
        hash, logits_k = answered
        if logits_k is None:
            found.used[row] = uses[hash]
        else:
            found.hashes[row], found.logits[row] = hash, logits_k
    return found
