"""Fit the gate of a model: to frontal chests, to what is made of them, and to other images where there are some.

Shapes: N images, B batch, W working side, S model side, D features, K kinds, G scores.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, UInt8
from sklearn.decomposition import PCA
from torch import Tensor
from torch.nn import functional as F

from attn.apps.chest.augment import AugmentConfig, photometric, random_view
from attn.apps.chest.data import sampling_weights
from attn.apps.chest.gate import Gate, grid_features
from attn.apps.chest.gate_network import KINDS, SIDE, GateNetwork
from attn.apps.chest.model import Medusa
from attn.apps.chest.negatives import SPOILED, Picture, form
from attn.apps.chest.preprocess import Preprocessing, to_bytes, to_unit
from attn.apps.chest.read import Reading
from attn.core.blocks.convolution import fold_batch_norms
from attn.core.training.adamw import adamw
from attn.core.training.pixels import CachedPixels
from attn.core.training.warmup import warm_cosine
from attn.data_adapters.dicom.radiograph import NotAnImageError, Radiograph
from attn.data_adapters.dicom.studies import list_entries

ODDS = {"mirrored": 1.25, "turned": 0.0, "inverted": 0.0, "part": 0.0, "lateral": 0.0, "other": 0.0}
"""The log odds of each kind above which it is seen. Which side the heart is on is less clear than the rest: an image
that could be either is a frontal chest."""
REFUSED = 0.002
"""Share of the frontal chests of a hospital that a fit has not seen that may be too far away."""
FURTHER = 1.5
"""How much further away than that the next hospital may be: of four, the furthest is as far from the other three as
1.2 times their threshold. What is no chest is seen by the network."""
MOST_FRONTAL = 20_000
MOST_FEATURES = 2000  # frontal chests that the distance is fitted to
WORKING = 96  # the side of the pictures that the network is taught with, before augmentation
STEPS = 800  # or one for each frontal chest, when there are fewer
RATE, WARMUP, DECAY, SMOOTHING = 4e-3, 0.3, 0.01, 0.02
BATCH = {"frontal": 32, "mirrored": 12, "turned": 4, "inverted": 4, "part": 8}
GIVEN = 4  # of a batch for each further kind that was given
FORMS = 40
AXES = 32
FOLDS = 4
# Wider than what a classifier of diseases is trained with: hospitals differ in how much of a body is beside its lungs.
VIEW = AugmentConfig(
    zoom=(0.85, 1.6), gamma=0.4, contrast=0.3, brightness=0.1, blur=0.5, noise=0.04, border=0.5, rim=0.12
)
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

    `hospitals` (N,) say where each is from. The network is taught with as many of one as of another; the threshold of
    the distance is beyond that of images whose hospital a fit has not seen, or, when there is one hospital only, of
    images that a fit has not seen. `others` are images of further kinds, by kind.
    """
    order = np.random.default_rng(seed).permutation(len(frontal))
    network = train_network(
        _working(frontal[row] for row in order[:MOST_FRONTAL].tolist()),
        [hospitals[row] for row in order[:MOST_FRONTAL]],
        {kind: _working(given) for kind, given in (others or {}).items() if given},
        device=next(model.parameters()).device,
        seed=seed,
    )
    chosen = order[:MOST_FEATURES].tolist()
    features_nd = map_features(model.eval(), (frontal[row] for row in chosen))
    place_n = np.array([hospitals[row] for row in chosen])
    if len({*place_n}) == 1:
        place_n = np.array([f"fold {number % FOLDS}" for number in range(len(chosen))])
    far = []
    for place in sorted({*place_n}):
        unseen_md = torch.from_numpy(features_nd[place_n == place])
        far.append(np.quantile(fitted(network, features_nd[place_n != place]).distance(unseen_md), 1 - REFUSED))
    gate = fitted(network, features_nd)
    thresholds = [FURTHER * max(far), *(ODDS[kind] for kind in KINDS[1:])]
    gate.thresholds = torch.tensor(thresholds, dtype=torch.float32)
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


def train_network(
    frontal_nww: UInt8[Tensor, "N W W"],
    hospitals: Sequence[str],
    others: Mapping[str, UInt8[Tensor, "M W W"]],
    *,
    device: torch.device,
    seed: int = 0,
) -> GateNetwork:
    """A network taught with pictures of all kinds; in eval mode, its batch norms folded."""
    draw = np.random.default_rng(seed)
    forms_mww = _working(form(WORKING, draw) for _ in range(FORMS))
    pools = [*((kind, given_mww, GIVEN) for kind, given_mww in others.items()), ("other", forms_mww, GIVEN // 2)]
    weights_n = sampling_weights((hospitals, 0.5))
    steps = min(STEPS, len(frontal_nww))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network = GateNetwork()
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        schedule = warm_cosine(adamw(network, RATE, DECAY), steps, WARMUP)
        optimizer, rates = schedule["optimizer"], schedule["lr_scheduler"]["scheduler"]
        for _ in range(steps):
            rows = torch.multinomial(weights_n, sum(BATCH.values()), replacement=True)
            x_b1ss, kind_b = _batch(frontal_nww[rows], pools, device)
            loss = F.cross_entropy(network(x_b1ss), kind_b, label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            rates.step()
        fold_batch_norms(network.eval())  # new layers draw weights before they are given theirs
    return network


def _batch(
    frontal_bww: UInt8[Tensor, "B W W"], pools: Sequence[tuple[str, Tensor, int]], device: torch.device
) -> tuple[Float[Tensor, "B 1 S S"], Tensor]:
    """Frontal chests and what is made of them, some of each pool, and the numbers of their kinds (B,)."""
    made = []
    frontal_b1ww = to_unit(frontal_bww.to(device))
    for kind, x_b1ww in zip(BATCH, torch.split(frontal_b1ww, [*BATCH.values()]), strict=True):
        made.append((kind, SPOILED[kind](x_b1ww) if kind in SPOILED else x_b1ww))
    for kind, pool_mww, count in pools:
        given_b1ww = to_unit(pool_mww[torch.randint(len(pool_mww), (count,))].to(device))
        flip_b111 = torch.rand(count, 1, 1, 1, device=device) < 0.5
        made.append((kind, torch.where(flip_b111, given_b1ww.flip(3), given_b1ww)))
    # A part is taken from the picture itself: one of an enlarged view would be smaller than those that count as parts.
    views = [
        F.interpolate(x, (SIDE, SIDE), mode="area") if kind == "part" else random_view(x, SIDE, VIEW)
        for kind, x in made
    ]
    kind_b = torch.cat([torch.full((len(x),), KIND_NUMBER[kind], device=device) for kind, x in made])
    return photometric(torch.cat(views), VIEW), kind_b


def map_features(model: Medusa, pictures: Iterable[Picture]) -> Float[np.ndarray, "N D"]:
    """The distance's features of pictures (S, S), a batch in memory at a time."""
    device = next(model.parameters()).device
    parts, waiting = [], iter(pictures)
    with torch.inference_mode():
        while batch := list(islice(waiting, 64)):
            x_b1ss = torch.from_numpy(np.stack(batch))[:, None].to(device, torch.float32)
            parts.append(grid_features(model.features(x_b1ss)).cpu().numpy())
    return np.concatenate(parts)


def fitted(network: GateNetwork, frontal_nd: Float[np.ndarray, "N D"]) -> Gate:
    """A gate without thresholds, on the CPU, whose distance is that from frontal chests with these features."""
    mean_d, deviation_d = frontal_nd.mean(0), frontal_nd.std(0) + 1e-3
    frontal_nd = (frontal_nd - mean_d) / deviation_d
    pca = PCA(min(AXES, *(side - 1 for side in frontal_nd.shape)), random_state=0).fit(frontal_nd)
    gate = Gate(network.cpu(), len(mean_d), len(pca.components_))
    gate.mean, gate.deviation = torch.from_numpy(mean_d).float(), torch.from_numpy(deviation_d).float()
    gate.axes, gate.variances = (
        torch.from_numpy(pca.components_).float(),
        torch.from_numpy(pca.explained_variance_).float().clamp(min=1e-6),
    )
    gate.rest = torch.tensor(max(float(pca.noise_variance_), 1e-6))
    gate.thresholds = torch.zeros_like(gate.thresholds)
    return gate


def _working(pictures: Iterable[Picture]) -> UInt8[Tensor, "N W W"]:
    """Pictures of any side at the network's working side."""
    working = Preprocessing(side=WORKING)
    small = [to_bytes(working.pixels(Radiograph("", picture))) for picture in pictures]
    return torch.from_numpy(np.stack(small))
