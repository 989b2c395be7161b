"""The body: its shapes, its skips, and a bottleneck that lets distant places see one another."""

import torch

from attn.core.blocks.encoder_decoder import EncoderDecoder


def body() -> EncoderDecoder:
    torch.manual_seed(0)
    return EncoderDecoder(1, (8, 16, 32), depth=2, mixer="relative", side=64).eval()


def test_odd_sides_come_back() -> None:
    with torch.inference_mode():
        for side, out in ((64, 32), (50, 25), (47, 24)):
            assert body()(torch.randn(2, 1, side, side)).shape == (2, 8, out, out)


def test_distant_places_see_one_another_through_the_bottleneck_alone() -> None:
    """A far corner moves the map where convolutions do not reach, and no longer when the mixers are silent."""
    model, x = body(), torch.randn(1, 1, 192, 192)
    changed = x.clone()
    changed[..., :16, :16] += 3
    with torch.inference_mode():
        assert not torch.equal(model(x)[..., -8:, -8:], model(changed)[..., -8:, -8:])
        for block in model.bottleneck:
            block.mixer.register_forward_hook(lambda _, __, out: torch.zeros_like(out))
        for module in model.modules():  # squeeze-and-excitation sees the whole map too
            if type(module).__name__ == "SqueezeExcite":
                module.register_forward_hook(lambda _, args, __: args[0])
        assert torch.equal(model(x)[..., -8:, -8:], model(changed)[..., -8:, -8:])


def test_skips_carry_the_fine_detail() -> None:
    """Two pictures that are equal after the pooling of the bottleneck's scale still differ in the map."""
    model = body()
    fine = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        kept = model(fine)
        model.bottleneck.register_forward_hook(lambda _, __, out: torch.zeros_like(out))
        assert model(fine).var((2, 3)).min() > 0 and not torch.equal(model(fine), kept)
