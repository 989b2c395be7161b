"""Counted costs: those of closed forms, and the growth that every mechanism claims."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from attn.core import mixers
from attn.core.measures.counting import count
from attn.mixers.bench import exponent

FORMS = [(info, dims) for info in mixers.available() for dims in info.dims]
SIDES = {1: (16, 48), 2: (128, 512)}  # tokens are their squares; large enough that mixing costs more than projecting

OPTIONS = {("axial", 1): {"width": 4}, ("relative_local", 1): {"block": 16}}  # less than there are tokens


def test_a_product_costs_what_it_costs():
    a, b = torch.randn(3, 5), torch.randn(5, 7)
    assert count(lambda: a @ b) == (2 * 3 * 5 * 7, 3 * 7 * 4)


def test_what_is_alive_at_once_counts_and_views_do_not():
    x = torch.zeros(1000)

    def one_after_another():
        for _ in range(5):
            x + 1

    def together():
        return [x + 1 for _ in range(5)]

    assert count(lambda: x.view(10, 100).T[3:]).peak == 0
    assert count(one_after_another).peak == 4000
    assert count(together).peak == 5 * 4000


def test_a_gradient_is_counted():
    x = torch.randn(16, 8, requires_grad=True)
    weight = torch.randn(8, 8)
    assert count(lambda: torch.autograd.grad((x @ weight).sum(), x)).operations == 2 * (2 * 16 * 8 * 8)


def test_fused_attention_is_counted_and_keeps_no_weights():
    q = torch.randn(1, 2, 64, 8)
    found = count(lambda: F.scaled_dot_product_attention(q, q, q))
    assert found.operations == 2 * 2 * (2 * 64 * 64 * 8)
    assert found.peak < 64 * 64 * 4


@pytest.mark.parametrize(("info", "dims"), FORMS, ids=[f"{info.name}-{dims}" for info, dims in FORMS])
def test_products_grow_as_is_claimed(info, dims):
    """With tensors that have no numbers in them, so that nothing is computed."""
    costs = []
    for side in SIDES[dims]:
        size = (side * side,) if dims == 1 else (side, side)
        channels, options = {1: 4, 2: 16}[dims], OPTIONS.get((info.name, dims), {})
        mixer = mixers.create(info.name, dims=dims, channels=channels, heads=4, size=size, **options).eval()
        fake = FakeTensorMode(allow_non_fake_inputs=True)
        x = fake.from_tensor(torch.empty(1, *size, channels))
        with torch.no_grad(), fake:
            costs.append(count(lambda x=x, mixer=mixer: mixer(x)).operations)
    fitted = exponent([side * side for side in SIDES[dims]], costs)
    assert fitted == pytest.approx(info.exponent, abs=0.25), costs
