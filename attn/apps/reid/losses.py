"""Losses of DCAL: which individual it is, how far apart individuals lie, and the branches weighed against each other.

Shapes: B batch, C channels, n losses.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


def batch_hard_triplet(
    features_bc: Float[Tensor, "B C"],
    identity_b: Int[Tensor, " B"],
    margin: float | None = 0.3,
    picture_b: Int[Tensor, " B"] | None = None,
) -> Float[Tensor, ""]:
    """max(0, margin + d(hardest positive) - d(hardest negative)) (Hermans et al. 2017, arXiv:1703.07737, equation 5).

    Distances are Euclidean. The hardest positive of an anchor is the farthest image of its identity, the hardest
    negative the nearest of another; the mean is over the anchors that have both, and 0 where none has. margin: None
    gives the soft margin, log(1 + exp(.)) (section 3.1). picture_b: equal numbers where an individual with few images
    repeats one; a picture is no positive of itself, however it was augmented. None: all are different.
    """
    x_bc = features_bc.float()
    far = "donot_use_mm_for_euclid_dist"  # products lose the digits of small distances
    distance_bb = torch.cdist(x_bc, x_bc, compute_mode=far)
    same_bb = identity_b[:, None] == identity_b
    picture_b = torch.arange(len(x_bc), device=x_bc.device) if picture_b is None else picture_b
    positive_bb = same_bb & (picture_b[:, None] != picture_b)
    hardest_positive_b = distance_bb.masked_fill(~positive_bb, -torch.inf).amax(1)
    hardest_negative_b = distance_bb.masked_fill(same_bb, torch.inf).amin(1)
    whole_b = positive_bb.any(1) & ~same_bb.all(1)
    gap_b = (hardest_positive_b - hardest_negative_b).masked_fill(~whole_b, 0)  # before the sum: no infinite gradients
    loss_b = F.softplus(gap_b) if margin is None else F.relu(margin + gap_b)
    return loss_b.masked_fill(~whole_b, 0).sum() / whole_b.sum().clamp(min=1)


class UncertaintyWeights(nn.Module):
    """½ Σ (exp(-w_i) L_i + w_i) with a learned w for each of n losses (Kendall et al. 2018, arXiv:1705.07115).

    The form is that of FairMOT (Zhang et al. 2021, arXiv:2004.01888), which DCAL names; all w begin at 0.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(count))

    def forward(self, losses: list[Float[Tensor, ""]]) -> Float[Tensor, ""]:
        """The weighted sum."""
        total: Tensor = 0.5 * (torch.exp(-self.w) * torch.stack(losses) + self.w).sum()
        return total
