"""Measure a galaxy classifier on labelled images, and fit its probabilities to them.

Shapes: N rows, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from attn.apps.galaxy.predict import BUNDLED_MODEL, GalaxyPredictor
from attn.core.errors import AttnError, InputError
from attn.core.files import claim
from attn.core.measures.calibration import ece, fit_temperature, reliability_picture
from attn.core.measures.classification import classification_report, confusion_picture
from attn.core.models import folder as model_folder
from attn.data_adapters.images.labelled import LabelledImages

BATCH = 64
HEADLINES = ("accuracy", "balanced_accuracy", "macro_f1", "ece")


@dataclass(frozen=True)
class Evaluation:
    """Logits (N, K), calibrated probabilities (N, K) and class numbers (N,) of the rows that could be read."""

    logits: Float[np.ndarray, "N K"]
    probabilities: Float[np.ndarray, "N K"]
    targets: Int[np.ndarray, " N"]
    labels: list[str]
    failed: dict[str, str]

    def report(self) -> dict[str, Any]:
        """Accuracy, balanced accuracy, macro-F1, ECE with 95 % bootstrap intervals; per class; confusion matrix."""
        return classification_report(self.probabilities, self.targets, self.labels) | {"failed": self.failed}

    def headlines(self) -> dict[str, float]:
        """The four headline values alone."""
        report = self.report()
        return {key: report[key]["value"] for key in HEADLINES}

    def pictures(self, folder: Path) -> list[Path]:
        """Write confusion.png and reliability.png to `folder`."""
        claim(folder)
        paths = [folder / "confusion.png", folder / "reliability.png"]
        confusion_picture(self.report(), paths[0])
        reliability_picture(self.probabilities, self.targets, paths[1])
        return paths


def rows_to_measure(predictor: GalaxyPredictor, source: LabelledImages) -> tuple[list[int], str]:
    """The held-out rows when the model was trained on this very set, else all rows; and a sentence that says which."""
    if source.fingerprint()["sha256"] != predictor.record.data.get("sha256"):
        rows = list(range(len(source.labels)))
        return rows, f"all {len(rows)} rows; the model was not trained on this set"
    held_out = set(predictor.record.data["held_out"])
    rows = [row for row, id in enumerate(source.ids) if id in held_out]
    return rows, f"the {len(rows)} rows held out when the model was trained, of {len(source.labels)}"


def evaluate_rows(
    predictor: GalaxyPredictor,
    source: LabelledImages,
    rows: list[int],
    *,
    tta: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Run the model over `rows`, calling `advance` once a row.

    Raises InputError for labels the model does not know, and when nothing can be read.
    """
    unknown = sorted({source.labels[row] for row in rows} - set(predictor.labels))
    if unknown:
        raise InputError(
            f"the model does not know the label {unknown[0]!r}" + f" and {len(unknown) - 1} more" * (len(unknown) > 1),
            hint=f"it knows {', '.join(predictor.labels)}",
        )
    logits, targets, failed = [], [], {}
    for start in range(0, len(rows), BATCH):
        cutouts = []
        for row in rows[start : start + BATCH]:
            advance()
            try:
                cutouts.append(source.read(row, predictor.preprocessing.stretch))
            except AttnError as error:
                failed[source.ids[row]] = str(error)
                continue
            targets.append(predictor.labels.index(source.labels[row]))
        if cutouts:
            logits.append(predictor.logits(predictor.tensor(cutouts), tta=tta).cpu())
    if not logits:
        raise InputError("none of the rows can be read", hint=next(iter(failed.values()), "the set is empty"))
    logits_nk = torch.cat(logits)
    return Evaluation(
        logits=logits_nk.numpy(),
        probabilities=predictor.probabilities(logits_nk).numpy(),
        targets=np.array(targets),
        labels=predictor.labels,
        failed=failed,
    )


def calibrate(model: str | Path | None, source: LabelledImages, folder: Path) -> dict[str, Any]:
    """Fit the temperature of `model` on the rows to measure of `source`, write it calibrated to `folder`; what it did.

    Raises InputError as `evaluate_rows` does.
    """
    claim(folder)
    predictor = GalaxyPredictor.load(model)
    rows, which = rows_to_measure(predictor, source)
    evaluation = evaluate_rows(predictor, source, rows)
    before = ece(evaluation.probabilities, evaluation.targets)
    predictor.temperature = fit_temperature(evaluation.logits, evaluation.targets)
    after = ece(predictor.probabilities(torch.from_numpy(evaluation.logits)).numpy(), evaluation.targets)
    calibration = {"temperature": predictor.temperature, "fitted_on": which, "ece_before": before, "ece_after": after}
    metrics = predictor.record.metrics | {"ece": after}
    record = predictor.record.model_copy(update={"calibration": calibration, "metrics": metrics})
    model_folder.save(folder, model_folder.load_state(model_folder.resolve(model, "galaxy", BUNDLED_MODEL)), record)
    return calibration
