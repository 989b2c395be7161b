"""Why two photographs are alike for a model: the pairs of patches whose products add up to their cosine.

With features that are a mean over patches, cos(a, b) = Σ_nm <share_n(a), share_m(b)>, exactly. The rollout beside it
says how much of each patch reaches the answer.

Shapes: N patches of the first picture, M of the second, P pairs of patches, H height, W width, F embedding width.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from attn.apps.reid.explain_picture import draw
from attn.apps.reid.predict import ReIDPredictor, Source, read_source, source_id
from attn.core.errors import InputError, UsageError
from attn.core.files import MADE_BY, replacing
from attn.data_adapters.images.cutout import Display

STRONGEST = 10


@dataclass(frozen=True)
class Explanation:
    """pairs: what each pair of patches adds to the cosine. rollouts: how much of each patch reaches the answer.

    ids, pictures and rollouts are of the first picture and of the second; patches are numbered line by line of `grid`.
    probability: that both show one individual, with a prior of one half; None where the model is not calibrated.
    """

    ids: tuple[str, str]
    pictures: tuple[Display, Display]
    pairs: Float[np.ndarray, "N M"]
    rollouts: tuple[Float[np.ndarray, " N"], Float[np.ndarray, " M"]]
    grid: tuple[int, int]
    probability: float | None
    model: str

    @property
    def similarity(self) -> float:
        """The cosine, which is the sum over all pairs of patches."""
        return float(self.pairs.sum())

    @cached_property
    def strongest(self) -> list[tuple[int, int]]:
        """The STRONGEST pairs of patches that add most, the first the best; of each patch its best pair alone.

        A patch that adds much adds it in many pairs: without that rule ten lines would join some six places.
        """
        found: list[tuple[int, int]] = []
        left_nm = self.pairs.copy()
        for _ in range(min(STRONGEST, *left_nm.shape)):
            n, m = np.unravel_index(left_nm.argmax(), left_nm.shape)
            found.append((int(n), int(m)))
            left_nm[n], left_nm[:, m] = -np.inf, -np.inf
        return found

    def numbers(self) -> dict[str, Any]:
        """`similarity`, `probability`, and of each of the strongest pairs the places of its patches and what it adds.

        A place is a line and a column of the grid, from 0. together: what the strongest pairs add to the cosine.
        """
        columns = self.grid[1]
        pairs: list[dict[str, Any]] = [
            {"first": [*divmod(n, columns)], "second": [*divmod(m, columns)], "adds": float(self.pairs[n, m])}
            for n, m in self.strongest
        ]
        return {
            "first": self.ids[0],
            "second": self.ids[1],
            "similarity": self.similarity,
            "probability": self.probability,
            "grid": [*self.grid],
            "pairs": pairs,
            "together": sum(pair["adds"] for pair in pairs),
            "model": self.model,
        }

    def save(self, path: Path) -> tuple[Path, Path]:
        """Write the picture `path` (.png), and the numbers beside it (.json); both paths."""
        draw(self, path)
        numbers = path.with_suffix(".json")
        with replacing(numbers) as part:
            part.write_text(json.dumps({"software": MADE_BY} | self.numbers(), indent=2) + "\n", encoding="utf-8")
        return path, numbers


def explain(predictor: ReIDPredictor, first: Source, second: Source) -> Explanation:
    """Compare two photographs, patch by patch.

    Raises UsageError for a model whose embedding is no mean of patches, InputError for a picture that cannot be used.
    """
    config = predictor.model.config
    if config.task != "identify" or config.pool != "mean":
        raise UsageError(
            "this model's embedding is no mean over patches, so its cosine is no sum over them",
            where=predictor.record.name,
            hint="train one with --pool mean, and without --task classify",
        )
    pictures = read_source(first), read_source(second)
    with torch.inference_mode():
        x_b3st = predictor.tensor(pictures)
        shares_bnf = predictor.model.shares(x_b3st).double()
        rollouts_bn = predictor.model.rollout(x_b3st).cpu().numpy()
        pairs_nm = (shares_bnf[0] @ shares_bnf[1].T).cpu().numpy()
    ids = source_id(first), source_id(second)
    for id, vector_f in zip(ids, shares_bnf.sum(1), strict=True):
        if not vector_f.isfinite().all() or not vector_f.any():
            raise InputError("has no usable embedding", where=id)
    calibration = predictor.calibration
    probability = None if calibration is None else float(calibration.pair(pairs_nm.sum()))
    rollouts = (rollouts_bn[0], rollouts_bn[1])
    return Explanation(ids, pictures, pairs_nm, rollouts, config.grid, probability, predictor.record.name)
