"""A small DCAL whose attention is uneven, and pictures for it."""

import torch
from tolerances import assert_close
from torch import Tensor, nn

from attn.apps.reid.model import DCAL, Branch
from attn.apps.reid.variants import variant

SMALL = {"image_size": (32, 24), "classes": 5}  # 4 x 3 patches


def model_of(**changes: object) -> DCAL:
    """Weights large enough for attention to be uneven, and blocks that differ."""
    torch.manual_seed(0)
    model = DCAL(variant("smallest", **SMALL | changes)).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    return model


def pictures(count: int = 3, seed: int = 1, size: tuple[int, int] = (32, 24)) -> Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def same_branch(one: Branch | None, other: Branch | None) -> None:
    assert one is not None and other is not None
    for mine, theirs in zip(one, other, strict=True):
        assert_close(mine, theirs)
