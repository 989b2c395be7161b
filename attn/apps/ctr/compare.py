"""What changed from one table to another, as a model sees it: drift of each field, unknown values, clicks expected.

Drift is the population stability index (Siddiqi 2006), the sum of (q - p) ln(q / p) over what a field's cells can be:
its 50 most frequent values in the first table, all others together, unknown and empty; of a number, what lies between
two knots. Below 0.1 is little, above 0.25 much.

Shapes: N rows, R rows of a field in the embedding table.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from attn.apps.ctr.metrics import click_metrics
from attn.apps.ctr.predict import CTRPredictor
from attn.core.errors import InputError
from attn.core.files import claim, replacing
from attn.data_adapters.tables.cells import as_labels
from attn.data_adapters.tables.codes import MISSING, UNKNOWN, VALUES, Encoded, Place
from attn.data_adapters.tables.open import Table

FREQUENT = 50  # values of a field that count each for itself
EMPTY_SHARE = 1e-4  # what a share of no rows counts as, so that the index stays finite
DRAWN = 30  # fields in the picture


@dataclass
class Counted:
    """Of one table: how often each field has each row of its own (R,), and what was expected and seen of clicks."""

    rows: int = 0
    by_field: dict[str, np.ndarray] = field(default_factory=dict)
    logits: list[np.ndarray] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)

    def add(self, places: tuple[Place, ...], encoded: Encoded) -> None:
        """Count further rows."""
        self.rows += len(encoded.ids)
        for place in places:
            rows_n = rows_of(place, encoded)
            counts_r = np.bincount(rows_n, minlength=place.rows)
            self.by_field[place.field.name] = self.by_field.get(place.field.name, 0) + counts_r

    def clicks(self) -> dict[str, Any]:
        """The mean probability, and of a labelled table the rate of clicks, AUC and log loss."""
        logits_n = np.concatenate(self.logits)
        if not self.labels:
            return {"rows": self.rows, "predicted_rate": float(np.mean(expit(logits_n)))}
        measured = click_metrics(logits_n, np.concatenate(self.labels))
        return {name: measured[name] for name in ("rows", "predicted_rate", "rate", "auc", "logloss", "ece")}


@dataclass(frozen=True)
class Comparison:
    """Two tables side by side; `fields` has a row for each field, the one that drifted most first."""

    before: dict[str, Any]
    after: dict[str, Any]
    fields: list[dict[str, Any]]

    def report(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {"before": self.before, "after": self.after, "fields": self.fields}

    def pictures(self, folder: Path) -> list[Path]:
        """Write compare.png to `folder`: drift and the share of unknown values of each field."""
        from matplotlib.figure import Figure

        claim(folder)
        path, shown = folder / "compare.png", self.fields[:DRAWN][::-1]
        figure = Figure(figsize=(9, 1.5 + 0.3 * len(shown)), layout="constrained")
        drift, unknown = figure.subplots(1, 2, sharey=True)
        names = [row["field"] for row in shown]
        drift.barh(names, [row["drift"] for row in shown], color="tab:blue")
        drift.axvline(0.25, color="grey", linestyle="--")
        drift.set(title="drift (above 0.25: much)", xlabel="population stability index")
        for offset, when, colour in ((0.2, "before", "lightgrey"), (-0.2, "after", "tab:orange")):
            shares = [100 * row[f"unknown_{when}"] for row in shown]
            unknown.barh(np.arange(len(shown)) + offset, shares, 0.4, color=colour, label=when)
        unknown.set(title="values that the model has not learned", xlabel="% of rows")
        unknown.legend()
        with replacing(path) as part:
            figure.savefig(part, dpi=150)
        return [path]


def compare_tables(
    predictor: CTRPredictor,
    before: Table,
    after: Table,
    label: str,
    *,
    advance: Callable[[int], None] = lambda rows: None,
) -> Comparison:
    """Count both tables, opened by `predictor.open`. Raises InputError for one without rows, or with other labels."""
    first, second = (counted(predictor, table, label, advance) for table in (before, after))
    fields: list[dict[str, Any]] = []
    for place in predictor.codebook.places:
        name = place.field.name
        p_r, q_r = (each.by_field[name] / max(each.by_field[name].sum(), 1) for each in (first, second))
        shares = {}
        for when, share_r in (("before", p_r), ("after", q_r)):
            number = place.field.kind == "number"
            shares[f"unknown_{when}"] = 0.0 if number else float(share_r[UNKNOWN])
            shares[f"missing_{when}"] = float(share_r[0 if number else MISSING])
        fields.append({"field": name, "drift": stability(p_r, q_r, 0 if number else VALUES), **shares})
    fields.sort(key=lambda row: -row["drift"])
    return Comparison(first.clicks(), second.clicks(), fields)


def counted(predictor: CTRPredictor, table: Table, label: str, advance: Callable[[int], None]) -> Counted:
    """One pass over a table."""
    found = Counted()
    labelled = label in table.columns
    for frame in table.batches(list(dict.fromkeys([*predictor.codebook.columns, *([label] if labelled else [])]))):
        encoded = predictor.codebook.encode(frame)
        if labelled:
            found.labels.append(as_labels(frame[label], table.where, found.rows))
        found.logits.append(predictor.slope * predictor.logits(encoded).astype(np.float64) + predictor.intercept)
        found.add(predictor.codebook.places, encoded)
        advance(len(frame))
    if not found.rows:
        raise InputError("has no rows to compare", where=table.where)
    return found


def rows_of(place: Place, encoded: Encoded) -> np.ndarray:
    """Which rows of its own a field has, of a set all its members; of a number, the knot below it."""
    if place.field.kind != "number":
        ids = encoded.ids[:, place.column : place.column + place.width].ravel()
        found: np.ndarray = ids[ids > 0] - place.first
        return found
    x_n = encoded.numbers[:, place.column]
    if place.field.transform != "quantile":
        x_n = x_n >= 0 if place.rows > 2 else np.zeros_like(x_n)
    below_n = np.clip(np.nan_to_num(x_n), 0, max(place.rows - 2, 0)).astype(np.int64)
    return np.where(np.isnan(encoded.numbers[:, place.column]), 0, 1 + below_n)


def stability(p_r: np.ndarray, q_r: np.ndarray, values: int) -> float:
    """The population stability index of shares before (R,) and after (R,); values begin at row `values`."""
    order = values + np.argsort(-p_r[values:], kind="stable")
    kept, rest = np.concatenate([np.arange(values), order[:FREQUENT]]), order[FREQUENT:]
    p, q = (np.append(share_r[kept], share_r[rest].sum()) for share_r in (p_r, q_r))
    there = (p > 0) | (q > 0)
    p, q = (np.maximum(share[there], EMPTY_SHARE) for share in (p, q))
    return float(((q - p) * np.log(q / p)).sum())
