"""Measure a galaxy classifier on labelled images that it has not seen, and fit its probabilities to such images.

Shapes: N rows, K classes of the model, C classes that are measured.
"""

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from attn.apps.galaxy.label_map import LabelMap, read_map, same_labels
from attn.apps.galaxy.predict import BUNDLED_MODEL, GalaxyPredictor
from attn.apps.galaxy.unseen import unseen_rows
from attn.core.errors import InputError
from attn.core.files import claim
from attn.core.measures.calibration import ece, fit_temperature, reliability_picture
from attn.core.measures.classification import classification_report, confusion_picture
from attn.core.models import folder as model_folder
from attn.core.models.record import CARD, WEIGHTS
from attn.core.models.used import answer_unseen, array_hash
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.images.labelled import LabelledImages

BATCH = 64
HEADLINES = ("accuracy", "balanced_accuracy", "macro_f1", "ece")


@dataclass(frozen=True)
class Evaluation:
    """Log-probabilities (N, K), calibrated probabilities (N, C) and class numbers (N,) of the rows `rows` (N,).

    `failed` has the reason for each id that cannot be read, `used` the part of the training (a key of `used.USES`) for
    each row number that is left out because the model has seen its image. `groups` are the cells (N,) of the column
    `by`.
    """

    log_probabilities: Float[np.ndarray, "N K"]
    probabilities: Float[np.ndarray, "N C"]
    targets: Int[np.ndarray, " N"]
    labels: list[str]
    failed: dict[str, str]
    rows: list[int]
    hashes: list[str]
    used: dict[int, str]
    measured_on: str = ""
    by: str | None = None
    groups: Sequence[str | None] = ()

    def report(self) -> dict[str, Any]:
        """Accuracy, balanced accuracy, macro-F1, ECE with 95 % bootstrap intervals; per class; confusion matrix.

        With `by`, also `by` and `groups`, the first four of each group.
        """
        report = classification_report(self.probabilities, self.targets, self.labels) | {"failed": self.failed}
        if self.by is None:
            return report
        groups_n = np.array(["" if group is None else group for group in self.groups])
        groups = []
        for group in np.unique(groups_n):
            chosen_n = groups_n == group
            part = classification_report(self.probabilities[chosen_n], self.targets[chosen_n], self.labels)
            groups.append({"group": str(group), **{key: part[key] for key in ("n", *HEADLINES)}})
        return report | {"by": self.by, "groups": groups}

    def headlines(self) -> dict[str, float]:
        """The four headline values alone."""
        report = classification_report(self.probabilities, self.targets, self.labels)
        return {key: report[key]["value"] for key in HEADLINES}

    def pictures(self, folder: Path) -> list[Path]:
        """Write confusion.png and reliability.png to `folder`."""
        claim(folder)
        paths = [folder / "confusion.png", folder / "reliability.png"]
        confusion_picture(self.report(), paths[0])
        reliability_picture(self.probabilities, self.targets, paths[1])
        return paths


def evaluate(
    predictor: GalaxyPredictor,
    source: LabelledImages,
    *,
    by: str | None = None,
    tta: bool = False,
    calibrated: bool = True,
    mapping: Collection[str] = (),
    advance: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Measure on the rows of `source` that the model has not seen; `measured_on` says which rows those are.

    Images that the model was trained, validated or calibrated on are left out, whatever their files are called;
    `calibrated=False` keeps the images of the calibration. `by` is a column of `source` to measure by as well.
    `mapping` says which labels of `source` and of the model mean the same, as `read_map` takes it.
    Raises InputError when no row is left, for labels that the model does not know, and for a column that is not there.
    """
    groups = None if by is None else source.column(by)
    label_map = read_map(mapping, predictor.labels) if mapping else same_labels(predictor.labels)
    kept = [row for row, label in enumerate(source.labels) if label not in label_map.left_out]
    unseen = unseen_rows(predictor.record, source, kept, calibrated=calibrated)
    for _ in unseen.used:
        advance()
    found = evaluate_rows(
        predictor, source, unseen.rows, tta=tta, uses=unseen.uses, label_map=label_map, advance=advance
    )
    which = unseen.measured_on(found.rows, found.used)
    if absent := len(source.labels) - len(kept):
        which += f"; {absent} rows left out by their label"
    chosen = () if groups is None else [groups[row] for row in found.rows]
    return replace(found, used=unseen.used | found.used, measured_on=which, by=by, groups=chosen)


def evaluate_rows(
    predictor: GalaxyPredictor,
    source: LabelledImages,
    rows: Sequence[int],
    *,
    tta: bool = False,
    uses: Mapping[str, str] | None = None,
    label_map: LabelMap | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Run the model over `rows`, calling `advance` once a row; images whose hash is in `uses` are left out.

    `label_map` has the classes that are measured: the model's own when not given.
    Raises InputError for labels that the model does not know, and when no row can be read.
    """
    label_map = label_map or same_labels(predictor.labels)
    unknown = sorted({source.labels[row] for row in rows} - label_map.class_of.keys())
    if unknown:
        raise InputError(
            f"the model does not know the label {unknown[0]!r}" + f" and {len(unknown) - 1} more" * (len(unknown) > 1),
            hint=f"it knows {', '.join(predictor.labels)}; attn galaxy evaluate --map says what other labels mean",
        )

    def read(row: int) -> tuple[Cutout, str]:
        cutout = source.read(row, predictor.preprocessing.stretch)
        return cutout, array_hash(cutout.pixels)

    def answer(cutouts: list[Cutout]) -> Tensor:
        return predictor.log_probabilities(predictor.tensor(cutouts), tta=tta)

    found = answer_unseen(rows, read, answer, uses or {}, batch_size=BATCH, advance=advance)
    failed = {source.ids[row]: reason for row, reason in found.failed.items()}
    measured = found.logits
    if not measured and not found.used:
        raise InputError("none of the rows can be read", hint=next(iter(failed.values()), "the set is empty"))
    log_p_nk = torch.stack([*measured.values()]) if measured else torch.zeros(0, len(predictor.labels))
    return Evaluation(
        log_probabilities=log_p_nk.numpy(),
        probabilities=label_map.joined(predictor.probabilities(log_p_nk).numpy()),
        targets=np.array([label_map.class_of[source.labels[row]] for row in measured], np.int64),
        labels=label_map.names,
        failed=failed,
        rows=[*measured],
        hashes=[*found.hashes.values()],
        used=found.used,
    )


def calibrate(
    model: str | Path | None, source: LabelledImages, folder: Path, *, device: str | torch.device | None = None
) -> dict[str, Any]:
    """Fit the temperature of `model` on the rows of `source` that it has not seen, and write it so to `folder`.

    The answer has the temperature, the rows and their ECE before and after. It is kept in the record's `calibration`,
    together with the hashes of the images (`used`), so that `evaluate` does not call them held out afterwards. The
    record's `metrics` stay as they were measured. Raises InputError as `evaluate` does.
    """
    claim(folder)
    predictor = GalaxyPredictor.load(model, device=device)
    predictor.require_classes("calibrate")
    evaluation = evaluate(predictor, source, calibrated=False)
    before = ece(evaluation.probabilities, evaluation.targets)
    predictor.temperature = fit_temperature(evaluation.log_probabilities, evaluation.targets)
    log_p_nk = torch.from_numpy(evaluation.log_probabilities)
    after = ece(predictor.probabilities(log_p_nk).numpy(), evaluation.targets)
    calibration = {
        "temperature": predictor.temperature,
        "fitted_on": evaluation.measured_on,
        "measured_on": "the rows that it was fitted on",
        "ece_before": before,
        "ece_after": after,
    }
    kept = {name: fact for name, fact in predictor.record.calibration.items() if name == "anomaly"}
    record = predictor.record.model_copy(update={"calibration": calibration | {"used": evaluation.hashes} | kept})
    resolved = model_folder.resolve(model, "galaxy", BUNDLED_MODEL)
    # Further files of the model, such as its anomaly, stay with it.
    others = [name for name in predictor.record.files if name not in (WEIGHTS, CARD)]
    copies = {name: partial(shutil.copyfile, resolved / name) for name in others}
    model_folder.save(folder, model_folder.load_state(resolved), record, copies)
    return calibration
