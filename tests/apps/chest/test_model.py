"""MEDUSA: the gates change nothing where they are one, the body runs once, and every scale teaches it."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attn.apps.chest.model import (
    SHARE,
    START,
    VARIANTS,
    Gate,
    Medusa,
    MedusaConfig,
    body_share,
    changed,
    image,
    standardised,
    variant,
    wide_enough,
)
from attn.core.attention import watch
from attn.core.blocks.convolution import fold_batch_norms
from attn.core.errors import UsageError
from attn.core.models.onnx import to_onnx

SMALL = MedusaConfig(image_size=64, body=(16, 16, 32), head=24, scales=4)


def model_of(seed: int = 0, **changes: object) -> Medusa:
    torch.manual_seed(seed)
    return Medusa(changed(SMALL, **changes)).eval()


def as_colour(x: Tensor) -> Tensor:
    return image(x).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def pictures(count: int = 2, side: int = 64) -> Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("form", START)
@pytest.mark.parametrize("per_channel", [False, True])
def test_gates_of_ones_are_the_bare_backbone(form: str, per_channel: bool) -> None:
    model, x = model_of(gate=form, per_channel=per_channel), pictures()
    with torch.inference_mode():
        bare = model.head.classify(model.head.embed(model.backbone(as_colour(x))))
        with watch.intervene(model, outputs={"gates.?": torch.ones_like}):
            assert torch.equal(model(x), bare)
        assert not torch.allclose(model(x), bare)


@pytest.mark.parametrize("form", START)
def test_gates_start_near_the_identity(form: str) -> None:
    model = model_of(gate=form).train()  # its norms know nothing of the body's map yet
    with watch.record(model, outputs="gates.?") as seen, torch.inference_mode():
        model(pictures(8))
    assert [*seen.outputs] == ["gates.0", "gates.1", "gates.2", "gates.3"]
    for index, gate in enumerate(seen.outputs.values()):
        side = 32 // 2**index
        assert gate.shape == (8, 1, side, side)
        assert (gate - 1).abs().max() < 0.5 and (gate - 1).abs().mean() < 0.12


def test_each_gate_can_be_replaced() -> None:
    model, x = model_of(), pictures()
    with torch.inference_mode():
        plain = model(x)
        for index in range(4):
            with watch.intervene(model, outputs={f"gates.{index}": torch.zeros_like}):
                assert not torch.allclose(model(x), plain)


def test_the_body_is_called_once_and_its_mixer_attends() -> None:
    model, calls = model_of(), []
    model.body.register_forward_hook(lambda *_: calls.append(1))
    with watch.record(model) as seen, torch.inference_mode():
        model(pictures())
    assert calls == [1]
    assert seen["body.bottleneck.0.mixer"].weights.shape == (2, 1, 16, 16)


def test_every_scale_teaches_the_body() -> None:
    """With all gates but one cut off from the body, its first layer still has a gradient."""
    for index in range(4):
        model = model_of().train()
        others = {f"gates.{other}": Tensor.detach for other in range(4) if other != index}
        with watch.intervene(model, outputs=others):
            model(pictures()).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.gates[index].parameters())
        gradient = model.body.stem.conv1.weight.grad
        assert gradient is not None and gradient.abs().sum() > 0


def test_heads_have_their_own_parameters() -> None:
    model = model_of()
    owners = [{id(p) for p in gate.parameters()} for gate in model.gates]
    assert len(set.union(*owners)) == sum(map(len, owners))


def test_the_two_inputs() -> None:
    """The body's is standardised per image, the backbone's keeps exposure; with one input both see the same."""
    x = pictures(3) * torch.tensor([0.2, 0.5, 1.0])[:, None, None, None] + 0.1
    z = standardised(x)
    np.testing.assert_allclose(z.mean((1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(z.std((1, 2, 3), correction=0), 1, rtol=1e-4)
    brighter = {
        two: (model_of(two_inputs=two).attend(x), model_of(two_inputs=two).attend(x / 2)) for two in (True, False)
    }
    torch.testing.assert_close(*brighter[True], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(*brighter[False], rtol=1e-3, atol=1e-3)
    assert brighter[True][0].shape[-1] == 16 and brighter[False][0].shape[-1] == 32


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("two_inputs", [True, False])
def test_a_constant_image_divides_by_no_zero(value: float, two_inputs: bool) -> None:
    x = torch.full((2, 1, 64, 64), value, requires_grad=True)
    assert standardised(x).abs().max() < 1e-2
    out = model_of(two_inputs=two_inputs)(x)
    out.sum().backward()
    assert out.isfinite().all() and x.grad is not None and x.grad.isfinite().all()


@pytest.mark.parametrize("name", VARIANTS)
def test_the_body_has_its_share(name: str) -> None:
    assert body_share(VARIANTS[name]) >= SHARE and len(VARIANTS[name].body) >= 3


@pytest.mark.parametrize("mixer", ["neighborhood:kernel=3", "halo:block=2,halo=1"])
def test_another_mixer(mixer: str) -> None:
    with torch.inference_mode():
        assert model_of(mixer=mixer)(pictures()).isfinite().all()


@pytest.mark.parametrize("backbone", ["resnet18", "efficientnet_b0", "convnext_atto"])
def test_a_backbone_of_timm(backbone: str) -> None:
    config = wide_enough(changed(SMALL, backbone=backbone, scales=3))
    assert body_share(config) >= SHARE
    model, x = Medusa(config).eval(), pictures()
    with torch.inference_mode(), watch.record(model, outputs="gates.?") as seen:
        assert model(x).shape == (2, 3)
    assert len(seen.outputs) == 3


def test_other_sides_and_bfloat16() -> None:
    model = model_of()
    with torch.inference_mode():
        assert model(pictures(1, 80)).isfinite().all()
        exact = model(pictures())
        half = model_of().bfloat16()(pictures().bfloat16())
        torch.testing.assert_close(half.float(), exact, atol=0.1, rtol=0.1)


def test_folded_batch_norms_change_nothing() -> None:
    model = model_of()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    with torch.inference_mode():
        plain = model(pictures())
        torch.testing.assert_close(fold_batch_norms(model)(pictures()), plain, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_onnx(tmp_path) -> None:
    assert to_onnx(model_of(), pictures(), tmp_path / "model.onnx", input_name="image") < 1e-4


@pytest.mark.parametrize("size", [(2, 2), (8, 8), (16, 16)])
def test_a_head_overlooks_no_place_of_the_map(size: tuple[int, int]) -> None:
    """A single bright cell of the body's map moves the gate's factor where it lies, at each size."""
    gate = Gate(4, 1, "plain").eval()
    nothing = torch.zeros(1, 4, 8, 8)
    spot = nothing.clone()
    spot[..., 2, 5] = 16
    moved = (gate(spot, size) - gate(nothing, size)).abs()[0, 0]
    assert (
        moved.shape == size
        and divmod(int(moved.argmax()), size[1])
        in {2: [(0, 1)], 8: [(2, 5)], 16: [(4, 10), (4, 11), (5, 10), (5, 11)]}[size[0]]
    )


@pytest.mark.parametrize("name", ["hf-hub:timm/resnet18", "no_such_net", "Resnet18"])
def test_unknown_backbones(name: str) -> None:
    with pytest.raises(UsageError):
        Medusa(variant("lite0", backbone=name))


def test_what_cannot_be() -> None:
    with pytest.raises(UsageError, match="no MEDUSA called 'huge'; there are lite0"):
        variant("huge")
    with pytest.raises(UsageError, match="body must have at least 3 items"):
        variant("lite0", body=(32, 64))
    with pytest.raises(UsageError, match="too small for a body of 6 scales"):
        variant("lite0", image_size=64, body=(8,) * 6)
    with pytest.raises(UsageError, match="cannot be run scale by scale"):
        Medusa(variant("lite0", backbone="vit_tiny_patch16_224"))
    with pytest.raises(UsageError, match="lite0 has 5 scales, not 6"):
        Medusa(variant("lite0", scales=6))
