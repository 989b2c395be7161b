"""AutoInt as a scikit-learn classifier of two classes, for pipelines and searches over settings.

>>> CTRClassifier(epochs=5).fit(frame, frame["click"]).predict_proba(later)[:, 1]

Shapes: N rows, M columns.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
import polars as pl
from lightning.pytorch.utilities.seed import isolate_rng
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils import assert_all_finite
from sklearn.utils._param_validation import Interval, StrOptions
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
from attn.apps.ctr.folder import save_model
from attn.apps.ctr.model import PRESETS, preset_named
from attn.apps.ctr.predict import CTRPredictor
from attn.apps.ctr.train import Recipe, train_prepared
from attn.core.errors import InputError, ModelError, UsageError
from attn.core.models.threads import one_thread
from attn.core.training.config import FitConfig
from attn.data_adapters.tables.fields import overridden, override
from attn.data_adapters.tables.frame import frame_table
from attn.data_adapters.tables.guess import infer_fields, require_readable
from attn.data_adapters.tables.open import Table

WHERE = "X"
LABEL, WEIGHT = "label", "weight"
SAVED = "estimator"  # what a saved estimator's record has besides a model's
WHOLE = Interval(Integral, 1, None, closed="left")


@contextmanager
def as_value_errors() -> Iterator[None]:
    """What is wrong with X, y or a setting is a ValueError, for those who catch scikit-learn's."""
    try:
        yield
    except (InputError, UsageError) as error:
        raise ValueError(str(error)) from error


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
    {"price": {"kind": "number"}}. class_weight: as of scikit-learn's classifiers. warm_start: another `fit` begins from
    the weights and the values that the last one learned, and its columns keep their meaning.

    Attributes after `fit`: `classes_`, `n_features_in_`, `feature_names_in_` (for a frame), and `predictor_`, the
    `CTRPredictor`, which `explain` and `export` take.

    The columns of a frame are found by their names, in any order. Training uses one thread of the CPU, so that searches
    with `n_jobs` do not fight for cores.
    """

    classes_: np.ndarray
    predictor_: CTRPredictor
    _parameter_constraints: ClassVar = {
        "epochs": [WHOLE],
        "patience": [WHOLE, None],
        "validation": [Interval(Real, 0, 1, closed="neither")],
        "embedding": [WHOLE],
        "widths": ["array-like"],
        "heads": [WHOLE],
        "dnn": [WHOLE, "array-like"],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [WHOLE],
        "min_count": [WHOLE, None],
        "preset": [StrOptions(set(PRESETS))],
        "fields": [str, Path, Mapping, None],
        "class_weight": [StrOptions({"balanced"}), Mapping, None],
        "warm_start": ["boolean"],
        "seed": [Interval(Integral, 0, None, closed="left")],
    }

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
        warm_start: bool = False,
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
        self.warm_start = warm_start
        self.seed = seed

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    @as_value_errors()
    def fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: tuple[Any, Any] | None = None) -> Self:
        """Train on X (N, M) and y (N,); sample_weight (N,): what each row counts for, 0 leaves it out.

        eval_set: X and y of other rows, that end the training instead of a share of these.

        Raises ValueError, as scikit-learn does, for shapes and classes that do not fit, for a column that no field can
        be made of and for impossible settings; TypeError for sparse X; TrainingError when the training fails.
        """
        start = self._start()
        table = self._table(X, reset=start is None)
        labels_n = self._labels(y, table.rows(), known=start is not None)
        weights_n = None
        if sample_weight is not None or self.class_weight is not None:
            weights_n = _check_sample_weight(sample_weight, labels_n, ensure_non_negative=True).astype(np.float64)
            weights_n *= compute_sample_weight(self.class_weight, self.classes_[labels_n])
        clicks = self._clicks(table, labels_n, weights_n, eval_set, start)
        own = self._settings()
        settings = preset_named(self.preset) | {
            "embedding": own["embedding"],
            "widths": tuple(own["widths"]),
            "heads": own["heads"],
            "dnn": (own["dnn"],) if isinstance(own["dnn"], int) else tuple(own["dnn"]),
            "embedding_dropout": own["dropout"],
            "dnn_dropout": min(2 * own["dropout"], 0.9),
        }
        recipe = Recipe(learning_rate=own["learning_rate"], batch_size=own["batch_size"])
        chosen = {name: own[name] for name in ("epochs", "patience", "seed")}
        fit_config = FitConfig(**chosen, ema_decay=0.999, devices=1)
        with tempfile.TemporaryDirectory() as folder, isolate_rng(), one_thread():
            out = Path(folder) / "CTRClassifier"
            before = None if start is None else start.codebook
            with prepare(clicks, out.parent, least=self.min_count, before=before) as data:
                train_prepared(data, clicks.label, out, recipe, fit_config, start=start, curves=False, **settings)
            self.predictor_ = CTRPredictor.load(out)
        return self

    @as_value_errors()
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

    def save(self, folder: str | Path) -> None:
        """Write a model folder, which `load` and the `attn ctr` commands read."""
        check_is_fitted(self)
        settings = self._settings()
        if isinstance(self.class_weight, Mapping):
            settings["class_weight"] = [list(pair) for pair in settings["class_weight"].items()]
        if isinstance(self.fields, Path):
            settings["fields"] = str(self.fields)
        own = {"settings": settings, "classes": self.classes_.tolist(), "named": hasattr(self, "feature_names_in_")}
        predictor = self.predictor_
        record = predictor.record.model_copy(
            update={"name": Path(folder).resolve().name, "preprocessing": predictor.record.preprocessing | {SAVED: own}}
        )
        save_model(Path(folder), predictor.model.state_dict(), record, predictor.codebook)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The estimator that `save` wrote, with its settings. Raises ModelError."""
        predictor = CTRPredictor.load(folder)
        try:
            own = predictor.record.preprocessing[SAVED]
            settings = dict(own["settings"])
            if isinstance(settings["class_weight"], list):
                settings["class_weight"] = dict(settings["class_weight"])
            estimator = cls(**settings)
            estimator.classes_ = np.array(own["classes"])
            named = own["named"]
        except (TypeError, KeyError, ValueError) as error:
            raise ModelError("was not saved by a CTRClassifier", where=folder) from error
        if estimator.classes_.shape != (2,):
            raise ModelError("was not saved by a CTRClassifier of two classes", where=folder)
        others = {predictor.label, predictor.record.data.get("weight")}
        columns = [name for name in predictor.record.preprocessing["columns"] if name not in others]
        if named:
            estimator.feature_names_in_ = np.array(columns, object)
        estimator.n_features_in_ = len(columns)
        estimator.predictor_ = predictor
        return estimator

    def _settings(self) -> dict[str, Any]:
        """The parameters, numpy's numbers and arrays as Python's."""
        return {name: _plain(each) for name, each in self.get_params().items()}

    def _start(self) -> CTRPredictor | None:
        """The model that a warm start begins from, on the CPU."""
        if not self.warm_start or not hasattr(self, "predictor_"):
            return None
        last = self.predictor_
        return CTRPredictor(deepcopy(last.model).cpu(), last.codebook, last.record)

    def _table(self, X: Any, *, reset: bool) -> Table:
        """X as a table with the columns of `fit`, checked as scikit-learn checks it, but in any order."""
        if isinstance(X, pl.LazyFrame):
            X = X.collect()
        if hasattr(X, "columns"):
            names = [] if reset else list(getattr(self, "feature_names_in_", []))
            if len(names) == len(X.columns) and set(names) == set(X.columns):
                X = X[names]
            X = validate_data(self, X, reset=reset, skip_check_array=True)
        else:
            X = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=False)
        return frame_table(X, WHERE)

    def _labels(self, y: Any, rows: int, *, known: bool) -> np.ndarray:
        """y as 0 and 1 (N,), by `classes_`, which are those of y unless they are known."""
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        y_n = column_or_1d(y, warn=True)
        check_consistent_length(range(rows), y_n)
        assert_all_finite(y_n, input_name="y")
        check_classification_targets(y_n)
        classes = np.unique(y_n)
        if known:
            if strange := set(classes.tolist()) - set(self.classes_.tolist()):
                raise ValueError(f"y has the class {strange.pop()!r}, but the classes are {self.classes_.tolist()}")
            return np.unique(np.concatenate([self.classes_, y_n]), return_inverse=True)[1][2:]
        if len(classes) > 2:
            kind = type_of_target(y_n)
            raise ValueError(f"Only binary classification is supported. The type of the target is {kind}.")
        if len(classes) < 2:
            raise ValueError("Two classes are needed to learn from, but y has only 1 class")
        self.classes_, labels_n = np.unique(y_n, return_inverse=True)
        return labels_n

    def _clicks(
        self,
        table: Table,
        labels_n: np.ndarray,
        weights_n: np.ndarray | None,
        eval_set: tuple[Any, Any] | None,
        start: CTRPredictor | None,
    ) -> Clicks:
        """The rows to learn from and those to stop by."""
        label, weight = LABEL, WEIGHT
        while label in table.columns:
            label += "_"
        while weight in table.columns:
            weight += "_"
        whole = table.head(table.rows()).with_columns(pl.Series(label, labels_n))
        sample = whole.head(INFERRED_ROWS)
        fields = infer_fields(table, label, sample) if start is None else list(start.codebook.fields)
        if isinstance(self.fields, Mapping):
            fields = overridden(fields, self.fields, "fields", table.columns)
        elif self.fields is not None:
            fields = override(fields, Path(self.fields), table.columns)
        require_readable(fields, sample, WHERE)
        if weights_n is not None:
            whole = whole.with_columns(pl.Series(weight, weights_n)).filter(pl.col(weight) > 0)
            labels_n = labels_n[weights_n > 0]
        if eval_set is None:
            if np.bincount(labels_n, minlength=2).min() < 2:
                raise ValueError("Two rows of each class with a weight are needed: one to learn from, one to stop by")
            drawn_n = pl.Series(_drawn(labels_n, self.validation, self.seed))
            learned, stopping = (frame_table(whole.filter(rows_n), WHERE) for rows_n in (~drawn_n, drawn_n))
        else:
            learned, stopping = frame_table(whole, WHERE), self._stopping(eval_set, label, weights_n, weight)
        return Clicks(learned, label, tuple(fields), validation=stopping, weight=None if weights_n is None else weight)

    def _stopping(self, eval_set: Any, label: str, weights_n: np.ndarray | None, weight: str) -> Table:
        """X and y of other rows as a table; a list of one such pair, as other libraries take it, is one too."""
        pair = eval_set[0] if isinstance(eval_set, list) and len(eval_set) == 1 else eval_set
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError("eval_set is not a pair of X and y")
        table = self._table(pair[0], reset=False)
        labels_n = self._labels(pair[1], table.rows(), known=True)
        if np.bincount(labels_n, minlength=2).min() < 1:
            raise ValueError("eval_set has rows of one class only")
        columns = [pl.Series(label, labels_n)]
        if weights_n is not None:
            columns.append(pl.Series(weight, compute_sample_weight(self.class_weight, self.classes_[labels_n])))
        return frame_table(table.head(table.rows()).with_columns(columns), "eval_set")

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


def _plain(x: Any) -> Any:
    """Numbers and arrays of numpy, wherever they are, as Python's."""
    if isinstance(x, np.generic | np.ndarray):
        return x.tolist()
    if isinstance(x, Mapping):
        return {_plain(key): _plain(each) for key, each in x.items()}
    return [_plain(each) for each in x] if isinstance(x, list | tuple) else x
