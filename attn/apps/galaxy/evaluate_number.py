"""Measure a galaxy model that answers with a number, on images that it has not seen.

Shapes: N rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attn.apps.galaxy.evaluate import BATCH
from attn.apps.galaxy.number import numbers_of
from attn.apps.galaxy.predict import GalaxyPredictor
from attn.apps.galaxy.unseen import unseen_rows
from attn.core.errors import InputError
from attn.core.files import claim
from attn.core.measures.regression import regression_report, scatter_picture
from attn.core.models.used import answer_unseen, array_hash
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.images.labelled import LabelledImages

HEADLINES = ("r2", "mae", "rank_correlation")


@dataclass(frozen=True)
class NumberEvaluation:
    """Predicted and true numbers (N,) of the rows `rows` (N,); otherwise as `evaluate.Evaluation`."""

    name: str
    predicted: Float[np.ndarray, " N"]
    true: Float[np.ndarray, " N"]
    failed: dict[str, str]
    rows: list[int]
    used: dict[int, str]
    measured_on: str = ""
    by: str | None = None
    groups: Sequence[str | None] = ()

    def report(self) -> dict[str, Any]:
        """R2, mean absolute error and Spearman's rank correlation, with 95 % intervals; with `by`, of groups."""
        report = {"target": self.name, **regression_report(self.predicted, self.true), "failed": self.failed}
        if self.by is None:
            return report
        groups_n = np.array(["" if group is None else group for group in self.groups])
        groups = [
            {"group": str(group), **regression_report(self.predicted[groups_n == group], self.true[groups_n == group])}
            for group in np.unique(groups_n)
        ]
        return report | {"by": self.by, "groups": groups}

    def pictures(self, folder: Path) -> list[Path]:
        """Write scatter.png to `folder`."""
        claim(folder)
        scatter_picture(self.predicted, self.true, self.name, folder / "scatter.png")
        return [folder / "scatter.png"]


def evaluate_number(
    predictor: GalaxyPredictor,
    source: LabelledImages,
    *,
    by: str | None = None,
    tta: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> NumberEvaluation:
    """Measure on the rows of `source`, whose labels are the true numbers, that the model has not seen.

    Raises InputError as `evaluate` does, and for a label that is no number.
    """
    groups = None if by is None else source.column(by)
    unseen = unseen_rows(predictor.record, source, range(len(source.labels)))
    for _ in unseen.used:
        advance()
    found = evaluate_number_rows(predictor, source, unseen.rows, tta=tta, uses=unseen.uses, advance=advance)
    used, measured_on = unseen.used | found.used, unseen.measured_on(found.rows, found.used)
    of_rows = () if groups is None else [groups[row] for row in found.rows]
    return replace(found, used=used, measured_on=measured_on, by=by, groups=of_rows)


def evaluate_number_rows(
    predictor: GalaxyPredictor,
    source: LabelledImages,
    rows: Sequence[int],
    *,
    tta: bool = False,
    uses: Mapping[str, str] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> NumberEvaluation:
    """Run the model over `rows`, calling `advance` once a row; images whose hash is in `uses` are left out.

    Raises InputError when no row can be read, and for a label that is no number.
    """
    name = predictor.number.name if predictor.number is not None else ""
    true_n = numbers_of(source.labels, name)

    def read(row: int) -> tuple[Cutout, str]:
        cutout = source.read(row, predictor.preprocessing.stretch)
        return cutout, array_hash(cutout.pixels)

    def answer(cutouts: list[Cutout]) -> Tensor:
        return predictor.numbers(predictor.features(predictor.tensor(cutouts), tta=tta))[:, None]

    found = answer_unseen(rows, read, answer, uses or {}, batch_size=BATCH, advance=advance)
    failed = {source.ids[row]: reason for row, reason in found.failed.items()}
    if not found.logits and not found.used:
        raise InputError("none of the rows can be read", hint=next(iter(failed.values()), "the set is empty"))
    predicted = torch.cat([torch.zeros(0), *found.logits.values()])
    return NumberEvaluation(
        name=name,
        predicted=predicted.double().numpy(),
        true=true_n[[*found.logits]],
        failed=failed,
        rows=[*found.logits],
        used=found.used,
    )
