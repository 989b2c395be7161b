"""Backbones scale by scale: the chain is the network, and names cannot reach out."""

import pytest
import timm
import torch

from attn.core.blocks.backbones import backbone
from attn.core.blocks.lite0 import Lite0, stride_after
from attn.core.errors import UsageError


@pytest.mark.parametrize("scales", [1, 3, 5])
def test_lite0_in_scales_is_lite0(scales: int) -> None:
    torch.manual_seed(0)
    chain, x = backbone("lite0", scales).eval(), torch.randn(2, 3, 64, 64)
    net = Lite0((1, 2, 3, 5, 7)[scales - 1]).eval()
    net.load_state_dict(chain.net.state_dict())
    with torch.inference_mode():
        assert torch.equal(chain(x), net(x))
        for index, width in enumerate(chain.widths):
            x = chain.scale(index, x)
            assert x.shape == (2, width, 32 >> index, 32 >> index)
    assert stride_after(chain.ends[-1]) == 2**scales


def test_timm_in_scales_is_timms_feature_extractor() -> None:
    chain, x = backbone("resnet18", 3).eval(), torch.randn(1, 3, 64, 64)
    features = timm.create_model("resnet18", pretrained=False, features_only=True, out_indices=(0, 1, 2)).eval()
    features.load_state_dict(chain.net.state_dict())
    with torch.inference_mode():
        expected = features(x)
        assert [m.shape[1] for m in expected] == list(chain.widths)
        for index, map_bchw in enumerate(expected):
            x = chain.scale(index, x)
            assert torch.equal(x, map_bchw)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("hf-hub:timm/resnet18.a1_in1k", "timm has no network called"),
        ("local-dir:/tmp", "timm has no network called"),
        ("nothing", "timm has no network called 'nothing'"),
        ("vit_tiny_patch16_224", "cannot be run scale by scale"),
        ("swin_tiny_patch4_window7_224", "no maps of channels first"),
    ],
)
def test_names_that_are_no_backbone(name: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        backbone(name, 3)


def test_more_scales_than_there_are() -> None:
    for name in ("lite0", "resnet18"):
        with pytest.raises(UsageError, match="scales"):
            backbone(name, 7)
