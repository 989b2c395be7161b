"""Fit a model's probabilities and operating points to labelled radiographs that it has not seen.

Research use, not a medical device.

Shapes: N rows, K classes.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.model_selection import GroupKFold

from attn.apps.chest.evaluate import Evaluation, evaluate
from attn.apps.chest.predict import BUNDLED_MODEL, ChestPredictor
from attn.apps.chest.probabilities import SENSITIVITY, Calibration, OperatingPoint
from attn.core.errors import InputError
from attn.core.files import claim
from attn.core.measures.calibration import fit_temperature, thresholds
from attn.core.measures.one_against_rest import measures
from attn.core.models import folder as model_folder
from attn.core.models.record import CARD, WEIGHTS
from attn.data_adapters.dicom.labelled import LabelledStudies

FOLDS = 5


def calibrate(
    model: str | Path | None,
    source: LabelledStudies,
    folder: Path,
    *,
    sensitivity: float = SENSITIVITY,
    device: str | torch.device | None = None,
) -> dict[str, Any]:
    """Fit temperature, shift and operating points of `model` on rows that it has not seen, and write it to `folder`.

    No patient of these rows is one that the model has seen (`evaluate`). The operating point of a class is the most
    specific threshold whose sensitivity on them reaches `sensitivity`. How good the probabilities became is measured
    on folds of patients, each with what the others gave.

    The answer is kept in the record's `calibration`, together with the hashes of the images (`used`), so that
    `evaluate` does not call them held out afterwards. The record's `metrics` stay as they were measured. Raises
    InputError as `evaluate` does, and where the rows are of one patient.
    """
    claim(folder)
    predictor = ChestPredictor.load(model, device=device)
    found = evaluate(predictor, source, calibrated=False)
    if predictor.exclusive != found.exclusive:
        raise InputError(
            "an image has several labels here, and one for the model", where=source.source, hint="give one label each"
        )
    how = (assumed_shares(predictor), predictor.calibration.shift)
    fitted = fit(found, *how)
    probabilities_nk = _apply(fitted, found)
    points = operating_points(probabilities_nk, found.targets, found.labels, sensitivity)
    before, after = _ece(found.probabilities, found), _ece(out_of_fold(found, *how), found)
    answer: dict[str, Any] = {
        "temperature": fitted.temperature,
        "shift": list(fitted.shift),
        "operating_points": {label: point.model_dump() for label, point in points.items()},
        "shares": dict(zip(found.labels, shares(found.targets).tolist(), strict=True)),
        "fitted_on": found.measured_on,
        "patients": len({*found.patients}),
        "measured_on": f"the same rows, in {FOLDS} folds of patients, each with what the others gave",
        "ece_before": before,
        "ece_after": after,
    }
    resolved = model_folder.resolve(model, "chest", BUNDLED_MODEL)
    record = predictor.record.model_copy(update={"calibration": answer | {"used": found.hashes}})
    # Further files of the model, such as the gate's weights, stay with it.
    others = [name for name in predictor.record.files if name not in (WEIGHTS, CARD)]
    copies = {name: partial(shutil.copyfile, resolved / name) for name in others}
    model_folder.save(folder, model_folder.load_state(resolved), record, copies)
    return answer


def fit(found: Evaluation, assumed_k: Float[np.ndarray, " K"] | None, shift: tuple[float, ...] = ()) -> Calibration:
    """The shift from the shares that the logits stand for to those of these rows, and the temperature beside it.

    Without `assumed_k` (labels of their own, or a record that does not say) the model keeps its `shift`.
    """
    if assumed_k is not None:
        shift = tuple((np.log(shares(found.targets)) - np.log(assumed_k)).tolist())
    truth = found.targets.argmax(1) if found.exclusive else found.targets
    return Calibration(temperature=fit_temperature(found.logits.astype(np.float64), truth, shift), shift=shift)


def shares(targets_nk: Float[np.ndarray, "N K"]) -> Float[np.ndarray, " K"]:
    """The share of each class; with half a row more for each, so that a class without rows is rare, not impossible."""
    count_k = np.nansum(targets_nk, axis=0) + 0.5
    return np.asarray(count_k / count_k.sum())


def assumed_shares(predictor: ChestPredictor) -> Float[np.ndarray, " K"] | None:
    """The shares of the classes that the model's logits stand for, by its record; None where that does not say.

    log of the share = log of the share in the population - shift, up to a constant: the record's shift is what undoes
    the sampling of the training, and the population is the training set, or the rows of an earlier calibration.
    """
    record = predictor.record
    counts = record.calibration.get("shares", record.data.get("classes"))
    if not predictor.exclusive or not isinstance(counts, dict):
        return None
    count_k = np.array([counts.get(label) for label in predictor.labels], dtype=object)
    if not all(isinstance(count, int | float) and count > 0 for count in count_k):
        return None
    log_k = np.log(count_k.astype(np.float64)) - np.array(predictor.calibration.shift or 0.0)
    share_k = np.exp(log_k - log_k.max())
    return np.asarray(share_k / share_k.sum())


def operating_points(
    probabilities_nk: Float[np.ndarray, "N K"],
    targets_nk: Float[np.ndarray, "N K"],
    labels: Sequence[str],
    sensitivity: float = SENSITIVITY,
) -> dict[str, OperatingPoint]:
    """By label, where there are rows with it and without it. Targets are 1, 0, or NaN where unknown."""
    points = {}
    for k, label in enumerate(labels):
        known_n = ~np.isnan(targets_nk[:, k])
        truth_n1 = targets_nk[known_n, k : k + 1] == 1
        (point,) = thresholds(probabilities_nk[known_n, k : k + 1], truth_n1, rule="sensitivity", target=sensitivity)
        if point is not None:
            points[label] = OperatingPoint(**vars(point), target_sensitivity=sensitivity)
    return points


def out_of_fold(
    found: Evaluation, assumed_k: Float[np.ndarray, " K"] | None, shift: tuple[float, ...] = ()
) -> Float[np.ndarray, "N K"]:
    """Probabilities (N, K), of each row by the fit to the other patients. Raises InputError for a single patient."""
    folds = min(FOLDS, len({*found.patients}))
    if folds < 2:
        raise InputError("the rows are of one patient", hint="give labelled rows of more patients")
    probabilities_nk = np.empty_like(found.probabilities)
    for others, mine in GroupKFold(folds).split(found.logits, groups=found.patients):
        probabilities_nk[mine] = _apply(fit(_part(found, others), assumed_k, shift), _part(found, mine))
    return probabilities_nk


def _part(found: Evaluation, rows: np.ndarray) -> Evaluation:
    return replace(found, logits=found.logits[rows], targets=found.targets[rows])


def _apply(calibration: Calibration, found: Evaluation) -> Float[np.ndarray, "N K"]:
    logits_nk = torch.from_numpy(found.logits)
    return np.asarray(calibration.probabilities(logits_nk, exclusive=found.exclusive).numpy())


def _ece(probabilities_nk: Float[np.ndarray, "N K"], found: Evaluation) -> float:
    statistic = measures(
        probabilities_nk, found.targets, exclusive=found.exclusive, thresholds=[1.0] * len(found.labels)
    )
    return float(statistic(np.ones((1, len(found.targets))))["ece"][0])
