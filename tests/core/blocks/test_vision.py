"""Vision transformers: equal to timm's with the same weights, at any grid; rows and pairs in closed form."""

import pytest
import timm
import torch
from tolerances import assert_close
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.attention.watch import record
from attn.core.blocks.lite0 import Lite0
from attn.core.blocks.vision import (
    Heads,
    PatchEmbedding,
    VisionBlock,
    VisionTransformer,
    load_timm,
    resample_positions,
)
from attn.core.errors import UsageError

NAMES = ["vit_tiny_patch16_224", "deit_tiny_patch16_224"]


def theirs_of(name: str, size: tuple[int, int], **options: object) -> nn.Module:
    torch.manual_seed(0)
    network = timm.create_model(name, img_size=size, depth=2, **options).eval()
    for parameter in network.parameters():  # so that biases and norms count too
        nn.init.normal_(parameter, std=0.05)
    return network


def ours_of(grid: tuple[int, int], width: int = 192, depth: int = 2, heads: int = 3) -> VisionTransformer:
    torch.manual_seed(1)
    return VisionTransformer(PatchEmbedding(3, width, 16), grid, width, depth, heads).eval()


def picture(*size: int, count: int = 2) -> Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(2))


def block_of(width: int = 16, heads: int = 2) -> VisionBlock:
    torch.manual_seed(3)
    block = VisionBlock(width, heads).eval()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    return block


def drawn(*shape: int, seed: int = 4) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(48, 48), (64, 32)])
def test_equals_timm(name: str, size: tuple[int, int]) -> None:
    theirs, ours = theirs_of(name, size), ours_of((size[0] // 16, size[1] // 16))
    load_timm(ours, theirs.state_dict(), ours.grid)
    with torch.inference_mode():
        torch.testing.assert_close(ours(picture(*size)), theirs.forward_features(picture(*size)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_network_of_timm(name: str) -> None:
    """Depth 12 and 224 px, as published."""
    theirs = timm.create_model(name).eval()
    ours = ours_of((14, 14), depth=12)
    load_timm(ours, theirs.state_dict())
    with torch.inference_mode():
        features = theirs.forward_features(picture(224, 224, count=1))
        torch.testing.assert_close(ours(picture(224, 224, count=1)), features, atol=1e-5, rtol=1e-5)
    assert sum(p.numel() for p in ours.parameters()) == 5_717_416 - 193_000  # without the classifier of 1,000 classes


@pytest.mark.parametrize("size", [(96, 32), (32, 64), (64, 32), (48, 80)])
def test_other_sizes_equal_timm_with_its_grid_given(size: tuple[int, int]) -> None:
    """(32, 64) has as many patches as (64, 32), and other positions."""
    theirs, ours = theirs_of(NAMES[0], (64, 32), dynamic_img_size=True), ours_of((4, 2))
    load_timm(ours, theirs.state_dict(), (4, 2))
    with torch.inference_mode():
        torch.testing.assert_close(ours(picture(*size)), theirs.forward_features(picture(*size)), atol=1e-5, rtol=1e-5)


def test_weights_of_a_square_for_a_rectangle() -> None:
    theirs, ours = theirs_of(NAMES[0], (48, 48)), ours_of((4, 2))
    load_timm(ours, theirs.state_dict())
    wanted = theirs.pos_embed[:, 1:].reshape(1, 3, 3, 192).permute(0, 3, 1, 2)
    wanted = F.interpolate(wanted, (4, 2), mode="bicubic", antialias=True).permute(0, 2, 3, 1).reshape(1, 8, 192)
    assert_close(ours.positions[:, 1:], wanted)
    assert torch.equal(ours.positions[:, :1], theirs.pos_embed[:, :1])


def test_as_many_patches_are_not_the_same_grid() -> None:
    positions = drawn(1, 17, 5)
    assert resample_positions(positions, (2, 8), (2, 8)) is positions
    assert not torch.allclose(resample_positions(positions, (2, 8), (4, 4)), positions)
    ramp = torch.arange(8.0).repeat(2)[None, :, None]  # grows along x alone
    turned = resample_positions(torch.cat([torch.zeros(1, 1, 1), ramp], 1), (2, 8), (4, 4))[0, 1:, 0].view(4, 4)
    assert_close(turned, turned[:1].expand(4, 4))
    assert (turned.diff(dim=1) > 1).all()


@pytest.mark.parametrize(
    ("name", "options"),
    [("deit_tiny_distilled_patch16_224", {}), (NAMES[0], {"embed_dim": 96}), (NAMES[0], {"reg_tokens": 3})],
)
def test_weights_of_another_network(name: str, options: dict[str, int]) -> None:
    theirs = theirs_of(name, (48, 48), **options)
    with pytest.raises(UsageError, match=r"weights of another network|positions of patches"):
        load_timm(ours_of((3, 3)), theirs.state_dict(), (3, 3))


def test_sites_and_a_watched_pass() -> None:
    model = ours_of((3, 2), width=16, heads=2)
    with torch.inference_mode():
        plain = model(picture(48, 32))
        with record(model, heads="*", outputs="blocks.?.mixer") as seen:
            watched = model(picture(48, 32))
    assert [*seen] == [*seen.heads] == [*seen.outputs] == ["blocks.0.mixer", "blocks.1.mixer"]
    assert seen["blocks.1.mixer"].weights.shape == (2, 2, 7, 7)
    assert seen.outputs["blocks.1.mixer"].shape == (2, 7, 16)
    assert_close(watched, plain)


def test_some_rows_are_the_rows_of_all() -> None:
    block, x = block_of(), drawn(3, 9, 16)
    rows = torch.tensor([[0, 4, 2], [0, 8, 1], [0, 3, 5]])
    chosen = x.gather(1, rows[..., None].expand(-1, -1, 16))
    wanted = block(x).gather(1, rows[..., None].expand(-1, -1, 16))
    assert_close(block(chosen, block.read(x, chosen)), wanted)


def test_a_pair_with_itself_changes_nothing() -> None:
    block, x = block_of(), drawn(3, 9, 16)
    heads = block.read(x)
    assert_close(block(x, heads.beside(heads)), block(x))


def test_a_pair_has_one_softmax_over_both() -> None:
    """Against softmax([q k1ᵀ, q k2ᵀ] / sqrt(D)) [v1; v2] written out."""
    block, x, y = block_of(), drawn(2, 5, 16), drawn(2, 5, 16, seed=5)
    own, other = block.read(x), block.read(y)
    logits = torch.cat([own.q_bhrd @ own.k_bhmd.mT, own.q_bhrd @ other.k_bhmd.mT], -1) / 8**0.5
    found = logits.softmax(-1) @ torch.cat([own.v_bhmd, other.v_bhmd], 2)
    middle = x + block.mixer.out(found.transpose(1, 2).flatten(2))
    assert_close(block(x, own.beside(other)), middle + block.mlp(block.norm2(middle)))


def test_a_partner_that_nobody_attends_to_changes_nothing() -> None:
    """Keys of very negative products with the queries, which is what a mask does to them."""
    block, x = block_of(), drawn(2, 5, 16)
    own = block.read(x)
    far = Heads(own.q_bhrd, -1e4 * own.q_bhrd.mean(2, keepdim=True).expand_as(own.k_bhmd), own.v_bhmd * 7)
    ones = Heads(own.q_bhrd.abs() + 1, own.k_bhmd, own.v_bhmd)  # queries that all point the same way
    far = far._replace(k_bhmd=torch.full_like(own.k_bhmd, -1e4))
    assert_close(block(x, ones.beside(far)), block(x, ones))


def test_a_hybrid() -> None:
    torch.manual_seed(0)
    model = VisionTransformer(PatchEmbedding(112, 16, 1, Lite0(5)), (3, 2), 16, 1, 2).eval()
    with torch.inference_mode():
        assert model(picture(48, 32)).shape == (2, 7, 16)
        assert model(picture(50, 20)).shape == (2, 1 + 4 * 2, 16)


def test_gradients_reach_every_parameter() -> None:
    model = ours_of((3, 2), width=16, heads=2).train()
    model(picture(48, 32)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_bfloat16() -> None:
    exact = ours_of((3, 2), width=16, heads=2)
    with torch.inference_mode():
        wanted = exact(picture(48, 32))
        half = exact.bfloat16()(picture(48, 32).bfloat16())
        other = exact(picture(80, 32).bfloat16())
    assert half.dtype == other.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), wanted, atol=0.1, rtol=0.1)


def test_blocks_of_another_mechanism_see_the_patches_alone_and_begin_as_nothing():
    torch.manual_seed(0)
    patches = PatchEmbedding(3, 16, 8)
    vit = VisionTransformer(patches, (4, 4), 16, 2, 4, mixer="halo:block=2,neighborhood:kernel=3").eval()
    x = torch.randn(2, 17, 16)
    plain = x.clone()
    for block in vit.blocks:
        plain[:, 1:] += block.mlp(block.norm2(plain[:, 1:]))
        nn.init.normal_(block.scale)
    changed = x
    for block in vit.blocks:
        changed = block(changed)
    assert torch.equal(changed[:, 0], x[:, 0])
    assert not torch.allclose(changed, plain)
    for block in vit.blocks:
        nn.init.zeros_(block.scale)
        x = block(x)
    torch.testing.assert_close(x, plain)
    assert not vit.class_token.requires_grad
    with pytest.raises(UsageError, match="15 patches are not 4 x 4"):
        vit.blocks[0](torch.randn(1, 16, 16))
