"""Classification backbones that can be run scale by scale, so that something may act between two of them.

`lite0` is the EfficientNet-Lite0 of this package, for which there are published weights in `attn.core.starts`. Every
other name is timm's; it must be a convolution network whose stages follow one another.

Shapes: B batch, C channels, H height, W width.
"""

import re
from typing import Any

import timm
import torch
from jaxtyping import Float
from timm.layers import Format
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.blocks.lite0 import WIDTHS, Lite0
from attn.core.errors import UsageError

LITE0 = "lite0"
_ENDS = (1, 2, 3, 5, 7)  # stages of lite0 after which the stride grows, and its last
_PLAIN = re.compile(r"[a-z0-9_]{1,100}")  # timm reads "hf-hub:" and "local-dir:" too, which a model's record must not
# What timm's families raise for a network that has no scales, or fewer: each checks in its own way, or not at all.
_NOT_BY_SCALE = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class Backbone(nn.Module):
    """A backbone as a chain of scales, the finest first. `widths` are the channels after each scale."""

    widths: tuple[int, ...]

    def scale(self, index: int, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """The map of the scale before it (the image for scale 0) to that of scale `index`."""
        raise NotImplementedError

    def forward(self, x_bchw: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """The image to the map of the last scale."""
        for index in range(len(self.widths)):
            x_bchw = self.scale(index, x_bchw)
        return x_bchw


class Lite0Backbone(Backbone):
    """The first 1 to 5 scales of EfficientNet-Lite0: strides 2, 4, 8, 16, 32."""

    def __init__(self, scales: int) -> None:
        super().__init__()
        if scales > len(_ENDS):
            raise UsageError(f"lite0 has {len(_ENDS)} scales, not {scales}")
        self.ends = _ENDS[:scales]
        self.widths = tuple(WIDTHS[end - 1] for end in self.ends)
        self.net = Lite0(self.ends[-1])

    def scale(self, index: int, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """See `Backbone`; the stem belongs to scale 0."""
        if index == 0:
            x_bchw = F.relu6(self.net.stem(x_bchw))
        for stage in range(self.ends[index - 1] if index else 0, self.ends[index]):
            x_bchw = self.net.stages[stage](x_bchw)
        return x_bchw


class TimmBackbone(Backbone):
    """The first scales of a network of timm, with random weights."""

    def __init__(self, name: str, scales: int) -> None:
        super().__init__()
        net = _feature_list(name, scales)
        if getattr(net, "output_fmt", Format.NCHW) != Format.NCHW:
            raise UsageError(f"the backbone {name!r} has no maps of channels first", hint="take a convolution network")
        self.widths = tuple(net.feature_info.channels())
        self.parts: list[list[str]] = [[]]  # names of the modules of each scale
        for key in net:
            self.parts[-1].append(key)
            if key in net.return_layers and len(self.parts) < scales:
                self.parts.append([])
        self.net: nn.ModuleDict = net

    def scale(self, index: int, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """See `Backbone`; what comes before the first map belongs to scale 0."""
        for key in self.parts[index]:
            x_bchw = self.net[key](x_bchw)
        return x_bchw


def backbone(name: str, scales: int) -> Backbone:
    """`scales` scales of the backbone called `name`. Raises UsageError for an unknown name, or too many scales."""
    return Lite0Backbone(scales) if name == LITE0 else TimmBackbone(name, scales)


def _feature_list(name: str, scales: int) -> Any:
    if not _PLAIN.fullmatch(name) or not timm.is_model(name):
        raise UsageError(f"timm has no network called {ascii(name)[:110]}", hint="see timm.list_models()")
    # Some networks keep their stages in one Sequential, which timm opens only when it is told to.
    for how in ({}, {"feature_cfg": {"flatten_sequential": True}}):
        try:
            net = timm.create_model(
                name,
                pretrained=False,
                features_only=True,
                feature_cls="list",
                out_indices=tuple(range(scales)),
                **how,
            )
        except torch.OutOfMemoryError:
            raise
        except _NOT_BY_SCALE:
            continue
        return net
    raise UsageError(
        f"the network {name!r} of timm cannot be run scale by scale for {scales} scales",
        hint="take fewer scales, or a convolution network such as resnet18",
    )
