"""Losses of a classifier of radiographs: one class an image, or several findings some of which nobody looked for.

Shapes: B batch, K classes.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def focal_cross_entropy(
    logits_bk: Float[Tensor, "B K"],
    target_bk: Float[Tensor, "B K"],
    weight_k: Float[Tensor, " K"] | None = None,
    gamma: float = 0.0,
) -> Float[Tensor, ""]:
    """Cross-entropy with soft targets, (1 - p)^gamma on each class's term (Lin et al. 2017, equation 4), and weights.

    gamma 0 and no weights: the plain one. The mean over the batch is weighted by the targets' weights, as that of
    `torch.nn.functional.cross_entropy` with class numbers is.
    """
    log_p_bk = logits_bk.log_softmax(1)
    weighted_bk = target_bk if weight_k is None else target_bk * weight_k
    # 1 - p from the logarithm: p of nearly 1 would lose its digits.
    each_bk = -weighted_bk * (-torch.expm1(log_p_bk)).clamp(min=1e-8) ** gamma * log_p_bk
    return each_bk.sum() / weighted_bk.sum()


def masked_binary(
    logits_bk: Float[Tensor, "B K"],
    target_bk: Float[Tensor, "B K"],
    weight_k: Float[Tensor, " K"] | None = None,
    gamma: float = 0.0,
) -> Float[Tensor, ""]:
    """Binary cross-entropy of each finding over the known targets; NaN is unknown and has no gradient.

    `weight_k` is the weight of a finding that is there. Without any known target the loss is 0, with a gradient of 0.
    """
    known_bk = ~target_bk.isnan()
    truth_bk = target_bk.nan_to_num()
    each_bk = F.binary_cross_entropy_with_logits(logits_bk, truth_bk, reduction="none", pos_weight=weight_k)
    if gamma:
        right_bk = torch.where(truth_bk > 0.5, logits_bk, -logits_bk)
        each_bk = each_bk * (-right_bk).sigmoid() ** gamma
    return each_bk.where(known_bk, 0).sum() / known_bk.sum().clamp(min=1)
