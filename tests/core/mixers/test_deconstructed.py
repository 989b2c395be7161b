"""`deconstructed`: each variant equal to loops, what it lacks, and what it reads of a guide."""

from typing import get_args

import pytest
import torch
from tolerances import assert_close
from torch import nn

from attn.core import mixers
from attn.core.attention import reference
from attn.core.attention.attend import merge_heads, split_heads
from attn.core.attention.watch import record
from attn.core.errors import UsageError
from attn.core.mixers.deconstructed import DeconstructedMixer

GUIDED = {"random": "noise", "fixed": "text", "static": "start"}
MIXING = ["approximate", "non_approximate", *GUIDED]


def make(variant, channels=8, **options):
    torch.manual_seed(0)
    mixer = mixers.create(
        "deconstructed", dims=1, channels=channels, heads=2, size=(9,), causal=True, variant=variant, **options
    )
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.4)
    return mixer


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("variant", MIXING)
def test_equals_the_loops_forward_and_backward(variant, rows):
    mixer = make(variant).double()
    x, guide = (torch.randn(n, 7, 8, dtype=torch.float64, requires_grad=True) for n in (2, rows))
    read = {"guide": guide} if variant in GUIDED else {}
    q, k, _ = (split_heads(part, 2) for part in mixer.qkv(guide if read else x).chunk(3, -1))
    v = split_heads(mixer.qkv(x).chunk(3, -1)[2], 2)
    q, k = (part.expand_as(v) for part in (q, k))
    expected = mixer.out(merge_heads(reference.deconstructed(q, k, v, variant)))
    actual = mixer(x, **read)
    assert_close(actual, expected)
    towards = torch.randn_like(x)
    inputs = (x, *mixer.parameters(), *([guide] if read else []))
    ours = torch.autograd.grad((actual * towards).sum(), inputs)
    theirs = torch.autograd.grad((expected * towards).sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b)


def test_mlp_mixes_nothing_and_has_the_parameters_of_the_others():
    mixer, x = make("mlp", channels=96), torch.randn(2, 5, 96)
    assert_close(mixer(x)[:, 2:3], mixer(x[:, 2:3]))
    count = {v: sum(p.numel() for p in make(v, channels=96).parameters()) for v in ("mlp", "static")}
    assert abs(count["mlp"] / count["static"] - 1) < 0.01
    cache = mixer.start(2, 1)
    assert cache.endless and mixer.endless
    assert_close(torch.cat([mixer(x[:, :3], cache), mixer(x[:, 3:], cache)], 1), mixer(x))
    assert cache.length == 5


def test_small_products_make_the_approximation_the_softmax():
    """The second-order Taylor polynomial is off by s³/6."""
    mixer, x = make("approximate"), torch.randn(2, 9, 8)
    plain = mixers.create("softmax", dims=1, channels=8, heads=2, size=(9,), causal=True)
    plain.load_state_dict(mixer.state_dict())
    far = (mixer(x) - plain(x)).abs().max()
    for each in (mixer, plain):
        with torch.no_grad():
            each.qkv.weight[:16] /= 10
            each.qkv.bias[:16] /= 10
    near = (mixer(x) - plain(x)).abs().max()
    assert near < far / 1000


def test_weights_of_non_approximate_are_of_the_key_alone():
    mixer = make("non_approximate")
    with record(mixer) as seen:
        mixer(torch.randn(1, 9, 8))
    weights = seen[""].dense(9)
    ratio = weights[..., 1] / weights[..., 0]
    assert_close(ratio[..., 1:], ratio[..., 1:2].expand(-1, -1, 8))


@pytest.mark.parametrize(("variant", "guide"), GUIDED.items())
def test_weights_are_of_the_guide_alone(variant, guide):
    mixer = make(variant)
    assert mixer.guide == guide
    seen = []
    for _ in range(2):
        with record(mixer) as records:
            mixer(torch.randn(2, 9, 8), guide=torch.ones(1, 9, 8) * torch.arange(9)[:, None])
        seen.append(records[""].weights)
    assert torch.equal(*seen)


@pytest.mark.parametrize("variant", GUIDED)
def test_steps_with_a_guide_equal_the_pass(variant):
    mixer, x, guide = make(variant), torch.randn(2, 9, 8), torch.randn(1, 9, 8)
    cache = mixer.start(2, 9)
    parts = [mixer(x[:, a:b], cache, guide=guide[:, a:b]) for a, b in ((0, 4), (4, 5), (5, 9))]
    assert_close(torch.cat(parts, 1), mixer(x, guide=guide))


def test_a_variant_that_does_not_exist_is_named():
    with pytest.raises(UsageError, match=r"variant must be .*'static'.*not 'dynamic'"):
        make("dynamic")


def test_a_variant_is_a_name_of_its_own():
    common = {"dims": 1, "channels": 8, "heads": 2, "size": (5,)}
    variants = get_args(DeconstructedMixer.Config.model_fields["variant"].annotation)
    assert [mixers.create(name, **common).config.variant for name in variants] == [*variants]
    with pytest.raises(UsageError, match="'static' is deconstructed:variant=static; leave variant out"):
        mixers.create("static:variant=mlp", **common)
    with pytest.raises(UsageError, match="no mixer 'static' for 2-D tokens"):
        mixers.create("static", **common | {"dims": 2, "size": (5, 5)})
