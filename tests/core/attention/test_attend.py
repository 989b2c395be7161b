"""`attend`: equal to the formula written with loops, watched and unwatched, forward and backward."""

import pytest
import torch
from tolerances import assert_close
from torch import nn

from attn.core.attention import reference
from attn.core.attention.attend import attend, merge_heads, split_heads
from attn.core.attention.watch import record

DTYPES = [torch.float64, torch.float32, torch.bfloat16]


def draw(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


def holes(lq, lk):
    """A mask with some holes and a query, number 1, that may attend to nothing."""
    mask = torch.rand(lq, lk) > 0.3
    mask[1] = False
    return mask


def cases():
    """name -> (lead, lq, lk, options)."""
    torch.manual_seed(1)
    return {
        "plain": ((2, 3), 5, 7, {}),
        "scale": ((2, 3), 5, 7, {"scale": 0.7}),
        "causal": ((2, 3), 6, 6, {"causal": True}),
        "causal_with_cache": ((2, 3), 2, 6, {"causal": True}),
        "causal_one_query": ((2, 3), 1, 6, {"causal": True}),
        "causal_more_queries_than_keys": ((2, 3), 6, 4, {"causal": True}),
        "mask": ((2, 3), 5, 7, {"mask": holes(5, 7)}),
        "mask_per_key": ((2, 3), 5, 7, {"mask": torch.rand(2, 1, 1, 7) > 0.3}),
        "mask_and_causal": ((2, 3), 7, 7, {"mask": holes(7, 7), "causal": True}),
        "bias": ((2, 3), 5, 7, {"bias": draw(3, 5, 7)}),
        "bias_per_row": ((2, 3), 5, 7, {"bias": draw(5, 7)}),
        "bias_and_causal": ((2, 3), 6, 6, {"bias": draw(3, 6, 6), "causal": True}),
        "bias_and_mask": ((2, 3), 5, 7, {"bias": draw(3, 5, 7), "mask": holes(5, 7)}),
        "windows": ((2, 3, 4), 5, 7, {}),
        "windows_bias": ((2, 3, 4), 5, 7, {"bias": draw(2, 3, 4, 5, 7)}),
        "windows_shared_bias": ((2, 3, 4), 5, 7, {"bias": draw(3, 1, 5, 7)}),
        "windows_mask": ((2, 3, 4), 5, 7, {"mask": torch.rand(4, 1, 7) > 0.3}),
        "windows_on_a_grid": ((2, 3, 4, 2), 5, 7, {"mask": torch.rand(4, 1, 1, 7) > 0.3}),
        "few_tokens": ((130, 2), 5, 5, {}),
        "few_tokens_scale": ((130, 2), 5, 5, {"scale": 1.0}),
        "no_heads": ((2,), 5, 7, {"bias": draw(5, 7)}),
        "no_batch": ((), 5, 7, {"mask": holes(5, 7)}),
    }


def fused_and_watched():
    """All cases, and those with batch and heads, which can be watched, again so."""
    every = [(name, len(lead) >= 2) for name, (lead, *_) in cases().items()]
    return [(name, False) for name, _ in every] + [(name, True) for name, watchable in every if watchable]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("name", "watched"), fused_and_watched())
def test_equals_the_reference_forward_and_backward(name, dtype, watched):
    lead, lq, lk, options = cases()[name]
    torch.manual_seed(0)
    exact = [draw(*lead, lq, 8), draw(*lead, lk, 8), draw(*lead, lk, 6)]
    rounded = [x.detach().to(dtype).requires_grad_() for x in exact]
    if "bias" in options:
        exact.append(options["bias"])
    fast_options = dict(options)
    if "bias" in options:
        fast_options["bias"] = options["bias"].detach().to(dtype).requires_grad_()
        rounded.append(fast_options["bias"])

    site = nn.Identity()
    expected = reference.attention(*exact[:3], **options)
    if watched:
        with record(site) as seen:
            actual = attend(*rounded[:3], **fast_options, site=site)
        assert seen[""].weights.shape == (*lead, lq, lk)
    else:
        actual = attend(*rounded[:3], **fast_options, site=site)
    assert actual.dtype == dtype
    assert_close(actual, expected)

    towards = torch.randn_like(expected)
    (expected * towards).sum().backward()
    (actual * towards.to(dtype)).sum().backward()
    for x, y in zip(rounded, exact, strict=True):
        # A gradient is a sum over the other tokens' errors.
        assert_close(x.grad / 4, y.grad / 4)


@pytest.mark.parametrize("watched", [False, True], ids=["fused", "watched"])
def test_a_query_without_keys_gets_zero_and_no_nan_gradient(watched):
    q, k, v = draw(1, 2, 3, 4), draw(1, 2, 5, 4), draw(1, 2, 5, 4)
    site = nn.Identity()
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[1] = False
    if watched:
        with record(site):
            out = attend(q, k, v, mask=mask, site=site)
    else:
        out = attend(q, k, v, mask=mask)
    assert (out[:, :, 1] == 0).all()
    out.sum().backward()
    assert all(x.grad.isfinite().all() for x in (q, k, v))
    assert (q.grad[:, :, 1] == 0).all()


def test_causal_is_blind_to_the_future_and_aligned_to_the_last_key():
    q, k, v = draw(1, 1, 3, 4), draw(1, 1, 5, 4), draw(1, 1, 5, 4)
    attend(q, k, v, causal=True)[0, 0, 0].sum().backward()
    assert (v.grad[0, 0, :3] != 0).all()
    assert (v.grad[0, 0, 3:] == 0).all()


def test_dropout_drops_and_keeps_the_mean_watched_too():
    torch.manual_seed(0)
    q, k, v = torch.randn(1, 1, 2, 4), torch.randn(1, 1, 4096, 4), torch.ones(1, 1, 4096, 1)
    site = nn.Identity()
    fused = attend(q, k, v, dropout=0.5)
    with record(site) as seen:
        watched = attend(q, k, v, dropout=0.5, site=site)
    for out in (fused, watched):
        assert (out != 1).all()
        assert (out - 1).abs().max() < 0.2
    assert torch.allclose(seen[""].weights.sum(-1), torch.ones(())), "recorded before dropout"


def test_watched_weights_are_float32_under_autocast_and_the_answer_stays():
    torch.manual_seed(0)
    site = nn.Identity()
    q, k, v = (torch.randn(2, 2, 5, 8, dtype=torch.bfloat16) for _ in range(3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        unwatched = attend(q, k, v, site=site)
        with record(site) as seen:
            watched = attend(q, k, v, site=site)
    assert watched.dtype == unwatched.dtype == torch.bfloat16
    assert seen[""].weights.dtype == torch.float32
    assert_close(watched, unwatched.float())


def test_heads_split_in_order_and_merge_back():
    x = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    split = split_heads(x, 2)
    assert split.shape == (2, 2, 3, 4, 3)
    assert torch.equal(split[1, 1, 2, 3], x[1, 2, 3, 3:])
    assert torch.equal(merge_heads(split), x)
