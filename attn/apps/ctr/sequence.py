"""Target attention: a field that is a sequence is what the vector of its target finds there.

As in DIN (Zhou et al. 2018, arXiv:1706.06978, section 4.3), but with softmax instead of a network that gives weights.

Shapes: B rows, K values of a sequence, E embedding width, H heads (1).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attn.core.attention.attend import attend


class TargetAttention(nn.Module):
    """The vector of a target (B, 1, E) attends to those of a sequence (B, K, E), whose newest value is the first."""

    def __init__(self, width: int, most: int) -> None:
        super().__init__()
        self.query, self.key = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.recency = nn.Parameter(torch.zeros(most))  # a bias for each place

    def forward(
        self, x_b1e: Float[Tensor, "B 1 E"], s_bke: Float[Tensor, "B K E"], present_bk: Bool[Tensor, "B K"]
    ) -> Float[Tensor, "B 1 E"]:
        """What the target finds; where nothing is present, 0."""
        q_bh1e, k_bhke, v_bhke = (x[:, None] for x in (self.query(x_b1e), self.key(s_bke), s_bke))
        mask_bh1k = present_bk[:, None, None]
        return attend(q_bh1e, k_bhke, v_bhke, bias=self.recency, mask=mask_bh1k)[:, 0]
