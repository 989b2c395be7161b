"""Attention among few tokens: equal to the formula, in one block of examples and in several."""

import pytest
import torch
from torch.autograd import gradcheck

from attn.core.attention.attend import attend, split_heads
from attn.core.attention.kernels import few_tokens
from attn.core.attention.problem import Problem


def has_few_tokens(q, k, v):
    return few_tokens.takes(Problem(q, k, v, 1.0))


def attend_few(q, k, v, scale):
    return few_tokens.run(Problem(q, k, v, scale))


def draw(*shape, **options):
    return tuple(torch.randn(*shape, dtype=torch.float64, **options) for _ in range(3))


def formula(q, k, v, scale):
    return (q @ k.mT * scale).softmax(-1) @ v


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=[1 << 18, 4 * 2 * 4 * 4 * 8, 1], ids=["one block", "blocks of four", "one by one"])
def _blocks(request, monkeypatch):
    monkeypatch.setattr(few_tokens, "BLOCK_BYTES", request.param)


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_equals_the_formula(scale):
    """Ten examples are two blocks of four and a rest."""
    inputs = draw(10, 2, 4, 3)
    torch.testing.assert_close(attend_few(*inputs, scale), formula(*inputs, scale), rtol=1e-12, atol=1e-12)


def test_gradients(monkeypatch):
    """Of all three inputs, against differences; three examples are a block of two and a rest."""
    monkeypatch.setattr(few_tokens, "BLOCK_BYTES", 2 * 2 * 3 * 3 * 8)
    gradcheck(lambda q, k, v: attend_few(q, k, v, 0.3), draw(3, 2, 3, 2, requires_grad=True), fast_mode=True)


def test_inputs_are_left_alone():
    """The scale goes to a copy."""
    inputs = draw(5, 2, 4, 3)
    before = [x.clone() for x in inputs]
    attend_few(*inputs, 0.3)
    assert all(torch.equal(a, b) for a, b in zip(inputs, before, strict=True))


def test_one_token_and_one_channel():
    """The shortest sums."""
    q, k, v = draw(7, 3, 1, 1)
    torch.testing.assert_close(attend_few(q, k, v, 1.0), v)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_door_takes_this_way_as_it_is_told(dtype, monkeypatch):
    """With views of one projection, as layers make them; without the way the result is the same."""
    qkv = torch.randn(few_tokens.FEWEST_EXAMPLES, 6, 3 * 8, dtype=dtype)
    q, k, v = (split_heads(x, 2) for x in qkv.chunk(3, -1))
    assert has_few_tokens(q, k, v)
    here = attend(q, k, v)
    monkeypatch.setattr(few_tokens, "MOST_PRODUCTS", 0)
    assert not has_few_tokens(q, k, v)
    torch.testing.assert_close(here, attend(q, k, v), rtol=1e-5, atol=1e-6)


def test_which_inputs():
    """Few tokens, many examples, in full precision, on one thread of a CPU."""
    q, k, v = draw(128, 2, 12, 12)
    assert has_few_tokens(q, k, v)
    assert not has_few_tokens(q[:127], k[:127], v[:127])
    assert not has_few_tokens(*draw(128, 2, 13, 12))
    assert not has_few_tokens(*draw(128, 2, 12, 13))
    assert not has_few_tokens(*draw(128, 2, 4, 17))
    assert not has_few_tokens(q[:, :, :1], k, v)
    assert not has_few_tokens(q[0], k[0], v[0])
    assert not has_few_tokens(*(x.bfloat16() for x in (q, k, v)))
    assert not has_few_tokens(q, k, v.float())
    assert not has_few_tokens(*(x.to("meta") for x in (q, k, v)))
    assert not has_few_tokens(*(x[:, :, :0] for x in (q, k, v)))
    torch.set_num_threads(2)
    assert not has_few_tokens(q, k, v)
