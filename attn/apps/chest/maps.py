"""Maps of a MEDUSA over its image: the gates that the body gave, and what they added to an answer.

    gate        A_s, the factors of scale s                       what the body let through
    gradient    sum over channels of A_s dz/dA_s                  what that added to the log-odds z of a class

The second is HiResCAM (Draelos and Carin 2020, arXiv:2011.08891, section 3.2) of each gated scale: F_s' = F_s A_s, so
that A_s dz/dA_s is the sum over channels of F_s' dz/dF_s'.

Shapes: B batch, C channels, S model side, H height, W width.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from attn.apps.chest.model import Medusa
from attn.apps.chest.predict import ChestPredictor
from attn.core.attention.watch import intervene, record


def gate_maps(model: Medusa, x_11ss: Float[Tensor, "1 1 S S"]) -> list[Float[Tensor, "S S"]]:
    """The factors of each scale, a mean over channels, resized to the image."""
    names = _gates(model)
    with record(model, (), outputs=names) as seen, torch.inference_mode():
        model(x_11ss)
    side = x_11ss.shape[-1]
    return [_resized(seen.outputs[name].float().mean(1, keepdim=True), side) for name in names]


def mean_map(maps: list[Float[Tensor, "S S"]]) -> Float[Tensor, "S S"]:
    """The mean of maps that each go from 0 to 1; an even map counts as 0. What is not finite counts as even."""
    scaled = []
    for map_ss in maps:
        finite_ss = map_ss.nan_to_num(0.0, 0.0, 0.0)
        spread = finite_ss.max() - finite_ss.min()
        scaled.append((finite_ss - finite_ss.min()) / spread.clamp(min=torch.finfo(spread.dtype).tiny))
    return torch.stack(scaled).mean(0)


def gradient_maps(
    predictor: ChestPredictor, x_11ss: Float[Tensor, "1 1 S S"], label: int
) -> list[Float[Tensor, "1 1 H W"]]:
    """What the gate of each scale added to the log-odds of class `label` at each of its places."""
    gates: dict[str, Tensor] = {}

    def kept(name: str) -> Callable[[Tensor], Tensor]:
        def change(gate_bchw: Tensor) -> Tensor:
            gates[name] = gate_bchw.detach().requires_grad_()
            return gates[name]

        return change

    changes = {name: kept(name) for name in _gates(predictor.model)}
    with torch.inference_mode(False), torch.enable_grad(), intervene(predictor.model, outputs=changes):
        # In double precision, a probability of almost 1 still has log-odds.
        p_1k = predictor.probabilities(predictor.model(x_11ss.clone()).double())
        gradients = torch.autograd.grad(p_1k[0, label].logit(), list(gates.values()))
    each = zip(gates.values(), gradients, strict=True)
    return [(gate.detach() * gradient).float().sum(1, keepdim=True) for gate, gradient in each]


def signed_mean(maps: list[Float[Tensor, "1 1 _ _"]], side: int) -> Float[Tensor, "S S"]:
    """The mean of maps that are each divided by their largest size: from -1 to 1. What is not finite counts as 0."""
    scaled = []
    for map_11hw in maps:
        map_ss = _resized(map_11hw.nan_to_num(0.0, 0.0, 0.0), side)
        scaled.append(map_ss / map_ss.abs().max().clamp(min=torch.finfo(map_ss.dtype).tiny))
    return torch.stack(scaled).mean(0)


def _gates(model: Medusa) -> tuple[str, ...]:
    return tuple(f"gates.{index}" for index in range(len(model.gates)))


def _resized(map_11hw: Float[Tensor, "1 1 H W"], side: int) -> Float[Tensor, "S S"]:
    return F.interpolate(map_11hw, (side, side), mode="bilinear", align_corners=False)[0, 0]
