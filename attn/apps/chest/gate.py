"""The gate: is this a frontal chest radiograph? The header says what it says, then the pixels are asked.

    evidence_k = the log odds of kind k against a frontal chest, of `gate_network`, less a threshold
    far        = (|z|² + |r|² / σ²) / D, less a threshold: how far the features are from those of frontal chests

The distance is on the features of the model itself, its last map averaged over a grid. z are the whitened coordinates
of these D features on the principal axes of the training's, and r is what they leave over: probabilistic PCA (Tipping
and Bishop 1999, J. R. Stat. Soc. B 61, section 3.3), whose log-likelihood falls with this distance. A score above 0 is
a flag.

Shapes: B batch, S model side, C channels, H height, W width, D = C GRID², P axes, K kinds, G = K scores.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from attn.apps.chest.gate_network import KINDS, GateNetwork
from attn.core.blocks.convolution import fold_batch_norms
from attn.core.errors import ModelError
from attn.core.models.record import ModelRecord
from attn.core.models.weights import COPY_AGAIN, read_tensors, write_tensors
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.radiograph import Radiograph

GATE = "gate.safetensors"
"""The gate's file in a model's folder."""
GRID = 4
FLAGS = {
    "mirrored": Flag.TURNED,
    "turned": Flag.TURNED,
    "inverted": Flag.INVERTED,
    "part": Flag.NOT_CHEST,
    "lateral": Flag.LATERAL,
    "other": Flag.NOT_CHEST,
}
"""The flag of each kind that is no frontal chest."""
SCORES: tuple[Flag, ...] = (Flag.NOT_CHEST, *(FLAGS[kind] for kind in KINDS[1:]))
"""The flag of each score: first that of the distance, then those of the kinds."""
MOST_AXES = 4096

OF_THE_HEADER = (Flag.NOT_XRAY, Flag.NOT_CHEST, Flag.LATERAL)
REFUSED = (*OF_THE_HEADER, Flag.INVERTED, Flag.TURNED, Flag.FOR_PROCESSING, Flag.HEADER_CONTRADICTS_PIXELS)
"""What `--strict` refuses: the model does not know such images."""


class Gate(nn.Module):
    """The fitted gate of one model; `gate_fit.fit_gate` makes it."""

    mean: Tensor
    deviation: Tensor
    axes: Tensor
    variances: Tensor
    rest: Tensor
    thresholds: Tensor

    def __init__(self, network: GateNetwork, features: int, axes: int) -> None:
        super().__init__()
        self.network = network
        shapes: dict[str, tuple[int, ...]] = {
            "mean": (features,),
            "deviation": (features,),
            "axes": (axes, features),
            "variances": (axes,),
            "rest": (),
            "thresholds": (len(SCORES),),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.ones(shape))

    def forward(self, map_bchw: Float[Tensor, "B C H W"], x_b1ss: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B G"]:
        """Scores (B, G) in the order of SCORES, of the model's last map and of pixels in 0..1; above 0 is a flag."""
        far_b = self.distance(grid_features(map_bchw))
        return torch.cat([far_b[:, None], self.network.evidence(x_b1ss)], dim=1) - self.thresholds

    def distance(self, features_bd: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
        """How far from the frontal chests of the training, as a mean over D, before the threshold."""
        f_bd = (features_bd - self.mean) / self.deviation
        z_bp = f_bd @ self.axes.T
        left_b = f_bd.square().sum(1) - z_bp.square().sum(1)
        return ((z_bp.square() / self.variances).sum(1) + left_b / self.rest) / f_bd.shape[1]

    def save(self, path: Path) -> None:
        """Write the tensors."""
        write_tensors(path, self.state_dict())


def grid_features(map_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
    """The map's mean in each cell of the grid, one after the other."""
    return F.adaptive_avg_pool2d(map_bchw.float(), GRID).flatten(1)


def load_gate(folder: Path, record: ModelRecord, channels: int) -> Gate | None:
    """The gate of the model in `folder`, whose last map has `channels`; None for a model without one. ModelError."""
    if GATE not in record.files:
        return None
    path = folder / GATE
    tensors = read_tensors(path)
    axes = len(tensors["variances"]) if "variances" in tensors and tensors["variances"].ndim == 1 else 0
    network = GateNetwork().eval()
    fold_batch_norms(network)
    gate = Gate(network, channels * GRID**2, min(axes, MOST_AXES))
    try:
        gate.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except RuntimeError as error:
        raise ModelError("does not fit the model beside it", where=path, hint=COPY_AGAIN) from error
    if not all(tensor.isfinite().all() for tensor in gate.state_dict().values()):
        raise ModelError("holds numbers that are not finite", where=path, hint=COPY_AGAIN)
    return gate.eval()


def flags_of(radiograph: Radiograph, scores_g: Sequence[float] | None) -> tuple[Flag, ...]:
    """The flags of a radiograph with those of the gate, each once; without scores, the pixels say nothing.

    The worst score decides what the pixels are. When the header says frontal chest and the pixels say another part or
    view, or the other way round, both stand there, and that they disagree.
    """
    if scores_g is None:
        return radiograph.flags
    pixels = seen_in(scores_g)
    header = [flag for flag in OF_THE_HEADER if flag in radiograph.flags]
    frontal = not header and radiograph.header.get("view") == "frontal"
    disagree = (frontal and pixels in OF_THE_HEADER) or (bool(header) and pixels is None)
    more = [*([pixels] if pixels else []), *([Flag.HEADER_CONTRADICTS_PIXELS] if disagree else [])]
    return tuple(dict.fromkeys((*radiograph.flags, *more)))


def seen_in(scores_g: Sequence[float]) -> Flag | None:
    """What pixels with these scores are, None for a frontal chest: the kind of the largest margin, else far away."""
    far, *margins = scores_g
    best = max(range(len(margins)), key=lambda kind: margins[kind])
    if margins[best] > 0:
        return SCORES[1 + best]
    return SCORES[0] if far > 0 else None
