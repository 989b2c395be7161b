"""Fit the gate of a model: to frontal chests, to what is made of them, and to other images where there are some.

Shapes: N images, S model side, D features, K kinds, G scores.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from attn.apps.chest.gate import KINDS, Gate, grid_features
from attn.apps.chest.model import Medusa
from attn.apps.chest.negatives import Picture, form, jittered, spoiled
from attn.apps.chest.preprocess import Preprocessing
from attn.apps.chest.read import Reading
from attn.core.training.pixels import CachedPixels
from attn.data_adapters.dicom.radiograph import NotAnImageError, Radiograph
from attn.data_adapters.dicom.studies import list_entries

REFUSED = 0.01
"""Share of the frontal chests of hospitals that a fit has not seen that may get a flag, over all scores."""
MOST_FRONTAL = 2000
SPOILED = 500  # frontal chests of which the other kinds are made; of all there is a mirrored one
FORMS = 100
COPIES = 8  # jittered pictures of each image of another kind that was given
AXES = 64
PENALTY = 0.003  # scikit-learn's C: features are many, and images of other kinds few
FOLDS = 4
NEVER = -1e4  # the logit of a kind that has no example
BATCH = 64
KIND_NUMBER = {kind: number for number, kind in enumerate(KINDS)}


class Pictures(Protocol):
    """Pictures (S, S) by number, which need not be in memory all at once."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Picture: ...


class WholePictures:
    """The pictures of a training at the model's side S, in float32 from 0 to 1."""

    def __init__(self, dataset: CachedPixels, side: int) -> None:
        self.dataset, self.side = dataset, side

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> Picture:
        pixels_ww = self.dataset[number][0].numpy().astype(np.float32) / 255
        return Preprocessing(side=self.side).pixels(Radiograph("", pixels_ww))


def fit_gate(
    model: Medusa,
    frontal: Pictures,
    hospitals: Sequence[str],
    others: Mapping[str, Sequence[Picture]] | None = None,
    *,
    seed: int = 0,
) -> Gate:
    """The gate of `model` for `frontal` chests (S, S) as the model sees them.

    `hospitals` (N,) say where each is from: thresholds are those of images whose hospital a fit has not seen, or, when
    there is one hospital only, of images that a fit has not seen. `others` are images of further kinds.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(frontal))[:MOST_FRONTAL]).tolist()
    places = [hospitals[row] for row in chosen]
    if len({*places}) == 1:
        places = [f"fold {number % FOLDS}" for number in range(len(places))]
    kinds, origins = [], []

    def pictures() -> Iterator[Picture]:
        for kind, place, picture in _examples((frontal[row] for row in chosen), places, others or {}, seed):
            kinds.append(KIND_NUMBER[kind])
            origins.append(place)
            yield picture

    features_nd = map_features(model.eval(), pictures())
    kind_n, place_n, unseen = np.array(kinds), np.array(origins), []
    for place in sorted({*places}):
        there_n = place_n == place
        gate = _fitted(features_nd[~there_n], kind_n[~there_n])
        unseen.append(gate.raw(torch.from_numpy(features_nd[there_n & (kind_n == 0)])).numpy())
    gate = _fitted(features_nd, kind_n)
    gate.thresholds = torch.from_numpy(thresholds(unseen))
    return gate


def read_others(folder: Path, preprocessing: Preprocessing) -> dict[str, list[Picture]]:
    """The images of a folder that are no frontal chests, by kind; those in a folder called `lateral` are laterals.

    Raises InputError for a file that cannot be read; what holds no image, such as a table, is passed over.
    """
    found: dict[str, list[Picture]] = {"lateral": [], "other": []}
    reading = Reading()
    for entry in list_entries([str(folder)]):
        kind = "lateral" if "lateral" in entry.path.relative_to(folder).parts[:-1] else "other"
        with suppress(NotAnImageError):
            found[kind] += [preprocessing.pixels(radiograph) for radiograph in reading.frames(entry)]
    return found


def thresholds(unseen: Sequence[Float[np.ndarray, "M G"]]) -> Float[np.ndarray, " G"]:
    """The thresholds of the scores, from those of frontal chests of several hospitals before any threshold.

    Every score may flag an equal part of REFUSED in each of them. A margin's threshold is not below 0, where the kind
    is as likely as a frontal chest.
    """
    least_g = np.array([-np.inf] + [0.0] * (unseen[0].shape[1] - 1))
    worst_g = np.stack([np.quantile(raw_mg, 1 - REFUSED / raw_mg.shape[1], axis=0) for raw_mg in unseen]).max(0)
    highest_g: np.ndarray = np.maximum(worst_g, least_g).astype(np.float32)
    return highest_g


def _examples(
    frontal: Iterable[Picture], places: Sequence[str], others: Mapping[str, Sequence[Picture]], seed: int
) -> Iterator[tuple[str, str, Picture]]:
    """Kind, place and pixels of every example; what belongs to no hospital has the place ""."""
    draw = np.random.default_rng(seed)
    every = max(1, len(places) // SPOILED)
    for number, (picture, place) in enumerate(zip(frontal, places, strict=True)):
        yield "frontal", place, picture
        yield "frontal", place, jittered(picture, draw)
        for kind, made in spoiled(picture, draw):
            if kind == "mirrored" or number % every == 0:
                yield kind, place, made
        if number < FORMS:
            yield "other", "", form(len(picture), draw)
    for kind, given in others.items():
        for picture in given:
            yield kind, "", picture
            for _ in range(COPIES):
                yield kind, "", jittered(picture, draw, mirror=True)


def map_features(model: Medusa, pictures: Iterable[Picture]) -> Float[np.ndarray, "N D"]:
    """The gate's features of pictures (S, S), a batch in memory at a time."""
    device = next(model.parameters()).device
    parts, waiting = [], iter(pictures)
    with torch.inference_mode():
        while batch := list(islice(waiting, BATCH)):
            x_b1ss = torch.from_numpy(np.stack(batch))[:, None].to(device, torch.float32)
            parts.append(grid_features(model.features(x_b1ss)).cpu().numpy())
    return np.concatenate(parts)


def _fitted(features_nd: Float[np.ndarray, "N D"], kind_n: np.ndarray) -> Gate:
    """A gate without thresholds."""
    frontal_nd = features_nd[kind_n == 0]
    mean_d, deviation_d = frontal_nd.mean(0), frontal_nd.std(0) + 1e-3
    features_nd, frontal_nd = (features_nd - mean_d) / deviation_d, (frontal_nd - mean_d) / deviation_d
    pca = PCA(min(AXES, *(side - 1 for side in frontal_nd.shape)), random_state=0).fit(frontal_nd)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a little before the optimum is as good
        classifier = LogisticRegression(C=PENALTY, max_iter=300, tol=1e-3).fit(features_nd, kind_n)
    gate = Gate(features_nd.shape[1], len(pca.components_))
    there = classifier.classes_  # a kind of which there is no example is never seen
    gate.weight = torch.zeros_like(gate.weight)
    gate.bias = torch.full_like(gate.bias, NEVER)
    gate.weight[there] = torch.from_numpy(classifier.coef_).float()
    gate.bias[there] = torch.from_numpy(classifier.intercept_).float()
    gate.mean, gate.deviation = torch.from_numpy(mean_d).float(), torch.from_numpy(deviation_d).float()
    gate.axes, gate.variances = (
        torch.from_numpy(pca.components_).float(),
        torch.from_numpy(pca.explained_variance_).float().clamp(min=1e-6),
    )
    gate.rest = torch.tensor(max(float(pca.noise_variance_), 1e-6))
    gate.thresholds = torch.zeros_like(gate.thresholds)
    return gate
