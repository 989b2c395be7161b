"""A linear probe: a layer for your own classes or number on the frozen features of a trained model, in seconds.

It is fitted to what the model's own last layer sees (Alain and Bengio 2016, arXiv:1610.01644), and takes the place of
that layer, so that the model is one like any other.

Shapes: N rows, F embedding width, K classes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attn.apps.galaxy.anomaly import ANOMALY
from attn.apps.galaxy.data import GalaxyData, PixelDataset, check_readable, stratified_split
from attn.apps.galaxy.model import Astroformer
from attn.apps.galaxy.number import numbers_of
from attn.apps.galaxy.predict import BUNDLED_MODEL, GalaxyPredictor, load_model
from attn.apps.galaxy.preprocess import to_unit
from attn.apps.galaxy.probe_fit import fit_linear, fit_number
from attn.apps.galaxy.start import SHARED
from attn.apps.galaxy.targets import class_targets
from attn.apps.galaxy.train import measure
from attn.apps.galaxy.train_number import described, measure_number, number_in, number_split
from attn.apps.galaxy.trained import trained_record
from attn.core.errors import TrainingError, UsageError
from attn.core.models import folder as model_folder
from attn.core.models.folder import ModelRecord
from attn.core.training.few import warn_of_few
from attn.core.training.same_run import remember, starting
from attn.data_adapters.images.labelled import LabelledImages

_BATCH = 64


def probe(
    source: LabelledImages,
    out: Path,
    *,
    target: str | None = None,
    start: str | Path | None = None,
    balance: float = 0.0,
    seed: int = 0,
    skip_unreadable: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> ModelRecord:
    """Fit on 80 % of `source`, choose the penalty on a tenth of that, measure on 20 %, and write a model to `out`.

    With `target` the labels of `source` are numbers, the cells of the column of that name. `start` is the model whose
    features are used, the bundled one if None. Rows of a class with share p count p^-`balance` each. `advance` is
    called once a row of training and validation. Raises UsageError for a start that is no trained model, TrainingError
    as `train` and `train_number` do.
    """
    if start in SHARED:
        raise UsageError(f"{start!r} is no trained model, so it has no features to probe", hint="leave --start out")
    with starting(out) as run:
        if (run / "metrics.csv").exists():
            raise TrainingError("holds a run", where=run, hint="use another --out")
        number = None
        if target is None:
            split = stratified_split(source.labels)
            warn_of_few(([(source.labels[i], i) for i in rows] for rows in (split.train, split.validation)), "images")
            targets_nt, fingerprint = class_targets(source.labels, source.classes), source.fingerprint()
        else:
            values_n = numbers_of(source.labels, target)
            split = number_split(values_n)
            number = number_in(values_n[split.train], target)
            targets_nt, fingerprint = torch.from_numpy(values_n)[:, None], described(source, target, values_n)
        remember(run, {"data": fingerprint, "probe": str(start or "bundled"), "balance": balance}, resume=False)
        predictor = GalaxyPredictor.load(start)
        parts = (split.train, split.validation, split.held_out)
        sets = [PixelDataset(source, rows, targets_nt, predictor.preprocessing) for rows in parts]
        skipped = check_readable(sets, skip=skip_unreadable)
        (x_nf, y_nt), (held_mf, held_mt) = (_features(predictor, part, advance) for part in sets[:2])
        if number is None:
            classes = len(source.classes)
            fitted = fit_linear(x_nf, y_nt.argmax(1), held_mf, held_mt.argmax(1), classes, balance)
        else:
            fitted = fit_number(x_nf, y_nt[:, 0], held_mf, held_mt[:, 0], number)
        weight_kf, bias_k, chosen = fitted
    network, before = load_model(start)
    state = network.state_dict() | {"head.classifier.weight": weight_kf, "head.classifier.bias": bias_k}
    config = network.config.model_copy(update={"classes": len(bias_k)})
    answers: dict[str, Any] = {"labels": source.classes}
    if number is not None:
        answers = {"labels": [], "calibration": {"number": number.model_dump()}}
    record = trained_record(
        out,
        config,
        source,
        split,
        GalaxyData(sets[0], sets[1], _BATCH, seed, skipped),
        before=before,
        fingerprint=fingerprint,
        preprocessing=before.preprocessing,
        metrics={"probe": chosen},
        seed=seed,
        **answers,
    )
    model = Astroformer(config)
    model.load_state_dict(state)
    (measure if number is None else measure_number)(GalaxyPredictor(model, record), source, split)
    folder = model_folder.resolve(start, "galaxy", BUNDLED_MODEL)
    files = {ANOMALY: partial(copyfile, folder / ANOMALY)} if ANOMALY in before.files else {}
    if files and "anomaly" in before.calibration:  # the features are the same, and so is what they say of anomalies
        record.calibration["anomaly"] = before.calibration["anomaly"]
    return model_folder.save(out, state, record, files)


def _features(
    predictor: GalaxyPredictor, dataset: PixelDataset, advance: Callable[[], None]
) -> tuple[Float[np.ndarray, "N F"], Float[np.ndarray, "N T"]]:
    """The features (N, F) of all rows, and their targets (N, T)."""
    device = next(predictor.model.parameters()).device
    parts: list[np.ndarray] = []
    targets: list[Tensor] = []
    for first in range(0, len(dataset), _BATCH):
        rows: Sequence[int] = range(first, min(first + _BATCH, len(dataset)))
        examples = [dataset[row] for row in rows]
        x_bchw = to_unit(torch.stack([pixels for pixels, _ in examples]).to(device))
        parts.append(predictor.features(x_bchw)[0].float().cpu().numpy())
        targets += [target_t for _, target_t in examples]
        for _ in rows:
            advance()
    return np.concatenate(parts), torch.stack(targets).numpy()
