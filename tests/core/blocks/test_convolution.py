"""Blocks of hybrids: each against its formula, and batch norms that fold away without a trace."""

import pytest
import torch
from tolerances import assert_close
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core import mixers
from attn.core.blocks.convolution import (
    ConvStem,
    Downsample,
    MBConv,
    PooledHead,
    SqueezeExcite,
    StochasticDepth,
    TransformerBlock2d,
    channels_first,
    channels_last,
    conv_then_norm,
    fold_batch_norms,
    initialise,
    norm_then_conv,
)


def trained(module: nn.Module) -> nn.Module:
    """Batch norms with statistics and weights of their own, in eval mode."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.running_mean, part.weight.data, part.bias.data):
                tensor.normal_()
            part.running_var.uniform_(0.3, 3)
    return module.eval()


@pytest.mark.parametrize("conv", [nn.Conv2d(5, 7, 3, padding=1, bias=False), nn.Conv2d(5, 7, 1)])
def test_norm_after_a_convolution_folds(conv: nn.Conv2d) -> None:
    norm, x = trained(nn.BatchNorm2d(7)), torch.randn(2, 5, 6, 9)
    assert_close(conv_then_norm(conv, norm)(x), norm(conv(x)))


def test_norm_after_a_depthwise_convolution_with_a_stride_folds() -> None:
    conv, norm = nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=6, bias=False), trained(nn.BatchNorm2d(6))
    x = torch.randn(2, 6, 9, 8)
    assert_close(conv_then_norm(conv, norm)(x), norm(conv(x)))


@pytest.mark.parametrize("bias", [True, False])
def test_norm_before_a_pointwise_convolution_folds(bias: bool) -> None:
    norm, conv = trained(nn.BatchNorm2d(5)), nn.Conv2d(5, 7, 1, bias=bias)
    x = torch.randn(2, 5, 6, 9)
    assert_close(norm_then_conv(norm, conv)(x), conv(norm(x)))


@pytest.mark.parametrize(
    "block", [MBConv(6, 10, stride=2), MBConv(8, 8), ConvStem(3, 8), nn.Sequential(ConvStem(3, 4), MBConv(4, 8))]
)
def test_folded_blocks_are_the_blocks(block: nn.Module) -> None:
    torch.manual_seed(0)
    bands = next(part for part in block.modules() if isinstance(part, nn.Conv2d)).in_channels
    x = torch.randn(2, bands, 11, 14)
    before = trained(block)(x)
    folded = fold_batch_norms(block)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    assert_close(folded(x), before)


def test_folded_weights_keep_dtype_and_are_trainable_leaves() -> None:
    conv = conv_then_norm(nn.Conv2d(2, 3, 1).double(), trained(nn.BatchNorm2d(3).double()))
    assert conv.weight.dtype == conv.bias.dtype == torch.float64
    assert conv.weight.is_leaf and conv.bias.is_leaf


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 1), (1, 6)])
def test_both_paths_of_a_block_agree_at_any_size(size: tuple[int, int]) -> None:
    x = torch.randn(2, 8, *size)
    expected = (2, 32, -(-size[0] // 2), -(-size[1] // 2))
    assert MBConv(8, 32, stride=2)(x).shape == expected
    mixer = mixers.create("softmax", dims=2, channels=32, channels_in=8, heads=1, size=(4, 4))
    assert TransformerBlock2d(8, 32, mixer, stride=2)(x).shape == expected


def test_downsampling_averages_what_there_is() -> None:
    x = torch.arange(6.0).view(1, 1, 2, 3)
    assert Downsample(1, 1, 2)(x).flatten().tolist() == [2.0, 3.5]
    assert Downsample(1, 1, 1)(x) is x


def test_squeeze_excite_is_its_formula() -> None:
    block, x = SqueezeExcite(8, 2), torch.randn(3, 8, 5, 4)
    w1, w2 = block.fc1.weight[:, :, 0, 0], block.fc2.weight[:, :, 0, 0]
    gate = torch.sigmoid(F.silu(x.mean((2, 3)) @ w1.T + block.fc1.bias) @ w2.T + block.fc2.bias)
    assert_close(block(x), x * gate[:, :, None, None])


def test_mbconv_hides_four_times_its_output() -> None:
    block = MBConv(6, 10)
    assert block.expand.out_channels == block.depthwise.groups == 40
    assert block.squeeze_excite.fc1.out_channels == 10 // 4


def test_transformer_block_is_its_formula() -> None:
    mixer = mixers.create("softmax", dims=2, channels=8, heads=2, size=(3, 3))
    block, x = TransformerBlock2d(8, 8, mixer).eval(), torch.randn(2, 8, 3, 4)
    y = channels_last(x)
    y = y + mixer(F.layer_norm(y, (8,), block.norm1.weight, block.norm1.bias, 1e-6))
    y = y + block.mlp(F.layer_norm(y, (8,), block.norm2.weight, block.norm2.bias, 1e-6))
    assert_close(block(x), channels_first(y))


def test_head_pools_norms_and_squashes() -> None:
    head, x = PooledHead(6, 4, 3, dropout=0.5).eval(), torch.randn(2, 6, 5, 7)
    features = torch.tanh(head.hidden(F.layer_norm(x.mean((2, 3)), (6,), eps=1e-6)))
    assert_close(head.embed(x), features)
    assert_close(head.classify(features), head.classifier(features))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_stochastic_depth_drops_whole_images_and_keeps_the_expectation(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer, x = StochasticDepth(0.25), torch.ones(4000, 2, 3, dtype=dtype)
    y = layer(x)
    assert y.dtype == dtype
    assert_close(y.unique(), torch.tensor([0, 4 / 3], dtype=dtype), torch.bfloat16)
    assert (y == y[:, :1, :1]).all()
    assert float(y.float().mean()) == pytest.approx(1, abs=0.05)
    assert layer.eval()(x) is x and StochasticDepth(0.0).train()(x) is x


def test_initialisation_keeps_the_variance_of_the_gradient() -> None:
    torch.manual_seed(0)
    conv, depthwise, linear = nn.Conv2d(64, 96, 3), nn.Conv2d(512, 512, 3, groups=512), nn.Linear(200, 300)
    initialise(nn.ModuleList([conv, depthwise, linear]))

    def deviation(weight: Tensor) -> float:
        return float(weight.detach().std())

    assert deviation(conv.weight) == pytest.approx((2 / (9 * 96)) ** 0.5, rel=0.03)
    assert deviation(depthwise.weight) == pytest.approx((2 / 9) ** 0.5, rel=0.05)
    assert float(linear.weight.detach().abs().max()) == pytest.approx((6 / 500) ** 0.5, rel=0.01)
    assert not any(module.bias.any() for module in (conv, depthwise, linear))
