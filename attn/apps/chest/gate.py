"""The gate: is this a frontal chest radiograph? The header says what it says, then the pixels are asked.

Pixels are judged by the last map of the model itself, averaged over a grid: where things are is what tells a turned or
a mirrored chest. Two looks at these features:

    margin_k = w_k f + b_k - threshold_k        a linear classifier, class k against frontal chests
    far      = |z|² + |r|² / σ² - threshold     the distance from the frontal chests of the training

z are the whitened coordinates of f on the principal axes of the training's features and r is what they leave over:
probabilistic PCA (Tipping and Bishop 1999, J. R. Stat. Soc. B 61, section 3.3), whose log-likelihood falls with this
distance. A score above 0 is a flag.

Shapes: B batch, C channels, H height, W width, D = C GRID², P axes, K kinds, G = K scores.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.errors import ModelError
from attn.core.models.record import ModelRecord
from attn.core.models.weights import COPY_AGAIN, read_tensors, write_tensors
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.radiograph import Radiograph

GATE = "gate.safetensors"
"""The gate's file in a model's folder."""
GRID = 4
KINDS: dict[str, Flag | None] = {
    "frontal": None,
    "lateral": Flag.LATERAL,
    "other": Flag.NOT_CHEST,
    "inverted": Flag.INVERTED,
    "turned": Flag.TURNED,
    "mirrored": Flag.TURNED,
}
"""What the classifier tells apart, and the flag of each."""
SCORES: tuple[Flag, ...] = (Flag.NOT_CHEST, *(flag for flag in KINDS.values() if flag))
"""The flag of each score: first that of the distance, then those of the kinds."""
MOST_AXES = 4096

OF_THE_HEADER = (Flag.NOT_XRAY, Flag.NOT_CHEST, Flag.LATERAL)
REFUSED = (*OF_THE_HEADER, Flag.INVERTED, Flag.TURNED, Flag.FOR_PROCESSING, Flag.HEADER_CONTRADICTS_PIXELS)
"""What `--strict` refuses: the model does not know such images."""


class Gate(nn.Module):
    """The fitted gate of one model; `gate_fit.fit_gate` makes it."""

    mean: Tensor
    deviation: Tensor
    weight: Tensor
    bias: Tensor
    axes: Tensor
    variances: Tensor
    rest: Tensor
    thresholds: Tensor

    def __init__(self, features: int, axes: int) -> None:
        super().__init__()
        kinds = len(KINDS)
        shapes: dict[str, tuple[int, ...]] = {
            "mean": (features,),
            "deviation": (features,),
            "weight": (kinds, features),
            "bias": (kinds,),
            "axes": (axes, features),
            "variances": (axes,),
            "rest": (),
            "thresholds": (kinds,),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.ones(shape))

    def forward(self, map_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B G"]:
        """Scores (B, G) in the order of SCORES; those above 0 are flags."""
        return self.raw(grid_features(map_bchw)) - self.thresholds

    def raw(self, features_bd: Float[Tensor, "B D"]) -> Float[Tensor, "B G"]:
        """The scores before thresholds: the distance, as a mean over D, and the margins of the kinds."""
        f_bd = (features_bd - self.mean) / self.deviation
        z_bp = f_bd @ self.axes.T
        left_b = f_bd.square().sum(1) - z_bp.square().sum(1)
        far_b = ((z_bp.square() / self.variances).sum(1) + left_b / self.rest) / f_bd.shape[1]
        logits_bk = f_bd @ self.weight.T + self.bias
        return torch.cat([far_b[:, None], logits_bk[:, 1:] - logits_bk[:, :1]], dim=1)

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
    gate = Gate(channels * GRID**2, min(axes, MOST_AXES))
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
