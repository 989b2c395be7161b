"""Astroformer (Dagli 2023, arXiv:2304.05350): three convolution stages, then one transformer stage.

Two members of the family begin with stages of EfficientNet-Lite0 instead, for which there are published weights.

Shapes: B batch, C channels, H height, W width, K classes, F embedding width.
"""

from typing import Annotated, Any, Literal, Self

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from attn.core import mixers
from attn.core.blocks.convolution import ConvStem, MBConv, PooledHead, TransformerBlock2d, initialise
from attn.core.blocks.lite0 import WIDTHS, Lite0, stride_after
from attn.core.errors import UsageError
from attn.core.mixers.choice import with_options
from attn.core.settings import checked

HEAD_WIDTH = 32

Channels = Annotated[int, Field(ge=1, le=16_384)]


class AstroformerConfig(BaseModel):
    """Everything that fixes the architecture; stored in the model's record.

    `layout` has one letter a stage, C for MBConv and T for transformer blocks. `image_size` is the side in pixels the
    position tables are built for; other sizes run with interpolated tables. `mixer` is the mechanism of the transformer
    blocks, as `attn.core.mixers.choice` reads it. `lite0` is the number of stages of EfficientNet-Lite0 that take the
    place of the stem, 1 to 8; 0 keeps the stem.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stem: Channels
    widths: tuple[Channels, ...]
    depths: tuple[Annotated[int, Field(ge=1, le=256)], ...]
    head: Channels
    strides: tuple[Annotated[int, Field(ge=1, le=8)], ...] = (2, 2, 2, 2)
    layout: str = Field(default="CCCT", pattern="^[CT]{0,16}$")
    mixer: str = Field(default="relative", max_length=4096)
    image_size: int = Field(default=256, ge=32, le=8192)
    bands: Literal[3] = 3
    classes: int = Field(default=10, ge=1, le=100_000)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    lite0: int = Field(default=0, ge=0, le=len(WIDTHS))

    @model_validator(mode="before")
    @classmethod
    def _of_older_records(cls, settings: Any) -> Any:
        return with_options(settings, "relative") if isinstance(settings, dict) else settings

    @model_validator(mode="after")
    def _one_entry_per_stage(self) -> Self:
        if not len(self.layout) == len(self.widths) == len(self.depths) == len(self.strides):
            raise ValueError("layout, widths, depths and strides have one entry per stage each")
        if self.lite0 and self.stem != WIDTHS[self.lite0 - 1]:
            raise ValueError(f"{self.lite0} stages of lite0 have a stem of {WIDTHS[self.lite0 - 1]}")
        return self


# The released family, and two small ones of the same layout for CPU whose last stage keeps its input's
# resolution: at 64 px a stride of 32 would leave attention four tokens to look at.
_CPU_STRIDES = (2, 2, 2, 1)
VARIANTS: dict[str, AstroformerConfig] = {
    "nano": AstroformerConfig(
        stem=24, widths=(32, 64, 128, 192), depths=(1, 2, 3, 2), head=192, strides=_CPU_STRIDES, image_size=64
    ),
    "tiny": AstroformerConfig(
        stem=32, widths=(48, 96, 192, 320), depths=(2, 2, 4, 2), head=320, strides=_CPU_STRIDES, image_size=64
    ),
    "A-0": AstroformerConfig(stem=64, widths=(96, 192, 384, 768), depths=(2, 3, 5, 2), head=768),
    "A-1": AstroformerConfig(stem=64, widths=(96, 192, 384, 768), depths=(2, 6, 14, 2), head=768),
    "A-2": AstroformerConfig(stem=128, widths=(128, 256, 512, 1024), depths=(2, 6, 14, 2), head=1024),
    "A-3": AstroformerConfig(stem=192, widths=(192, 384, 768, 1536), depths=(2, 6, 14, 2), head=1536),
    "A-4": AstroformerConfig(stem=192, widths=(192, 384, 768, 1536), depths=(2, 12, 28, 2), head=1536),
    "A-5": AstroformerConfig(stem=192, widths=(256, 512, 1280, 2048), depths=(2, 12, 28, 2), head=2048),
    "lite0": AstroformerConfig(
        stem=1280, lite0=8, layout="", widths=(), depths=(), strides=(), head=320, image_size=96
    ),
    "lite0-attention": AstroformerConfig(
        stem=112, lite0=5, layout="T", widths=(192,), depths=(2,), strides=(1,), head=192, image_size=96
    ),
}


def variant(name: str, **changes: Any) -> AstroformerConfig:
    """A member of the family by name, with changes. Raises UsageError for an unknown name or an impossible value."""
    if name not in VARIANTS:
        raise UsageError(f"no Astroformer called {name!r}", hint=f"there are {', '.join(VARIANTS)}")
    return changed(VARIANTS[name], **changes)


def changed(config: AstroformerConfig, **changes: Any) -> AstroformerConfig:
    """`config` with changes. Raises UsageError for an impossible value."""
    new = checked(AstroformerConfig, **config.model_dump() | changes)
    if "T" not in new.layout and new.mixer != config.mixer:
        raise UsageError(f"this variant has no attention that could be {new.mixer!r}", hint="choose another variant")
    return new


class Astroformer(nn.Module):
    """Galaxy classifier: (B, bands, H, W), any H and W from 32 px up, to logits (B, K)."""

    def __init__(self, config: AstroformerConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = Lite0(config.lite0) if config.lite0 else ConvStem(config.bands, config.stem)
        drop_paths = iter(torch.linspace(0, config.drop_path, sum(config.depths), device="cpu").tolist())
        side = -(-config.image_size // (stride_after(config.lite0) if config.lite0 else 2))
        channels = config.stem
        attending = sum(depth for kind, depth in zip(config.layout, config.depths, strict=True) if kind == "T")
        choices = iter(mixers.per_layer(config.mixer, attending))
        stages = []
        for kind, width, depth, stride in zip(config.layout, config.widths, config.depths, config.strides, strict=True):
            side = -(-side // stride)
            blocks: list[nn.Module] = []
            for index in range(depth):
                step = stride if index == 0 else 1
                drop_path = next(drop_paths)
                if kind == "C":
                    blocks.append(MBConv(channels, width, step, drop_path))
                else:
                    mixer = mixers.create(
                        next(choices),
                        dims=2,
                        causal=False,
                        channels=width,
                        channels_in=channels,
                        heads=width // HEAD_WIDTH,
                        size=(side, side),
                    )
                    blocks.append(TransformerBlock2d(channels, width, mixer, step, drop_path))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.head = PooledHead(channels, config.head, config.classes, config.dropout)
        initialise(self)

    def features(self, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """The last stage's map, before pooling."""
        maps: Tensor = self.stages(self.stem(x_bchw.contiguous(memory_format=torch.channels_last)))
        return maps

    def embed(self, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """The feature vector the classifier sees, (B, F) with entries in -1..1."""
        return self.head.embed(self.features(x_bchw))

    def classify(self, features_bf: Float[Tensor, "B F"]) -> Float[Tensor, "B K"]:
        """Logits (B, K) of feature vectors."""
        return self.head.classify(features_bf)

    def forward(self, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Logits (B, K)."""
        return self.classify(self.embed(x_bchw))
