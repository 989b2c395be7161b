"""Which fields interact: the attention between each pair, and how the model's answers change when the pair is permuted.

An attention weight is not an effect. So each pair is checked by its contrast. Let a and b be the values of the two
fields in a row, and a' and b' their values in another row. Then

    contrast(a, b) = mean over rows of |f(a, b) - f(a', b) - f(a, b') + f(a', b')|,    f the logit

The contrast is zero exactly if the two fields do not interact. It is a second difference, as in Friedman and Popescu
2008, section 8.1.

Shapes: N rows, L layers, H heads, F fields.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from attn.apps.ctr.predict import CTRPredictor
from attn.core.attention.watch import record
from attn.core.errors import InputError, UsageError
from attn.core.files import replacing
from attn.data_adapters.tables.cells import as_labels
from attn.data_adapters.tables.codes import Encoded, Place
from attn.data_adapters.tables.open import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AT_ONCE = 512  # rows whose weights are in memory at the same time, where there are few fields
WEIGHTS = 1 << 25  # at the same time, of all layers and heads
LARGEST_SIDE = 24.0  # inches of a heat map
NAMED = 100  # fields, beyond which their names would lie on each other
MOST_PAIRS = 45  # pairs that are permuted, those with the most attention; ten fields have 45 pairs


@dataclass(frozen=True, eq=False)
class RowExplanation:
    """The probability of one row, and the attention between its fields (L, F, F), the mean over heads."""

    fields: tuple[str, ...]
    probability: float
    attention_lff: np.ndarray

    def answer(self) -> dict[str, Any]:
        """The probability, and the pair of fields with the most attention."""
        pair, weight = ranked(self.attention_lff.mean(0), self.fields)[0]
        return {"probability": self.probability, "strongest": " x ".join(pair), "attention": weight}

    def save(self, folder: Path, name: str) -> list[Path]:
        """Write NAME.png, with a panel for the mean of all layers and one for each layer, and NAME.npz."""
        panels = {"all layers": self.attention_lff.mean(0)}
        panels |= {f"layer {number}": layer_ff for number, layer_ff in enumerate(self.attention_lff, 1)}
        paths = [folder / f"{name}.png", folder / f"{name}.npz"]
        draw(panels, self.fields, f"probability {self.probability:.4f}", paths[0])
        _save_arrays(paths[1], self.fields, attention_lff=self.attention_lff)
        return paths


@dataclass(frozen=True, eq=False)
class TableExplanation:
    """The mean attention (L, F, F) over rows of a table, and the pairs of fields, the largest contrast first."""

    fields: tuple[str, ...]
    attention_lff: np.ndarray
    interactions: list[dict[str, Any]]

    def save(self, folder: Path) -> list[Path]:
        """Write interactions.png and interactions.npz."""
        paths = [folder / "interactions.png", folder / "interactions.npz"]
        contrast_ff = np.zeros((len(self.fields),) * 2)
        for row in self.interactions:
            a, b = (self.fields.index(row[name]) for name in ("field", "with"))
            contrast_ff[a, b] = contrast_ff[b, a] = row["contrast"]
        panels = {"attention, mean over layers": self.attention_lff.mean(0), "contrast of the pairs tried": contrast_ff}
        draw(panels, self.fields, "", paths[0])
        _save_arrays(paths[1], self.fields, attention_lff=self.attention_lff, contrast_ff=contrast_ff)
        return paths


def explain_row(predictor: CTRPredictor, row: Mapping[str, Any]) -> RowExplanation:
    """The attention between the fields of one row. Raises InputError if the row lacks a column."""
    encoded = predictor.encode([row])
    probability = float(predictor.probabilities(predictor.logits(encoded))[0])
    return RowExplanation(_names(predictor), probability, attention(predictor, encoded))


def explain_table(
    predictor: CTRPredictor, table: Table, label: str | None = None, rows: int = 20_000, seed: int = 0
) -> TableExplanation:
    """The mean attention over the first rows of a table, and the contrast of the pairs with the most attention.

    With a label, each pair also has `auc_drop`: how much AUC falls when both fields are permuted together. Raises
    InputError for a table without rows or with labels other than 0 and 1.
    """
    frame = table.head(rows)
    if not len(frame):
        raise InputError("has no rows", where=table.where)
    if label is not None and label not in frame.columns:
        hint = f"there are {', '.join(frame.columns[:20])}"
        raise InputError(f"has no column {label!r}", where=table.where, hint=hint)
    labels_n = None if label is None else as_labels(frame[label], table.where, 0)
    encoded = predictor.codebook.encode(frame)
    fields, weights_lff = _names(predictor), attention(predictor, encoded)
    pairs = ranked(weights_lff.mean(0), fields)[:MOST_PAIRS]
    order_n = np.random.default_rng(seed).permutation(len(frame))
    places = {place.field.name: place for place in predictor.codebook.places}
    plain_n = predictor.logits(encoded)
    moved = {
        name: predictor.logits(permuted(encoded, [places[name]], order_n))
        for name in {n for pair, _ in pairs for n in pair}
    }
    both = labels_n is not None and 0 < labels_n.mean() < 1
    auc = float(roc_auc_score(labels_n, plain_n)) if both else None
    found = []
    for (a, b), weight in pairs:
        together_n = predictor.logits(permuted(encoded, [places[a], places[b]], order_n))
        contrast = float(np.abs(plain_n - moved[a] - moved[b] + together_n).mean())
        row = {"field": a, "with": b, "attention": weight, "contrast": contrast}
        if auc is not None:
            row["auc_drop"] = auc - float(roc_auc_score(labels_n, together_n))
        found.append(row)
    return TableExplanation(fields, weights_lff, sorted(found, key=lambda row: -row["contrast"]))


def attention(predictor: CTRPredictor, encoded: Encoded) -> np.ndarray:
    """Weights (L, F, F), the mean over rows and heads. A row of the matrix is a query.

    Raises UsageError for a mixer without attention weights.
    """
    model, total, device = predictor.model, None, predictor.model.out.weight.device
    config = model.config
    each = len(config.fields) ** 2 * config.heads * max(1, len(config.widths))
    rows = max(1, min(AT_ONCE, WEIGHTS // each))
    for start in range(0, len(encoded.ids), rows):
        ids_bc, numbers_bm = (torch.from_numpy(x[start : start + rows]) for x in (encoded.ids, encoded.numbers))
        with torch.inference_mode(), record(model) as seen:
            model(ids_bc.to(device), numbers_bm.to(device))
            sites = [seen[name] for name in sorted(seen) if seen[name].over == "tokens"]
            layers = [site.dense(len(model.config.fields)).mean(1).sum(0).cpu() for site in sites]
        if not layers:
            raise UsageError(
                f"the mixer {model.config.mixer!r} has no attention weights over fields",
                hint="`attn mixers` lists the mixers that have them",
            )
        some = torch.stack(layers).double().numpy()
        total = some if total is None else total + some
    assert total is not None
    mean: np.ndarray = total / len(encoded.ids)
    return mean


def ranked(weights_ff: np.ndarray, fields: Sequence[str]) -> list[tuple[tuple[str, str], float]]:
    """All pairs of fields with the sum of their attention in both directions, the largest sum first."""
    pairs = [
        ((fields[a], fields[b]), float(weights_ff[a, b] + weights_ff[b, a]))
        for a, b in combinations(range(len(fields)), 2)
    ]
    return sorted(pairs, key=lambda pair: -pair[1])


def permuted(encoded: Encoded, places: Sequence[Place], order_n: np.ndarray) -> Encoded:
    """Rows in which the fields of `places` have the values of other rows: row n has those of row `order_n[n]`."""
    ids_nc, numbers_nm = encoded.ids.copy(), encoded.numbers.copy()
    for place in places:
        array = numbers_nm if place.field.kind == "number" else ids_nc
        columns = slice(place.column, place.column + place.width)
        array[:, columns] = array[order_n, columns]
    return Encoded(ids_nc, numbers_nm, {})


def draw(panels: Mapping[str, np.ndarray], fields: Sequence[str], title: str, path: Path) -> None:
    """Draw heat maps (F, F) side by side. Rows are queries, columns are keys."""
    from matplotlib.figure import Figure

    side = min(max(4.0, 0.32 * len(fields) + 1.5), LARGEST_SIDE)
    figure = Figure(figsize=((side + 1) * len(panels), side), layout="constrained")
    all_axes: Sequence[Axes] = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, values_ff) in zip(all_axes, panels.items(), strict=True):
        image = axes.imshow(values_ff, cmap="viridis", vmin=0)
        if len(fields) <= NAMED:
            axes.set_xticks(range(len(fields)), fields, rotation=90)
            axes.set_yticks(range(len(fields)), fields)
        axes.set_title(name, fontsize="medium")
        figure.colorbar(image, ax=axes, shrink=0.8)
    if title:
        figure.suptitle(title)
    with replacing(path) as part:
        figure.savefig(part, dpi=120)


def _names(predictor: CTRPredictor) -> tuple[str, ...]:
    return tuple(place.field.name for place in predictor.codebook.places)


def _save_arrays(path: Path, fields: Sequence[str], **arrays: np.ndarray) -> None:
    with replacing(path) as part:
        np.savez_compressed(part, fields=np.array(fields), **arrays)  # type: ignore[arg-type]  # numpy's stub
