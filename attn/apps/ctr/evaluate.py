"""Measure a click model on a labelled table, and fit its probabilities to one.

Shapes: N rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from attn.apps.ctr.calibration import fit_platt
from attn.apps.ctr.folder import BUNDLED_MODEL, Unseen, load_codebook, save_model
from attn.apps.ctr.metrics import auc_error, calibration_picture, calibration_table, click_metrics, grouped_auc
from attn.apps.ctr.predict import CTRPredictor
from attn.apps.ctr.split import PARTS, TEST
from attn.apps.ctr.used import (
    Hashed,
    Sample,
    is_told,
    overlap,
    parts_again,
    sample_in,
    sampled,
    shared_rows,
    use_of,
    written,
)
from attn.core.errors import InputError
from attn.core.files import claim
from attn.core.models import folder as model_folder
from attn.core.models.used import start_unknown
from attn.data_adapters.tables.cells import as_labels
from attn.data_adapters.tables.codes import Encoded
from attn.data_adapters.tables.open import Table


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Logits before and after calibration (N,), labels (N,), groups (N,) if asked for, and the unseen values.

    `measured_on` says which rows these are, `table_hash` which table they come from; `sample` is one of their hashes.
    """

    raw_n: np.ndarray
    logits_n: np.ndarray
    labels_n: np.ndarray
    groups_n: pl.Series | None = None
    unseen: Unseen = field(default_factory=Unseen)
    measured_on: str = ""
    table_hash: str = ""
    sample: Sample = field(default_factory=lambda: np.zeros(0, np.uint64))

    def report(self) -> dict[str, Any]:
        """AUC with a 95 % interval, log loss, improvement over a constant, calibration by decile, unseen shares."""
        found = click_metrics(self.logits_n, self.labels_n)
        if found["auc"] is not None:
            half = 1.96 * auc_error(found["auc"], self.labels_n)
            found["auc_interval"] = [max(found["auc"] - half, 0.0), min(found["auc"] + half, 1.0)]
        if self.groups_n is not None:
            found |= grouped_auc(self.logits_n, self.labels_n, self.groups_n)
        found["calibration"] = calibration_table(self.logits_n, self.labels_n)
        found["unseen"] = self.unseen.shares()
        return found

    def pictures(self, folder: Path) -> list[Path]:
        """Write calibration.png to `folder`."""
        claim(folder)
        path = folder / "calibration.png"
        calibration_picture(calibration_table(self.logits_n, self.labels_n), path)
        return [path]


def evaluate_table(
    predictor: CTRPredictor,
    table: Table,
    label: str,
    *,
    group: str | None = None,
    calibrated: bool = True,
    advance: Callable[[int], None] = lambda rows: None,
) -> Evaluation:
    """Run the model over a table opened by `predictor.open`, and keep the rows that it has not seen.

    Of the table of its training these are the test rows; `measured_on` says so. Of another table, or of a part of that
    one, it says how many rows of a sample equal rows that the model has seen. A table that it was calibrated on is kept
    with `calibrated=False` only. Raises InputError for labels other than 0 and 1, and when no row is left.
    """
    raw: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    groups: list[pl.Series] = []
    parts: list[np.ndarray] = []
    hashes: list[np.ndarray] = []
    data, calibration = predictor.record.data, predictor.record.calibration if calibrated else {}
    part_of = parts_again(data, table)
    columns = {*predictor.codebook.columns, *([predictor.label] if predictor.label in table.columns else [])}
    hashed = Hashed(part_of, columns)
    unseen, unseen_test, first = Unseen(), Unseen(), 0
    for frame in table.batches(list(dict.fromkeys([*columns, label, *([group] if group else []), *hashed.columns]))):
        labels.append(as_labels(frame[label], table.where, first))
        parts.append(hashed(frame, first))
        hashes.append(hashed.last)
        encoded = predictor.codebook.encode(frame)
        unseen.add(encoded, predictor.codebook.places)
        test_n = parts[-1] == TEST
        unknown = {name: unknown_n[test_n] for name, unknown_n in encoded.unknown.items()}
        unseen_test.add(Encoded(encoded.ids[test_n], encoded.numbers[test_n], unknown), predictor.codebook.places)
        raw.append(predictor.logits(encoded))
        if group:
            groups.append(frame[group].cast(pl.String))
        first += len(frame)
        advance(len(frame))
    if not first:
        raise InputError("has no rows to measure", where=table.where)
    raw_n, labels_n, parts_n = np.concatenate(raw).astype(np.float64), np.concatenate(labels), np.concatenate(parts)
    hashes_n, found = np.concatenate(hashes), hashed.text()
    use = use_of(data, calibration, found)
    if use in ("validation", "calibration"):
        seen = "it chose its best epoch by them" if use == "validation" else "it was calibrated on them"
        raise _nothing_left(f"the model has seen all {first} rows: {seen}", table)
    which = f"all {first} rows of {table.where}"
    trained = sample_in(data.get("used"), "sample" if use is None else "")  # its own tables may repeat rows
    began = sample_in(data.get("used"), "start")
    if not is_told(data):
        which += "; the model's record does not say which rows it was trained on"
    elif use == "test":
        which += ", held out when the model was trained"
    elif use is None and not any(overlap(hashes_n, seen)[0] for seen in (trained, began)):
        which += "; the model was not trained on this table"
    together = pl.concat(groups) if groups else None
    if use == "table":
        counts = np.bincount(parts_n, minlength=len(PARTS))
        fitted = counts[TEST] if calibration.get("used") == found else 0
        seen = f"{counts[0]} that the model was trained on and {counts[1]} that chose its best epoch"
        seen += f", and {fitted} that it was calibrated on" if fitted else ""
        if fitted or not counts[TEST]:
            raise _nothing_left(f"the model has seen all {first} rows: {seen}", table)
        which = f"the {counts[TEST]} rows of {first} held out when the model was trained; left out: {seen}"
        chosen_n = parts_n == TEST
        raw_n, labels_n, hashes_n, unseen = raw_n[chosen_n], labels_n[chosen_n], hashes_n[chosen_n], unseen_test
        together = None if together is None else together.filter(pl.Series(chosen_n))
    samples = {"train": trained, "start": began, "calibration": sample_in(calibration, "sample")}
    which += shared_rows(hashes_n, samples) + start_unknown(data)
    calibrated_n = predictor.slope * raw_n + predictor.intercept
    return Evaluation(raw_n, calibrated_n, labels_n, together, unseen, which, found, sampled(hashes_n))


def _nothing_left(what: str, table: Table) -> InputError:
    return InputError(what, where=table.where, hint="give labelled rows that it has not seen")


def calibrate(
    model: str | Path | None,
    source: str | Path,
    label: str | None,
    folder: Path,
    format: str | None = None,
    *,
    device: str | torch.device | None = None,
) -> dict[str, Any]:
    """Fit slope and intercept of the logits to a labelled table (Platt 1999) and write the model so to `folder`.

    Returns what was fitted, and log loss and mean prediction before and after. Raises InputError for labels that are
    not 0 and 1, or all the same, and when the model has seen all rows. The record's `metrics` stay as measured.
    """
    claim(folder)
    predictor = CTRPredictor.load(model, device=device)
    label = label or predictor.label
    table = predictor.open(source, format=format, also=[label])
    found = evaluate_table(predictor, table, label, calibrated=False)
    if found.labels_n.min() == found.labels_n.max():
        raise InputError(f"the label {label!r} is {found.labels_n[0]} in every row", where=table.where)
    slope, intercept = fit_platt(found.raw_n, found.labels_n)
    before = click_metrics(found.logits_n, found.labels_n)
    after = click_metrics(slope * found.raw_n + intercept, found.labels_n)
    calibration = {
        "slope": slope,
        "intercept": intercept,
        "fitted_on": found.measured_on,
        "measured_on": "the rows that it was fitted on",
        **{f"{name}_before": before[name] for name in ("logloss", "predicted_rate")},
        **{f"{name}_after": after[name] for name in ("logloss", "predicted_rate")},
        "rate": after["rate"],
    }
    source_folder = model_folder.resolve(model, "ctr", BUNDLED_MODEL)
    record = predictor.record.model_copy(
        update={"calibration": calibration | {"used": found.table_hash, "sample": written(found.sample)}}
    )
    codebook = load_codebook(source_folder, predictor.record)
    save_model(folder, model_folder.load_state(source_folder), record, codebook)
    return calibration
