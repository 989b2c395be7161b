"""Bad sizes and numbers, for every mixer: the right value or one sentence, and never NaN."""

import pytest
import torch
from torch import nn

from attn.core import mixers
from attn.core.errors import UsageError

EVERY = [(info.name, dims) for info in mixers.available() for dims in info.dims]
every = pytest.mark.parametrize(("name", "dims"), EVERY, ids=str)

# Windows, kernels, clusters, rows and groups that are larger than the map.
LARGE = [
    ("axial", 1, {"width": 64}),
    ("context_mixing", 2, {"near": 9, "wide": 15, "regions": 12}),
    ("dual", 2, {"window": 16}),
    ("halo", 2, {"block": 16, "halo": 8}),
    ("neighborhood", 1, {"kernel": 64, "dilation": 9}),
    ("neighborhood", 1, {"kernel": 64, "dilation": 9, "causal": True}),
    ("neighborhood", 2, {"kernel": 31, "dilation": 9}),
    ("relative_local", 1, {"block": 64}),
    ("relative_places", 1, {"max_across": 64, "max_along": 64}),
    ("routing", 1, {"clusters": 64}),
    ("routing", 1, {"clusters": 64, "causal": True}),
]


def make(name, dims, **options):
    torch.manual_seed(0)
    mixer = mixers.create(name, dims=dims, channels=8, heads=4, size=(4,) * dims, **options)
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.4)
    return mixer.eval()


@every
def test_of_no_tokens_there_are_none(name, dims):
    mixer = make(name, dims)
    for batch in (0, 2):
        for grid in {1: [(0,)], 2: [(0, 0), (0, 3), (3, 0)]}[dims] + [(4,) * dims] * (batch == 0):
            y = mixer(torch.zeros(batch, *grid, 8, dtype=torch.float64))
            assert y.shape == (batch, *grid, 8) and y.dtype == torch.float64


@every
def test_a_step_of_no_tokens_changes_nothing(name, dims):
    mixer = make(name, dims, causal=True) if dims == 1 and _has_causal(name) else None
    if mixer is None:
        return
    cache = mixer.start(1, 4)
    assert mixer(torch.zeros(1, 0, 8), cache).shape == (1, 0, 8)
    assert cache.length == 0


def _has_causal(name):
    return any(info.name == name and 1 in info.dims and info.has(causal=True) for info in mixers.available())


@every
def test_one_token_is_mixed_with_itself(name, dims):
    mixer = make(name, dims)
    x = torch.randn(3, *(1,) * dims, 8)
    assert mixer(x).shape == x.shape and mixer(x).isfinite().all()


@pytest.mark.parametrize(("name", "dims", "options"), LARGE, ids=str)
def test_a_map_smaller_than_the_window_is_one_window(name, dims, options):
    mixer = make(name, dims, **options)
    for size in (1, 2, 5):
        x = torch.randn(2, *(size,) * dims, 8, requires_grad=True)
        y = mixer(x)
        (gradient,) = torch.autograd.grad(y.square().sum(), x)
        assert y.isfinite().all() and gradient.isfinite().all()


@every
def test_equal_tokens_give_finite_values(name, dims):
    mixer = make(name, dims)
    for value in (0.0, 1.0, -300.0):
        assert mixer(torch.full((1, *(6,) * dims, 8), value)).isfinite().all()


@every
def test_heads_that_do_not_divide_are_one_sentence(name, dims):
    with pytest.raises(UsageError, match="8 channels cannot be split into 3 heads"):
        mixers.create(name, dims=dims, channels=8, heads=3, size=(4,) * dims)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("dims", [1, 2])
def test_temperatures_do_not_overflow_in_half_precision(dims, kind):
    mixer = make("selective", dims)
    nn.init.constant_(mixer.by_length, 100.0)
    y = mixer.to(kind)(100 * torch.randn(1, *(8,) * dims, 8, dtype=kind))
    assert not y.isnan().any()


@every
@pytest.mark.parametrize("size", [1e3, 1e4])
def test_large_tokens_in_half_precision_are_no_nan(name, dims, size):
    torch.manual_seed(0)
    mixer = mixers.create(name, dims=dims, channels=32, heads=4, size=(8,) * dims).half().eval()
    assert not mixer((size * torch.randn(2, *(8,) * dims, 32)).half()).isnan().any()
