"""Measure a model on labelled radiographs that it has not seen, overall and by hospital, sex or view.

Research use, not a medical device.

Shapes: N rows, K classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attn.apps.chest.data import image_hash
from attn.apps.chest.predict import ChestPredictor
from attn.apps.chest.probabilities import HALF
from attn.core.errors import InputError, UsageError
from attn.core.files import claim
from attn.core.measures.calibration import reliability_picture
from attn.core.measures.classification import confusion_picture
from attn.core.measures.one_against_rest import one_against_rest
from attn.core.models.used import answer_unseen, in_words, start_unknown, uses_of
from attn.data_adapters.dicom.labelled import LabelledStudies
from attn.data_adapters.dicom.radiograph import Radiograph

BATCH = 64
SMALLEST_GROUP = 20  # rows; a smaller group says little, and may point at a person
SHOWN = ("auc", "accuracy", "balanced_accuracy", "ece", "brier")


@dataclass(frozen=True)
class Evaluation:
    """Logits, calibrated probabilities and targets (N, K) of the rows `rows` (N,) that were measured.

    targets: 1 there, 0 not, NaN unknown. `patients` (N,) are numbers that rows of a patient, and duplicates, share.
    `failed` has the reason for each image that cannot be read, by its name in messages. `by` has cells (N,) for each
    column to measure by.
    """

    logits: Float[np.ndarray, "N K"]
    probabilities: Float[np.ndarray, "N K"]
    targets: Float[np.ndarray, "N K"]
    labels: list[str]
    exclusive: bool
    patients: list[int]
    rows: list[int]
    hashes: list[str]
    failed: dict[str, str]
    measured_on: str
    thresholds: dict[str, float] = field(default_factory=dict)
    prevalence: float | None = None
    by: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """`one_against_rest` over all rows, and in `groups` over those of each value of each column in `by`.

        Groups of fewer than SMALLEST_GROUP rows have their size only. `n_LABEL` are the rows of a class.
        """
        report = self._measure(np.arange(len(self.rows)))
        report["patients"] = report.pop("groups")
        report |= {"failed": self.failed, "use": "research use, not a medical device"}
        if not self.by:
            return report
        heads = [name for name, value in report.items() if isinstance(value, dict) and "value" in value]
        groups = []
        for column, cells_n in self.by.items():
            for group in sorted({*cells_n}):
                chosen = np.flatnonzero(np.array(cells_n) == group)
                row: dict[str, Any] = {"by": column, "group": group, "n": len(chosen)}
                row |= dict.fromkeys([*(f"n_{k}" for k in self.labels), *heads, *(f"auc_{k}" for k in self.labels)])
                if len(chosen) >= SMALLEST_GROUP:
                    part = self._measure(chosen)
                    row |= {name: part[name] for name in heads}
                    for each in part["per_class"]:
                        row |= {f"n_{each['label']}": each["positive"], f"auc_{each['label']}": each["auc"]}
                groups.append(row)
        return report | {"by": [*self.by], "groups": groups}

    def pictures(self, folder: Path) -> list[Path]:
        """Write reliability.png, and for exclusive classes confusion.png, to `folder`."""
        claim(folder)
        paths = [folder / "reliability.png"]
        if self.exclusive:
            reliability_picture(self.probabilities, self.targets.argmax(1), paths[0])
            paths.append(folder / "confusion.png")
            confusion_picture(self._measure(np.arange(len(self.rows)), resamples=1), paths[1])
        else:  # every known answer, yes or no, with the probability that it was given
            known_nk = ~np.isnan(self.targets)
            yes = self.probabilities[known_nk]
            reliability_picture(np.stack([1 - yes, yes], axis=1), self.targets[known_nk].astype(np.int64), paths[0])
        return paths

    def _measure(self, chosen: np.ndarray, resamples: int = 1000) -> dict[str, Any]:
        return one_against_rest(
            self.probabilities[chosen],
            self.targets[chosen],
            self.labels,
            np.array(self.patients)[chosen],
            exclusive=self.exclusive,
            thresholds=[self.thresholds.get(label, HALF) for label in self.labels],
            prevalence=self.prevalence,
            resamples=resamples,
        )


def evaluate(
    predictor: ChestPredictor,
    source: LabelledStudies,
    *,
    by: Sequence[str] = (),
    prevalence: float | None = None,
    calibrated: bool = True,
    advance: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Measure on the rows of `source` that the model has not seen; `measured_on` says which rows those are.

    Images that the model was trained, validated or calibrated on are left out, known by their pixels, and so are the
    other images of their patients. `calibrated=False` keeps the images of the calibration. Rows without a label that
    the model knows are left out as well. `by` are columns of `source` to measure by; PPV and NPV are those at
    `prevalence`, or at the classes' shares in `source`.

    Raises InputError when no row is left and for a column that is not there, UsageError for one that names patients.
    """
    cells = {column: _cells(source, column) for column in by}
    patients, count = source.groups, len(source)
    targets_nk, exclusive = _targets(source, predictor)
    known = np.flatnonzero((~np.isnan(targets_nk)).any(1)).tolist()
    if not known:
        raise InputError(
            f"none of the labels {', '.join(source.classes)[:200]} is one of the model's",
            where=source.source,
            hint=f"it knows {', '.join(predictor.labels)}",
        )

    def read(row: int) -> tuple[Radiograph, str]:
        radiograph = source.read(row)
        small = replace(radiograph, pixels_hw=predictor.preprocessing.pixels(radiograph), spacing=(1.0, 1.0))
        return small, image_hash(radiograph)

    def answer(radiographs: list[Radiograph]) -> Tensor:
        return predictor.log_probabilities(predictor.tensor(radiographs))

    uses = uses_of(predictor.record, calibration=calibrated)
    found = answer_unseen(known, read, answer, uses, batch_size=BATCH, advance=advance)
    failed = {source.name(row): reason for row, reason in found.failed.items()}
    seen = {patients[row] for row in found.used}
    rows = [row for row in found.logits if patients[row] not in seen]
    left_out = [
        in_words(found.used.values()),
        _counted(len(found.logits) - len(rows), "of patients that it has seen"),
        _counted(count - len(known), "without a label that it knows"),
        _counted(len(failed), "that cannot be read"),
    ]
    if not rows:
        raise InputError(
            f"nothing is left to measure on: of {count} rows there are {', '.join(filter(None, left_out))}",
            hint=next(iter(failed.values()), "give labelled images that the model has not seen"),
        )
    logits_nk = torch.stack([found.logits[row] for row in rows])
    return Evaluation(
        logits=logits_nk.numpy(),
        probabilities=predictor.probabilities(logits_nk).numpy(),
        targets=targets_nk[rows],
        labels=predictor.labels,
        exclusive=exclusive,
        patients=[patients[row] for row in rows],
        rows=rows,
        hashes=[found.hashes[row] for row in rows],
        failed=failed,
        measured_on=_which(predictor, source, rows, left_out, used=bool(found.used)),
        thresholds={label: point.threshold for label, point in predictor.calibration.operating_points.items()},
        prevalence=prevalence,
        by={column: [cells_n[row] for row in rows] for column, cells_n in cells.items()},
    )


def _which(
    predictor: ChestPredictor, source: LabelledStudies, rows: Sequence[int], left_out: Sequence[str], *, used: bool
) -> str:
    data, others = predictor.record.data, ", ".join(filter(None, left_out))
    own = used and source.fingerprint()["sha256"] == data.get("sha256")
    which = f"{len(rows)} of {len(source)} rows"
    if own:
        which += ", held out when the model was trained"
    elif used:
        which += ", which the model has not seen"
    elif uses_of(predictor.record, calibration=False):
        which += "; the model was not trained on this set"
    else:
        which += "; the model's record does not say which images it was trained on"
    return (f"{which}; left out: {others}" if others else which) + start_unknown(data)


def _targets(source: LabelledStudies, predictor: ChestPredictor) -> tuple[Float[np.ndarray, "N K"], bool]:
    """The targets in the order of the model's labels, all NaN in a row that has none of them; and if they exclude."""
    exclusive = source.exclusive and predictor.exclusive
    targets_nk = np.full((len(source), len(predictor.labels)), 0.0 if exclusive else np.nan)
    for k, label in enumerate(predictor.labels):
        if label in source.classes:
            targets_nk[:, k] = source.targets[:, source.classes.index(label)]
    if exclusive:
        targets_nk[~(targets_nk == 1).any(1)] = np.nan
    return targets_nk, exclusive


def _cells(source: LabelledStudies, column: str) -> list[str]:
    cells = [cell or "unknown" for cell in source.column(column)]
    if cells == source.patients or len({*cells}) > len(cells) / 2 > 1:
        raise UsageError(f"--by {column} tells single patients apart", hint="name a column with few values")
    return cells


def _counted(number: int, words: str) -> str:
    return f"{number} {words}" if number else ""
