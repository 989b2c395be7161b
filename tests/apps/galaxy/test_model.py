"""Astroformer: the family's sizes, timm's CoAtNet as the oracle, any input size, folding."""

import pytest
import torch
from timm.models.maxxvit import MaxxVit, MaxxVitCfg
from tolerances import assert_close
from torch import Tensor, nn

from attn.apps.galaxy.model import Astroformer, AstroformerConfig, variant
from attn.core.blocks.convolution import StochasticDepth, fold_batch_norms
from attn.core.errors import UsageError

MILLIONS = {"A-0": 22.77, "A-1": 37.39, "A-2": 66.37, "A-3": 148.89, "A-4": 241.09, "A-5": 593.56}


def small(**changes) -> AstroformerConfig:
    return AstroformerConfig(
        stem=8, widths=(8, 16, 64, 64), depths=(2, 1, 2, 2), head=32, image_size=64, classes=5, dropout=0.0
    ).model_copy(update=changes)


def from_timm(theirs: MaxxVit, ours: Astroformer) -> dict[str, Tensor]:
    """timm's weights under our names: 1x1 convolutions become linear layers, q, k, v of all heads come together."""
    renamed = {
        "norm1.norm.": "norm1.",
        "conv1_1x1.": "expand.",
        "conv2_kxk.": "depthwise.",
        "conv3_1x1.": "project.",
        ".se.": ".squeeze_excite.",
        "attn.qkv.": "mixer.qkv.",
        "attn.proj.": "mixer.out.",
        "attn.rel_pos.relative_position_bias_table": "mixer.table",
        "mlp.fc1.": "mlp.0.",
        "mlp.fc2.": "mlp.2.",
        "head.pre_logits.fc.": "head.hidden.",
        "head.fc.": "head.classifier.",
        ".blocks.": ".",
    }
    wanted, state = ours.state_dict(), {}
    for name, value in theirs.state_dict().items():
        if name.endswith(("attn.qkv.weight", "attn.qkv.bias")):
            heads = theirs.get_submodule(name.rsplit(".", 2)[0]).num_heads
            value = value.reshape(heads, 3, -1, *value.shape[1:]).transpose(0, 1).reshape(value.shape)
        if name.endswith("bias_table"):
            value = value.T
        for old, new in renamed.items():
            name = name.replace(old, new)
        state[name] = value.reshape(wanted[name].shape)
    return state


def randomised(model: nn.Module) -> nn.Module:
    """Batch norms as after training, so that folding and running statistics have something to get wrong."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias)
    return model


@pytest.mark.parametrize("name", MILLIONS)
def test_parameters_are_those_of_the_released_family(name):
    with torch.device("meta"):
        model = Astroformer(variant(name))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(MILLIONS[name], abs=0.01)


@pytest.mark.parametrize("size", [64, 96])
@pytest.mark.parametrize("layout", ["CCCT", "CCTT"])
def test_equals_timms_coatnet_with_its_weights(size, layout):
    torch.manual_seed(0)
    config = small(image_size=size, layout=layout)
    cfg = MaxxVitCfg(
        embed_dim=config.widths,
        depths=config.depths,
        block_type=tuple(layout),
        stem_width=config.stem,
        head_hidden_size=config.head,
    )
    theirs = randomised(MaxxVit(cfg, img_size=size, num_classes=5))
    ours = Astroformer(config)
    ours.load_state_dict(from_timm(theirs, ours))
    x = torch.randn(3, 3, size, size)
    assert_close(ours.eval()(x), theirs.eval()(x))

    gradients = []
    for model in (ours.train(), theirs.train()):
        leaf = x.clone().requires_grad_()
        model(leaf).square().sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-3)  # batch statistics of three images amplify rounding


def test_strides_are_those_of_the_family():
    model, x = Astroformer(small()).eval(), torch.randn(1, 3, 64, 64)
    sides = []
    x = model.stem(x)
    for stage in model.stages:
        x = stage(x)
        sides.append(64 // x.shape[-1])
    assert sides == [4, 8, 16, 32]


@pytest.mark.parametrize("mixer", ["softmax", "relative", "halo", "neighborhood"])
@pytest.mark.parametrize("size", [(32, 32), (75, 61), (160, 96)])
def test_any_mixer_takes_any_input_size(mixer, size):
    model = Astroformer(small(mixer=mixer)).eval()
    assert model(torch.randn(2, 3, *size)).shape == (2, 5)


def test_folding_batch_norms_changes_nothing():
    torch.manual_seed(0)
    model, x = randomised(Astroformer(small())).eval(), torch.randn(2, 3, 64, 64)
    before = model(x)
    fold_batch_norms(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert_close(model(x), before)


def test_stochastic_depth_keeps_the_expectation_and_drops_whole_rows():
    torch.manual_seed(0)
    layer, x = StochasticDepth(0.3), torch.ones(20_000, 2, 2)
    y = layer(x)
    assert y.mean().item() == pytest.approx(1, abs=0.02)
    assert (y[:, :1, :1] == y).all()
    assert layer.eval()(x) is x


def test_unknown_variant_names_those_there_are():
    with pytest.raises(UsageError, match="nano, tiny, A-0"):
        variant("A-9")


def test_record_round_trip():
    config = small(mixer="halo:block=4")
    assert AstroformerConfig.model_validate_json(config.model_dump_json()) == config
