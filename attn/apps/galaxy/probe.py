"""A linear probe: a classifier for your own classes on the frozen features of a trained model, in seconds.

Logistic regression on what the model's own classifier sees (Alain and Bengio 2016, arXiv:1610.01644). It takes the
place of that classifier, so that the model is one like any other.

Shapes: N rows, F embedding width, K classes.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from attn.apps.galaxy.anomaly import ANOMALY
from attn.apps.galaxy.data import PixelDataset, check_readable, stratified_split
from attn.apps.galaxy.model import Astroformer
from attn.apps.galaxy.predict import BUNDLED_MODEL, GalaxyPredictor, load_model
from attn.apps.galaxy.preprocess import to_unit
from attn.apps.galaxy.start import SHARED
from attn.apps.galaxy.targets import class_targets
from attn.apps.galaxy.train import measure
from attn.core.errors import TrainingError, UsageError
from attn.core.models import folder as model_folder
from attn.core.models.folder import ModelRecord
from attn.core.models.record import licence_after
from attn.core.models.used import used_by
from attn.core.training.few import warn_of_few
from attn.core.training.same_run import remember, starting
from attn.data_adapters.images.labelled import LabelledImages

PENALTIES = tuple(10.0**power for power in range(-4, 3))
"""C of scikit-learn, from the strongest penalty to the weakest; the validation rows choose."""
MOST_STEPS = 300  # of a fit
ABSENT = -30.0  # the logit of a class without a training row
_BATCH = 64


def probe(
    source: LabelledImages,
    out: Path,
    *,
    start: str | Path | None = None,
    balance: float = 0.0,
    seed: int = 0,
    skip_unreadable: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> ModelRecord:
    """Fit on 80 % of `source`, choose the penalty on a tenth of that, measure on 20 %, and write a model to `out`.

    `start` is the model whose features are used, the bundled one if None. Rows of a class with share p count
    p^-`balance` each. `advance` is called once a row of training and validation. Raises UsageError for a start that is
    no trained model, TrainingError as `train` does.
    """
    if start in SHARED:
        raise UsageError(f"{start!r} is no trained model, so it has no features to probe", hint="leave --start out")
    with starting(out) as run:
        if (run / "metrics.csv").exists():
            raise TrainingError("holds a run", where=run, hint="use another --out")
        split = stratified_split(source.labels)
        warn_of_few(([(source.labels[i], i) for i in rows] for rows in (split.train, split.validation)), "images")
        fingerprint = source.fingerprint()
        remember(run, {"data": fingerprint, "probe": str(start or "bundled"), "balance": balance}, resume=False)
        predictor = GalaxyPredictor.load(start)
        targets_nk = class_targets(source.labels, source.classes)
        parts = (split.train, split.validation, split.held_out)
        sets = [PixelDataset(source, rows, targets_nk, predictor.preprocessing) for rows in parts]
        skipped = check_readable(sets, skip=skip_unreadable)
        x_nf, y_n = _features(predictor, sets[0], advance)
        held_nf, held_n = _features(predictor, sets[1], advance)
        weight_kf, bias_k, chosen = fit_linear(x_nf, y_n, held_nf, held_n, len(source.classes), balance)
    network, before = load_model(start)
    state = network.state_dict() | {"head.classifier.weight": weight_kf, "head.classifier.bias": bias_k}
    config = network.config.model_copy(update={"classes": len(source.classes)})
    record = ModelRecord(
        app="galaxy",
        name=out.resolve().name,
        architecture=config.model_dump(mode="json"),
        labels=source.classes,
        preprocessing=before.preprocessing,
        data=fingerprint
        | {"trained_on": len(sets[0]), "held_out": [source.ids[row] for row in split.held_out]}
        | used_by(before, train=sets[0].hashes(), validation=sets[1].hashes())
        | ({"skipped": skipped} if skipped else {}),
        metrics={"probe": chosen},
        licence=licence_after(before),
        seed=seed,
    )
    model = Astroformer(config)
    model.load_state_dict(state)
    measure(GalaxyPredictor(model, record), source, split)
    folder = model_folder.resolve(start, "galaxy", BUNDLED_MODEL)
    files = {ANOMALY: partial(copyfile, folder / ANOMALY)} if ANOMALY in before.files else {}
    if files and "anomaly" in before.calibration:  # the features are the same, and so is what they say of anomalies
        record.calibration["anomaly"] = before.calibration["anomaly"]
    return model_folder.save(out, state, record, files)


def fit_linear(
    x_nf: Float[np.ndarray, "N F"],
    y_n: Int[np.ndarray, " N"],
    held_nf: Float[np.ndarray, "M F"],
    held_n: Int[np.ndarray, " M"],
    classes: int,
    balance: float = 0.0,
) -> tuple[Float[Tensor, "K F"], Float[Tensor, " K"], dict[str, Any]]:
    """Weights (K, F) and biases (K,) for features as they are, and the penalty with its loss on the held-out rows."""
    mean_f, deviation_f = x_nf.mean(0), x_nf.std(0) + 1e-3
    known, count = np.unique(y_n, return_counts=True)
    counts_k = np.zeros(classes)
    counts_k[known] = count
    weights_n = (counts_k[y_n] / len(y_n)) ** -balance
    best: tuple[float, float, Tensor, Tensor] | None = None
    for penalty in PENALTIES:
        regression = LogisticRegression(C=penalty, max_iter=MOST_STEPS)
        with warnings.catch_warnings():  # one that stops early is a candidate like the others
            warnings.simplefilter("ignore", ConvergenceWarning)
            regression.fit((x_nf - mean_f) / deviation_f, y_n, weights_n)
        coefficients_kf, bias_k = regression.coef_, regression.intercept_
        if len(known) == 2:  # scikit-learn keeps one row then, that of the second class
            coefficients_kf = np.concatenate([0 * coefficients_kf, coefficients_kf])
            bias_k = np.concatenate([0 * bias_k, bias_k])
        weight_kf, all_k = torch.zeros(classes, x_nf.shape[1]), torch.full((classes,), ABSENT)
        weight_kf[known] = torch.from_numpy(coefficients_kf / deviation_f).float()
        all_k[known] = torch.from_numpy(bias_k - (coefficients_kf / deviation_f) @ mean_f).float()
        logits_mk = torch.from_numpy(held_nf).float() @ weight_kf.T + all_k
        loss = float(torch.nn.functional.cross_entropy(logits_mk, torch.from_numpy(held_n)))
        if best is None or loss < best[0]:
            best = loss, penalty, weight_kf, all_k
    assert best is not None
    return best[2], best[3], {"penalty": best[1], "validation_loss": best[0]}


def _features(
    predictor: GalaxyPredictor, dataset: PixelDataset, advance: Callable[[], None]
) -> tuple[Float[np.ndarray, "N F"], Int[np.ndarray, " N"]]:
    """The features (N, F) of all rows, and their class numbers (N,)."""
    device = next(predictor.model.parameters()).device
    parts, targets = [], []
    for first in range(0, len(dataset), _BATCH):
        rows: Sequence[int] = range(first, min(first + _BATCH, len(dataset)))
        examples = [dataset[row] for row in rows]
        x_bchw = to_unit(torch.stack([pixels for pixels, _ in examples]).to(device))
        parts.append(predictor.features(x_bchw)[0].float().cpu().numpy())
        targets += [int(target_k.argmax()) for _, target_k in examples]
        for _ in rows:
            advance()
    return np.concatenate(parts), np.array(targets)
