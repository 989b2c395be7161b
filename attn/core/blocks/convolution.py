"""Blocks of convolution-attention hybrids: stem, MBConv, transformer block and head.

Sources: MBConv (Sandler et al. 2018, section 3.3) with squeeze-and-excitation (Hu et al. 2018, section 3) in the
pre-norm form of CoAtNet (Dai et al. 2021, section 2.1 and appendix A.1); stochastic depth (Huang et al. 2016).

Shapes: B batch, C channels, H height, W width. Convolutions see x_bchw, mixers and linear layers x_bhwc; in the
channels-last memory format the two are views of the same memory.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.mixers import Mixer


class StochasticDepth(nn.Module):
    """Drops a residual branch for a random share of the batch in training (Huang et al. 2016, section 3).

    What is kept is scaled up, so that the expectation stays. (torchvision has one, and takes two seconds to import.)
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
        """Same shape as the input."""
        if not self.training or self.probability == 0:
            return x
        kept = 1 - self.probability
        return x * x.new_empty(len(x), *(1,) * (x.ndim - 1)).bernoulli_(kept).div_(kept)


class Downsample(nn.Module):
    """Average pooling over `stride` x `stride`, then a 1x1 convolution when the width changes.

    Sizes round up, as a padded strided convolution's do, so that both paths of a block agree at odd sizes.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        self.expand = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """(B, C, H, W) to (B, channels_out, ceil(H / stride), ceil(W / stride))."""
        out: Tensor = self.expand(self.pool(x_bchw))
        return out


class ConvStem(nn.Module):
    """3x3 convolution with stride 2, batch norm, GELU, 3x3 convolution."""

    def __init__(self, bands: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(bands, channels, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """(B, bands, H, W) to (B, channels, ceil(H / 2), ceil(W / 2))."""
        out: Tensor = self.conv2(F.gelu(self.norm1(self.conv1(x_bchw))))
        return out

    def fold_batch_norm(self) -> None:
        """Move the batch norm's affine map into the convolution before it."""
        self.conv1 = conv_then_norm(self.conv1, self.norm1)
        self.norm1 = nn.Identity()  # type: ignore[assignment]


class SqueezeExcite(nn.Module):
    """Gates each channel by its global mean (Hu et al. 2018, equations 2 to 4), with SiLU between the layers."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, reduced, 1)
        self.fc2 = nn.Conv2d(reduced, channels, 1)

    def forward(self, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Same shape as the input."""
        gate_bc11 = self.fc2(F.silu(self.fc1(x_bchw.mean((2, 3), keepdim=True))))
        out: Tensor = x_bchw * gate_bc11.sigmoid()
        return out


class MBConv(nn.Module):
    """Pre-norm inverted bottleneck: norm, 1x1 expand, depthwise 3x3 (here the stride), squeeze-excite, 1x1.

    The hidden width is 4 times the *output* width. Source: CoAtNet, appendix A.1.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1, drop_path: float = 0.0) -> None:
        super().__init__()
        hidden = 4 * channels_out
        reshapes = stride > 1 or channels_in != channels_out
        self.shortcut = Downsample(channels_in, channels_out, stride) if reshapes else nn.Identity()
        self.pre_norm = nn.BatchNorm2d(channels_in)
        self.expand = nn.Conv2d(channels_in, hidden, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, stride=stride, padding=1, groups=hidden, bias=False)
        self.norm2 = nn.BatchNorm2d(hidden)
        self.squeeze_excite = SqueezeExcite(hidden, channels_out // 4)
        self.project = nn.Conv2d(hidden, channels_out, 1)
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """(B, channels_in, H, W) to (B, channels_out, ceil(H / stride), ceil(W / stride))."""
        y = F.gelu(self.norm1(self.expand(self.pre_norm(x_bchw))))
        y = self.squeeze_excite(F.gelu(self.norm2(self.depthwise(y))))
        out: Tensor = self.shortcut(x_bchw) + self.drop_path(self.project(y))
        return out

    def fold_batch_norm(self) -> None:
        """Move all three batch norms into their neighbouring convolutions; exact in eval mode."""
        self.expand = conv_then_norm(norm_then_conv(self.pre_norm, self.expand), self.norm1)
        self.depthwise = conv_then_norm(self.depthwise, self.norm2)
        self.pre_norm = self.norm1 = self.norm2 = nn.Identity()  # type: ignore[assignment]


class TransformerBlock2d(nn.Module):
    """Pre-norm transformer block around any two-dimensional mixer; a stride average-pools both paths.

    Layer norm over channels with eps 1e-6, MLP ratio 4 with GELU; the mixer itself maps C to C2, as in CoAtNet
    (section 2.1), where only the query, key and value projections see the narrow input.
    """

    def __init__(
        self, channels_in: int, channels_out: int, mixer: Mixer, stride: int = 1, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        reshapes = stride > 1 or channels_in != channels_out
        self.shortcut = Downsample(channels_in, channels_out, stride) if reshapes else nn.Identity()
        self.norm1 = nn.LayerNorm(channels_in, eps=1e-6)
        self.reduce = Downsample(channels_in, channels_in, stride)
        self.mixer = mixer
        self.norm2 = nn.LayerNorm(channels_out, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(channels_out, 4 * channels_out), nn.GELU(), nn.Linear(4 * channels_out, channels_out)
        )
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """(B, C, H, W) to (B, C2, ceil(H / stride), ceil(W / stride))."""
        y_bchw = self.reduce(channels_first(self.norm1(channels_last(x_bchw))))
        x_bhwc = channels_last(self.shortcut(x_bchw)) + self.drop_path(self.mixer(channels_last(y_bchw)))
        return channels_first(x_bhwc + self.drop_path(self.mlp(self.norm2(x_bhwc))))


class PooledHead(nn.Module):
    """Global average pool, layer norm, hidden layer with tanh, dropout, classifier."""

    def __init__(self, channels: int, hidden: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.hidden = nn.Linear(channels, hidden)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden, classes)

    def embed(self, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """The hidden layer's output, what the classifier sees: (B, hidden)."""
        features_bf: Tensor = self.hidden(self.norm(x_bchw.mean((2, 3)))).tanh()
        return features_bf

    def classify(self, features_bf: Float[Tensor, "B F"]) -> Float[Tensor, "B K"]:
        """Logits (B, classes)."""
        logits_bk: Tensor = self.classifier(self.dropout(features_bf))
        return logits_bk


def channels_last(x_bchw: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H, W, C), a view."""
    return x_bchw.permute(0, 2, 3, 1)


def channels_first(x_bhwc: Tensor) -> Tensor:
    """(B, H, W, C) to (B, C, H, W), a view."""
    return x_bhwc.permute(0, 3, 1, 2)


def initialise(model: nn.Module) -> None:
    """EfficientNet-like convolutions, ViT-like linear layers: the `vit_eff` scheme of the released Astroformer.

    Convolutions: normal with variance 2 / fan-out; linear layers: Xavier uniform; biases zero. Mixers keep what their
    mechanism begins with.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=(2.0 / fan_out) ** 0.5)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, Mixer):
            module.initialise()


def fold_batch_norms(model: nn.Module) -> nn.Module:
    """Fold every batch norm into a neighbouring convolution, in place; for inference only, exact in eval mode."""
    for module in model.modules():
        fold = getattr(module, "fold_batch_norm", None)
        if callable(fold):
            fold()
    return model


def conv_then_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """One convolution equal to `norm(conv(x))` in eval mode."""
    scale, shift = _affine(norm)
    return _with_weights(conv, conv.weight * scale[:, None, None, None], shift + _bias(conv) * scale)


def norm_then_conv(norm: nn.BatchNorm2d, conv: nn.Conv2d) -> nn.Conv2d:
    """One 1x1 convolution equal to `conv(norm(x))` in eval mode (with padding it would not be equal)."""
    scale, shift = _affine(norm)
    bias = _bias(conv) + conv.weight[:, :, 0, 0] @ shift
    return _with_weights(conv, conv.weight * scale[None, :, None, None], bias)


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


def _bias(conv: nn.Conv2d) -> Tensor:
    return conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias


def _with_weights(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    folded = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        stride=conv.stride,  # type: ignore[arg-type]
        padding=conv.padding,  # type: ignore[arg-type]
        groups=conv.groups,
        device=weight.device,
        dtype=weight.dtype,
    )
    folded.weight = nn.Parameter(weight.detach())
    folded.bias = nn.Parameter(bias.detach())
    return folded
