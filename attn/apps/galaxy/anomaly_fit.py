"""Fit the anomaly of a model: measures of galaxies, as they are and as elsewhere, against those of what is no galaxy.

Shapes: N and L pictures, M measures.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from attn.apps.galaxy.anomaly import ANOMALY, FALSE_ALARMS, Anomaly, products
from attn.apps.galaxy.data import Split
from attn.apps.galaxy.negatives import KINDS, Display, as_elsewhere, picture
from attn.apps.galaxy.predict import GalaxyPredictor
from attn.core.errors import AttnError
from attn.core.models import folder as model_folder
from attn.core.models.folder import ModelRecord
from attn.data_adapters.images.labelled import LabelledImages
from attn.data_adapters.sky.looks import looks
from attn.data_adapters.sky.stretch import Stretch

MOST_GALAXIES = 1500
MOST_DRAWN = 100  # of each kind, and no more than a quarter of the galaxies: a small set needs no more
FEWEST_SCORES = 100  # that the threshold is a quantile of: galaxies of a small set are shown in more ways
FEWEST_TIMES = 2  # that each of those galaxies is shown as elsewhere
PENALTY = 0.1  # C of scikit-learn
MOST_STEPS = 500  # of the fit


def fit_anomaly(
    stretch: Stretch,
    source: LabelledImages,
    train: Sequence[int],
    held_out: Sequence[int],
    *,
    extra: LabelledImages | None = None,
    seed: int = 0,
) -> tuple[Anomaly, dict[str, Any]]:
    """The anomaly of a model with this `stretch`, fitted to the rows `train` of `source`, calibrated on `held_out`.

    `extra` are further images of the training. Galaxies and drawn pictures of KINDS are shown as they are and as
    elsewhere alike, so that how a survey shows things is no sign of either. Also gives what a model's record says of
    the fit. Rows that cannot be read are left out.
    """
    draw = np.random.default_rng(seed)
    chosen = draw.permutation(np.asarray(train))[:MOST_GALAXIES].tolist()
    held_out = held_out[:MOST_GALAXIES]  # a split has shuffled them
    drawn = min(MOST_DRAWN, max(4, len(chosen) // 4))
    galaxies = [shown(stretch, source, chosen, draw)]
    if extra is not None:
        further = draw.permutation(len(extra.labels))[:MOST_GALAXIES].tolist()
        galaxies.append(shown(stretch, extra, further, draw))
        chosen = [*chosen, *further]  # another list: the rows of `source` are still to be read
    galaxies_nm = measured(chain.from_iterable(galaxies))
    others_lm = np.concatenate([measured_others(kind, range(seed * drawn, (seed + 1) * drawn), draw) for kind in KINDS])
    times = -(-FEWEST_SCORES // max(len(held_out), 1)) - 1
    held_nm = measured(shown(stretch, source, held_out, draw, max(FEWEST_TIMES, times)))
    facts = {
        "false_alarms": FALSE_ALARMS,
        "fitted_on": f"{len(chosen)} training rows and {len(others_lm) // 2} drawn pictures of no galaxy",
        "calibrated_on": f"{len(held_out)} validation rows in {len(held_nm)} pictures, as they are and as elsewhere",
    }
    return against(galaxies_nm, others_lm, held_nm), facts


def save_with_anomaly(
    out: Path,
    state: Mapping[str, Tensor],
    predictor: GalaxyPredictor,
    source: LabelledImages,
    split: Split,
    extra: LabelledImages | None = None,
) -> ModelRecord:
    """Fit the anomaly of a trained model to the rows of its training, and write both to `out`."""
    record, stretch = predictor.record, predictor.preprocessing.stretch
    anomaly, facts = fit_anomaly(stretch, source, split.train, split.validation, extra=extra, seed=record.seed or 0)
    record.calibration["anomaly"] = facts
    return model_folder.save(out, state, record, {ANOMALY: anomaly.save})


def against(
    galaxies_nm: Float[np.ndarray, "N M"], others_lm: Float[np.ndarray, "L M"], held_nm: Float[np.ndarray, "N2 M"]
) -> Anomaly:
    """The regression of others against galaxies, and the threshold that FALSE_ALARMS of held-out ones exceed."""
    mean_m = galaxies_nm.mean(0, dtype=np.float64).astype(np.float32)
    deviation_m = (galaxies_nm.std(0) + 1e-3).astype(np.float32)
    x_nq = products(np.concatenate([galaxies_nm, others_lm]), mean_m, deviation_m)
    no_galaxy_n = np.repeat([0, 1], [len(galaxies_nm), len(others_lm)])
    scale_q = x_nq.std(0) + 1e-3
    regression = LogisticRegression(C=PENALTY, max_iter=MOST_STEPS, class_weight="balanced")
    with warnings.catch_warnings():  # of measures that tell the two apart without an error
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit((x_nq - x_nq.mean(0)) / scale_q, no_galaxy_n)
    weight_q = (regression.coef_[0] / scale_q).astype(np.float32)
    held_n = products(held_nm, mean_m, deviation_m) @ weight_q
    return Anomaly(mean_m, deviation_m, weight_q, np.asarray(np.quantile(held_n, 1 - FALSE_ALARMS), np.float32))


def measured(pictures: Iterable[Display]) -> Float[np.ndarray, "N M"]:
    """What is measured in display pixels (H, W, 3), one in memory at a time."""
    return np.array([looks(pixels).measures for pixels in pictures])


def measured_others(kind: str, seeds: Iterable[int], draw: np.random.Generator) -> Float[np.ndarray, "L M"]:
    """What is measured in drawn pictures of no galaxy, in each as it is and as elsewhere."""
    pictures = (picture(kind, seed) for seed in seeds)
    return measured(chain.from_iterable((each, as_elsewhere(each, draw)) for each in pictures))


def shown(
    stretch: Stretch, source: LabelledImages, rows: Iterable[int], draw: np.random.Generator, times: int = 1
) -> Iterator[Display]:
    """Each of the rows that can be read, as it is and then `times` as elsewhere."""
    for row in rows:
        with suppress(AttnError):
            pixels = source.read(row, stretch).pixels
            yield from chain([pixels], (as_elsewhere(pixels, draw) for _ in range(times)))
