"""AutoInt as a scikit-learn classifier of two classes, for pipelines and searches over settings.

>>> CTRClassifier(epochs=5).fit(frame, frame["click"]).predict_proba(later)[:, 1]

Shapes: N rows, M columns.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import polars as pl
from lightning.pytorch.utilities.seed import isolate_rng
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import assert_all_finite
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from attn.apps.ctr.data import INFERRED_ROWS, Clicks, prepare
from attn.apps.ctr.model import preset_named
from attn.apps.ctr.predict import CTRPredictor
from attn.apps.ctr.train import Recipe, train_prepared
from attn.core.training.config import FitConfig
from attn.data_adapters.tables.fields import overridden, override
from attn.data_adapters.tables.frame import frame_table
from attn.data_adapters.tables.guess import infer_fields, require_readable
from attn.data_adapters.tables.open import Table

WHERE = "X"
LABEL, WEIGHT = "label", "weight"


class CTRClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A click model of the rows of a frame.

    X is a polars or pandas frame, or an array (N, M), whose columns are then called x0, x1, ...; cells may be
    missing. What the columns mean is guessed (numbers, categories, sets of values, times), and corrected by `fields`,
    a TOML file as of `attn ctr train --fields`. y has two classes of any kind; the second in sorted order is the
    click.

    validation: share of the rows, drawn evenly from both classes, that ends the training after `patience` epochs
    without improvement (None: 3, for small tables more) and chooses the best epoch. widths, heads: of the interacting
    layers; dnn: width or widths of AutoInt+'s MLP, empty for AutoInt. min_count: rarer values share the unknown vector.
    dropout: of the embeddings; the MLP's is twice that. fields may also be a dict of what the file would have:
    {"price": {"kind": "number"}}. class_weight: as of scikit-learn's classifiers.

    Attributes after `fit`: `classes_`, `n_features_in_`, `feature_names_in_` (for a frame), and `predictor_`, the
    `CTRPredictor`, which `explain` and `export` take.
    """

    def __init__(
        self,
        *,
        epochs: int = 40,
        patience: int | None = None,
        validation: float = 0.1,
        embedding: int = 16,
        widths: Sequence[int] = (32, 32, 32),
        heads: int = 2,
        dnn: int | Sequence[int] = (),
        dropout: float = 0.1,
        learning_rate: float = 2e-3,
        batch_size: int = 1024,
        min_count: int | None = None,
        preset: str = "official",
        fields: str | Path | Mapping[str, Any] | None = None,
        class_weight: str | Mapping[Any, float] | None = None,
        seed: int = 0,
    ) -> None:
        self.epochs = epochs
        self.patience = patience
        self.validation = validation
        self.embedding = embedding
        self.widths = widths
        self.heads = heads
        self.dnn = dnn
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.min_count = min_count
        self.preset = preset
        self.fields = fields
        self.class_weight = class_weight
        self.seed = seed

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on X (N, M) and y (N,); sample_weight (N,): what each row counts for, 0 leaves it out.

        Raises ValueError, as scikit-learn does, for shapes and classes that do not fit; InputError for a column that no
        field can be made of; UsageError for impossible settings; TrainingError when the training fails.
        """
        table = self._table(X, reset=True)
        labels_n = self._labels(y, table.rows())
        weights_n = None
        if sample_weight is not None or self.class_weight is not None:
            weights_n = _check_sample_weight(sample_weight, labels_n, ensure_non_negative=True).astype(np.float64)
            weights_n *= compute_sample_weight(self.class_weight, self.classes_[labels_n])
        clicks = self._clicks(table, labels_n, weights_n)
        settings = preset_named(self.preset) | {
            "embedding": self.embedding,
            "widths": tuple(self.widths),
            "heads": self.heads,
            "dnn": (self.dnn,) if isinstance(self.dnn, int) else tuple(self.dnn),
            "embedding_dropout": self.dropout,
            "dnn_dropout": min(2 * self.dropout, 0.9),
        }
        recipe = Recipe(learning_rate=self.learning_rate, batch_size=self.batch_size)
        fit_config = FitConfig(epochs=self.epochs, patience=self.patience, seed=self.seed, ema_decay=0.999, devices=1)
        with tempfile.TemporaryDirectory() as folder, isolate_rng():
            out = Path(folder) / "CTRClassifier"
            with prepare(clicks, out.parent, least=self.min_count) as data:
                train_prepared(data, clicks.label, out, recipe, fit_config, **settings)
            self.predictor_ = CTRPredictor.load(out)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (N, 2) of `classes_`."""
        check_is_fitted(self)
        predictor = self.predictor_
        parts = [np.zeros(0)]
        for frame in self._table(X, reset=False).batches(predictor.codebook.columns):
            parts.append(predictor.probabilities(predictor.logits(predictor.codebook.encode(frame))))
        p_n = np.concatenate(parts)
        return np.stack([1 - p_n, p_n], 1)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithms (N, 2) of the probabilities."""
        return cast(np.ndarray, np.log(self.predict_proba(X)))

    def decision_function(self, X: Any) -> np.ndarray:
        """Calibrated logits (N,) of the second class."""
        p_n2 = self.predict_proba(X)
        logits_n: np.ndarray = np.log(p_n2[:, 1]) - np.log(p_n2[:, 0])
        return logits_n

    def predict(self, X: Any) -> np.ndarray:
        """The likelier class (N,) of each row."""
        likelier_n = self.predict_proba(X).argmax(1)
        return cast(np.ndarray, self.classes_[likelier_n])

    def _table(self, X: Any, *, reset: bool) -> Table:
        """X as a table with the columns of `fit`, checked as scikit-learn checks it."""
        if isinstance(X, pl.LazyFrame):
            X = X.collect()
        if hasattr(X, "columns"):
            X = validate_data(self, X, reset=reset, skip_check_array=True)
        else:
            X = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=False)
        return frame_table(X, WHERE)

    def _labels(self, y: Any, rows: int) -> np.ndarray:
        """y as 0 and 1 (N,), by `classes_`."""
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        y_n = column_or_1d(y, warn=True)
        check_consistent_length(range(rows), y_n)
        assert_all_finite(y_n, input_name="y")
        check_classification_targets(y_n)
        self.classes_, labels_n = np.unique(y_n, return_inverse=True)
        if len(self.classes_) > 2:
            kind = type_of_target(y_n)
            raise ValueError(f"Only binary classification is supported. The type of the target is {kind}.")
        if len(self.classes_) < 2:
            raise ValueError("Two classes are needed to learn from, but y has only 1 class")
        if np.bincount(labels_n).min() < 2:
            raise ValueError("Two rows of each class are needed: one to learn from, one to stop by")
        return labels_n

    def _clicks(self, table: Table, labels_n: np.ndarray, weights_n: np.ndarray | None) -> Clicks:
        label, weight = LABEL, WEIGHT
        while label in table.columns:
            label += "_"
        while weight in table.columns:
            weight += "_"
        whole = table.head(table.rows()).with_columns(pl.Series(label, labels_n))
        sample = whole.head(INFERRED_ROWS)
        fields = infer_fields(table, label, sample)
        if self.fields is not None:
            if isinstance(self.fields, Mapping):
                fields = overridden(fields, self.fields, "fields", table.columns)
            else:
                fields = override(fields, Path(self.fields), table.columns)
        require_readable(fields, sample, WHERE)
        if weights_n is not None:
            whole = whole.with_columns(pl.Series(weight, weights_n)).filter(pl.col(weight) > 0)
            labels_n = labels_n[weights_n > 0]
            if np.bincount(labels_n, minlength=2).min() < 2:
                raise ValueError("Two rows of each class need a weight above 0, to learn from and to stop by")
        validation_n = _drawn(labels_n, self.validation, self.seed)
        learned, validation = (
            frame_table(whole.filter(pl.Series(rows_n)), WHERE) for rows_n in (~validation_n, validation_n)
        )
        return Clicks(
            learned, label, tuple(fields), validation=validation, weight=None if weights_n is None else weight
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        tags.input_tags.string = tags.input_tags.categorical = True
        return tags


def _drawn(labels_n: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which rows (N,) stop the training: a share of each class, at least one row and not all."""
    random = np.random.default_rng(seed)
    drawn_n = np.zeros(len(labels_n), bool)
    for label in (0, 1):
        rows = random.permutation(np.flatnonzero(labels_n == label))
        drawn_n[rows[: min(max(1, round(share * len(rows))), len(rows) - 1)]] = True
    return drawn_n
