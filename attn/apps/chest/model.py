"""MEDUSA (Aboutalebi et al. 2021, arXiv:2110.06063): one self-attention body, whose heads gate a backbone's scales.

    G    = body(z)                                  z the standardised grey image; once per image
    A_s  = gate(head_s(G), resized to H_s x W_s)    one head a scale, with its own parameters
    F_s' = F_s A_s                                  what the next scale sees

No public code exists for the architecture; the abstract names the single body and the heads at several scales, and the
released model has the two inputs. The gate's form is therefore a setting.

Shapes: B batch, S model side, C channels, H height, W width, K classes, F embedding width.
"""

import math
from typing import Annotated, Any, Literal, Self

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.blocks.backbones import LITE0, backbone
from attn.core.blocks.convolution import PooledHead, conv_then_norm, initialise
from attn.core.blocks.encoder_decoder import HEAD_WIDTH, EncoderDecoder
from attn.core.errors import UsageError
from attn.core.settings import checked

SHARE = 0.4
"""The body's share of all parameters is at least this in the named variants."""

Channels = Annotated[int, Field(ge=1, le=16_384)]
Form = Literal["sigmoid", "residual", "plain"]

# The bias of a head's last layer: it makes the factor of an untrained gate 0.95, 1.05 and 1.
START: dict[str, float] = {"sigmoid": 3.0, "residual": -3.0, "plain": 1.0}


class MedusaConfig(BaseModel):
    """Everything that fixes the architecture; stored in the model's record.

    `backbone` is a name as `attn.core.blocks.backbones` reads it, of which the first `scales` scales are used.
    `image_size` is the side S. `body` are the widths of the body's scales, `depth` the transformer blocks of its
    bottleneck, `mixer` their mechanism. `gate` is the form of the gates, with one map for all channels or one
    `per_channel`. With `two_inputs` the body sees the grey image standardised and `shrink` times smaller, else what
    the backbone sees. Classes are `exclusive` (one an image), or each is there or not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str = Field(default=LITE0, pattern="^[a-z0-9_]{1,100}$")
    scales: int = Field(default=4, ge=1, le=8)
    image_size: int = Field(default=96, ge=32, le=8192)
    body: tuple[Channels, ...] = Field(default=(24, 64, 192), min_length=3, max_length=8)
    depth: int = Field(default=1, ge=1, le=64)
    mixer: str = Field(default="relative", max_length=4096)
    gate: Form = "sigmoid"
    per_channel: bool = False
    two_inputs: bool = True
    shrink: int = Field(default=2, ge=1, le=16)
    head: Channels = 192
    classes: int = Field(default=3, ge=1, le=100_000)
    exclusive: bool = True
    dropout: float = Field(default=0.2, ge=0, lt=1)

    @model_validator(mode="after")
    def _body_has_a_bottleneck(self) -> Self:
        smallest = self.image_size // (self.shrink if self.two_inputs else 1) // 2 ** len(self.body)
        if smallest < 1:
            raise ValueError(f"an image of {self.image_size} is too small for a body of {len(self.body)} scales")
        return self


VARIANTS: dict[str, MedusaConfig] = {
    "lite0": MedusaConfig(),
    "resnet18": MedusaConfig(backbone="resnet18", scales=5, image_size=224, body=(64, 128, 448), depth=3, head=512),
    "paper": MedusaConfig(backbone="resnet18", scales=5, image_size=480, body=(64, 128, 256, 512), depth=4, head=512),
}


def variant(name: str, **changes: Any) -> MedusaConfig:
    """A member of the family by name, with changes. Raises UsageError for an unknown name or an impossible value."""
    if name not in VARIANTS:
        raise UsageError(f"no MEDUSA called {name!r}", hint=f"there are {', '.join(VARIANTS)}")
    return changed(VARIANTS[name], **changes)


def changed(config: MedusaConfig, **changes: Any) -> MedusaConfig:
    """`config` with changes. Raises UsageError for an impossible value."""
    return checked(MedusaConfig, **config.model_dump() | changes)


class Gate(nn.Module):
    """A head: the body's map to the factors of one scale, (B, 1 or C, H, W). Near 1 before it is trained.

    sigmoid: σ(z), in 0..1. residual: 1 + σ(z), in 1..2 (Wang et al. 2017, arXiv:1704.06904, section 3.2). plain: z.
    """

    def __init__(self, channels: int, maps: int, form: Form) -> None:
        super().__init__()
        self.form = form
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.out = nn.Conv2d(channels, maps, 1)

    def start(self) -> None:
        """Begin near the identity, with weights that are small and not 0: the first step already reaches the body."""
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.constant_(self.out.bias, START[self.form])  # type: ignore[arg-type]  # there is a bias

    def forward(self, map_bchw: Float[Tensor, "B C H W"], size: tuple[int, int]) -> Float[Tensor, "B C2 H2 W2"]:
        """The factors at (H2, W2) = `size`."""
        # A larger scale gets its factors enlarged, which costs less than a larger map through the layers.
        fine = size[0] >= map_bchw.shape[2] and size[1] >= map_bchw.shape[3]
        z_bchw: Tensor = map_bchw if fine else F.adaptive_avg_pool2d(map_bchw, size)
        z_bchw = self.out(F.gelu(self.norm(self.conv(z_bchw))))
        if fine:
            z_bchw = F.interpolate(z_bchw, size=size, mode="bilinear", align_corners=False)
        if self.form == "plain":
            return z_bchw
        return z_bchw.sigmoid() + (1.0 if self.form == "residual" else 0.0)

    def fold_batch_norm(self) -> None:
        """Move the batch norm's affine map into the convolution; exact in eval mode."""
        self.conv = conv_then_norm(self.conv, self.norm)
        self.norm = nn.Identity()  # type: ignore[assignment]


class Medusa(nn.Module):
    """Chest X-ray classifier: pixels (B, 1, S, S) in 0..1, 0 black, to logits (B, K)."""

    def __init__(self, config: MedusaConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone(config.backbone, config.scales)
        side = config.image_size // config.shrink if config.two_inputs else config.image_size
        self.body = EncoderDecoder(1, config.body, config.depth, config.mixer, side)
        self.gates = nn.ModuleList(
            Gate(config.body[0], width if config.per_channel else 1, config.gate) for width in self.backbone.widths
        )
        self.head = PooledHead(self.backbone.widths[-1], config.head, config.classes, config.dropout)
        for part in (self.body, self.gates, self.head):
            initialise(part)
        if config.backbone == LITE0:
            initialise(self.backbone)
        for gate in self.gates:
            gate.start()  # type: ignore[operator]

    def attend(self, x_b1ss: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B C H W"]:
        """The body's map G, which all heads read."""
        two = self.config.two_inputs
        map_bchw: Tensor = self.body(standardised(F.avg_pool2d(x_b1ss, self.config.shrink)) if two else image(x_b1ss))
        return map_bchw

    def features(self, x_b1ss: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B C H W"]:
        """The last scale's map, gated, before pooling."""
        map_bchw = self.attend(x_b1ss)
        x_bchw = image(x_b1ss).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        for index, gate in enumerate(self.gates):
            x_bchw = self.backbone.scale(index, x_bchw)
            x_bchw = x_bchw * gate(map_bchw, (x_bchw.shape[2], x_bchw.shape[3]))
        return x_bchw

    def embed(self, x_b1ss: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B F"]:
        """The feature vector the classifier sees, (B, F) with entries in -1..1."""
        return self.head.embed(self.features(x_b1ss))

    def classify(self, features_bf: Float[Tensor, "B F"]) -> Float[Tensor, "B K"]:
        """Logits (B, K) of feature vectors."""
        return self.head.classify(features_bf)

    def forward(self, x_b1ss: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B K"]:
        """Logits (B, K)."""
        return self.classify(self.embed(x_b1ss))


def image(x_b1ss: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B 1 S S"]:
    """Pixels in 0..1 to -2..2, about the deviation that the published weights of a backbone expect."""
    return 4 * x_b1ss - 2


def standardised(x_b1ss: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B 1 S S"]:
    """Mean 0 and deviation 1 in each image; a constant image becomes 0."""
    x = x_b1ss.float()
    centred = x - x.mean((2, 3), keepdim=True)
    variance = centred.square().mean((2, 3), keepdim=True)
    return (centred * (variance + 1e-8).rsqrt()).to(x_b1ss.dtype)


def body_share(config: MedusaConfig) -> float:
    """The body's share of all parameters; the model is built without memory for them."""
    with torch.device("meta"):
        model = Medusa(config)
    return sum(p.numel() for p in model.body.parameters()) / sum(p.numel() for p in model.parameters())


def wide_enough(config: MedusaConfig) -> MedusaConfig:
    """`config` with a body wide enough for its share of all parameters (SHARE), whatever the backbone."""
    while body_share(config) < SHARE:
        config = changed(config, body=tuple(math.ceil(width * 1.25 / HEAD_WIDTH) * HEAD_WIDTH for width in config.body))
    return config
