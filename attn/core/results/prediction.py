"""What every predictor returns, and the table it is written to.

One input gives one `Prediction`, also when it failed: then `error` says why and nothing else is known. A
table has one row per input in input order, with the columns

    id  label  p_<class> ...  uncertainty  flags  error  model  <values> ...  e0 e1 ...

`flags` are joined by ";". What is missing is null (an empty cell in CSV); NaN and infinity are never written. In JSON
the embedding is one list, `embedding`, instead of the columns e0, e1, ...
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from attn.core.errors import UsageError

Cell = str | float | int | None
Value = Cell | np.generic  # catalogues bring numpy scalars

NOT_FINITE = "the model's output is not finite"


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one input.

    `uncertainty` is the entropy of the probabilities divided by log(classes): 0 certain, 1 no idea. `values`
    are extra columns (ra, dec, ...). `embedding` has shape (E,) and takes no part in comparisons, arrays
    having no single truth.
    """

    id: str
    label: str | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    uncertainty: float | None = None
    flags: tuple[str, ...] = ()
    error: str | None = None
    model: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)
    embedding: np.ndarray | None = field(default=None, compare=False, repr=False)

    @classmethod
    def from_probabilities(
        cls,
        id: str,
        labels: Sequence[str],
        p: Sequence[float] | np.ndarray,
        *,
        flags: tuple[str, ...] = (),
        model: str = "",
        values: Mapping[str, Value] | None = None,
        embedding: np.ndarray | None = None,
    ) -> "Prediction":
        """The likeliest of `labels` under `p` (K,), which sums to 1. A `p` not finite makes a failed row."""
        p_k = np.asarray(p, dtype=np.float64)
        if p_k.shape != (len(labels),):
            raise ValueError(f"{len(labels)} labels but probabilities of shape {p_k.shape}")
        if not np.isfinite(p_k).all():
            return cls.failed(id, NOT_FINITE, model, flags=flags, values=values)
        return cls(
            id=id,
            label=labels[int(p_k.argmax())],
            probabilities=dict(zip(labels, p_k.tolist(), strict=True)),
            uncertainty=float(normalised_entropy(p_k)),
            flags=flags,
            model=model,
            values=dict(values or {}),
            embedding=embedding,
        )

    @classmethod
    def failed(
        cls,
        id: str,
        error: str,
        model: str = "",
        *,
        flags: tuple[str, ...] = (),
        values: Mapping[str, Value] | None = None,
    ) -> "Prediction":
        """An input that gave no answer, and the sentence that says why."""
        return cls(id=id, error=error, model=model, flags=flags, values=dict(values or {}))

    def row(self, labels: Sequence[str]) -> dict[str, Cell]:
        """The table row, without the embedding: plain JSON values, None for what is missing."""
        cells: dict[str, Value] = {"id": self.id, "label": self.label}
        cells |= {f"p_{label}": self.probabilities.get(label) for label in labels}
        cells |= {"uncertainty": self.uncertainty, "flags": ";".join(self.flags)}
        cells |= {"error": self.error, "model": self.model}
        own = cells.keys() | ({"embedding"} if self.embedding is not None else set())
        if clash := own & self.values.keys():
            raise UsageError(
                f"the extra column {min(clash)!r} is one of the result's own",
                hint="rename it in the catalogue",
            )
        cells |= self.values
        return {name: clean(cell) for name, cell in cells.items()}


def normalised_entropy(p: Float[np.ndarray, "... K"]) -> Float[np.ndarray, "..."]:
    """-sum p log p / log K, with 0 log 0 = 0; 0 for a single class. NaN stays NaN."""
    classes = p.shape[-1]
    entropy = -(p * np.log(p, where=p > 0, out=np.zeros_like(p))).sum(-1)
    return np.asarray(np.clip(entropy / math.log(max(classes, 2)), 0.0, 1.0) + 0.0)  # + 0.0 makes 0.0 of -0.0


def clean(cell: Value) -> Cell:
    """What JSON can hold: no NaN, no infinity, and escapes for the bytes of a file name that is not UTF-8."""
    plain = cell.item() if isinstance(cell, np.generic) else cell
    if isinstance(plain, str):
        return plain.encode("utf-8", "backslashreplace").decode()
    if plain is None or not math.isfinite(plain):
        return None
    return plain
