"""Fit the anomaly of a model: its features of galaxies, as they are and as elsewhere, against what is no galaxy.

Shapes: N and M pictures, H height, W width, F embedding width.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from attn.apps.galaxy.anomaly import ANOMALY, FALSE_ALARMS, Anomaly
from attn.apps.galaxy.data import Split
from attn.apps.galaxy.negatives import KINDS, Display, as_elsewhere, picture
from attn.apps.galaxy.predict import GalaxyPredictor
from attn.core.errors import AttnError
from attn.core.models import folder as model_folder
from attn.core.models.folder import ModelRecord
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.images.labelled import LabelledImages

MOST_GALAXIES = 3000
MOST_DRAWN = 200  # of each kind, and no more than a quarter of the galaxies: a small set needs no more
FEWEST_SCORES = 100  # that the threshold is a quantile of: galaxies of a small set are shown in more ways
PENALTY = 1.0  # C of scikit-learn
MOST_STEPS = 500  # of the fit
_BATCH = 64


def fit_anomaly(
    predictor: GalaxyPredictor,
    source: LabelledImages,
    train: Sequence[int],
    held_out: Sequence[int],
    *,
    extra: LabelledImages | None = None,
    seed: int = 0,
) -> tuple[Anomaly, dict[str, Any]]:
    """The anomaly of a model, fitted to the rows `train` of `source` and calibrated on those of `held_out`.

    `extra` are further images of the training. Each galaxy is shown as it is and as elsewhere; against them stand drawn
    pictures of KINDS. Also gives what a model's record says of the fit. Rows that cannot be read are left out.
    """
    draw = np.random.default_rng(seed)
    chosen = draw.permutation(np.asarray(train))[:MOST_GALAXIES].tolist()
    held_out = held_out[:MOST_GALAXIES]  # a split has shuffled them
    drawn = min(MOST_DRAWN, max(4, len(chosen) // 4))
    galaxies = [shown(predictor, source, chosen, draw)]
    if extra is not None:
        further = draw.permutation(len(extra.labels))[:MOST_GALAXIES].tolist()
        galaxies.append(shown(predictor, extra, further, draw))
        chosen = [*chosen, *further]  # another list: the rows of `source` are still to be read
    galaxies_nf = features(predictor, chain.from_iterable(galaxies))
    others = (picture(kind, number + seed * MOST_DRAWN) for kind in KINDS for number in range(drawn))
    others_nf = features(predictor, others)
    weight = against(galaxies_nf, others_nf)
    times = -(-FEWEST_SCORES // max(len(held_out), 1)) - 1
    held_nf = features(predictor, shown(predictor, source, held_out, draw, max(1, times)))
    score_n = held_nf @ weight.float().numpy()  # of the rounded weights
    threshold = torch.tensor(float(np.quantile(score_n, 1 - FALSE_ALARMS)), dtype=torch.float32)
    facts = {
        "false_alarms": FALSE_ALARMS,
        "fitted_on": f"{len(chosen)} training rows and {len(others_nf)} drawn pictures of no galaxy",
        "calibrated_on": f"{len(held_out)} validation rows in {len(held_nf)} pictures, as they are and as elsewhere",
    }
    return Anomaly(weight, threshold), facts


def save_with_anomaly(
    out: Path,
    state: Mapping[str, Tensor],
    predictor: GalaxyPredictor,
    source: LabelledImages,
    split: Split,
    extra: LabelledImages | None = None,
) -> ModelRecord:
    """Fit the anomaly of a trained model to the rows of its training, and write both to `out`."""
    record = predictor.record
    anomaly, facts = fit_anomaly(predictor, source, split.train, split.validation, extra=extra, seed=record.seed or 0)
    record.calibration["anomaly"] = facts
    return model_folder.save(out, state, record, {ANOMALY: anomaly.save})


def against(galaxies_nf: Float[np.ndarray, "N F"], others_nf: Float[np.ndarray, "M F"]) -> Float[Tensor, " F"]:
    """The weights (F,) of the regression of others against galaxies, for features as they are, in half precision."""
    x_nf = np.concatenate([galaxies_nf, others_nf])
    no_galaxy_n = np.repeat([0, 1], [len(galaxies_nf), len(others_nf)])
    mean_f, deviation_f = x_nf.mean(0), x_nf.std(0) + 1e-3
    regression = LogisticRegression(C=PENALTY, max_iter=MOST_STEPS, class_weight="balanced")
    with warnings.catch_warnings():  # of features that tell the two apart without an error
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit((x_nf - mean_f) / deviation_f, no_galaxy_n)
    return torch.from_numpy(regression.coef_[0] / deviation_f).half()


def features(predictor: GalaxyPredictor, pictures: Iterable[Display]) -> Float[np.ndarray, "N F"]:
    """The model's features of display pixels (H, W, 3), a batch in memory at a time."""
    parts, waiting = [], iter(pictures)
    while batch := list(islice(waiting, _BATCH)):
        x_bchw = predictor.tensor([Cutout(id="", pixels=pixels) for pixels in batch])
        parts.append(predictor.features(x_bchw)[0].float().cpu().numpy())
    return np.concatenate(parts)


def shown(
    predictor: GalaxyPredictor,
    source: LabelledImages,
    rows: Iterable[int],
    draw: np.random.Generator,
    times: int = 1,
) -> Iterator[Display]:
    """Each of the rows that can be read, as it is and then `times` as elsewhere."""
    for row in rows:
        with suppress(AttnError):
            pixels = source.read(row, predictor.preprocessing.stretch).pixels
            yield from chain([pixels], (as_elsewhere(pixels, draw) for _ in range(times)))
