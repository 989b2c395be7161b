"""`neighborhood`: equal to NATTEN's rule written with loops, and its limits to plain attention."""

import pytest
import torch
from tolerances import assert_close

from attn.core import mixers
from attn.core.attention import reference
from attn.core.attention.attend import merge_heads, split_heads
from attn.core.attention.watch import record
from attn.core.mixers.neighborhood import windows


def make(size, channels=8, **options):
    torch.manual_seed(0)
    return mixers.create("neighborhood", dims=2, channels=channels, heads=2, size=size, **options)


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
def test_windows_equal_the_rule_token_by_token(kernel, dilation):
    for n in range(kernel * dilation, 18):
        expected = [reference.neighborhood_window(p, n, kernel, dilation) for p in range(n)]
        assert windows(n, kernel, dilation, torch.device("cpu")).tolist() == expected


def test_windows_by_hand():
    """Shifted at the border, not padded; an even kernel has its extra key before the token."""
    cpu = torch.device("cpu")
    odd = windows(7, 3, 1, cpu).tolist()
    assert odd == [[0, 1, 2], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 6], [4, 5, 6]]
    assert windows(4, 2, 1, cpu).tolist() == [[0, 1], [0, 1], [1, 2], [2, 3]]
    assert windows(5, 2, 2, cpu).tolist() == [[0, 2], [1, 3], [0, 2], [1, 3], [2, 4]]


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_a_window_too_large_is_clipped_to_the_map(n):
    cpu = torch.device("cpu")
    assert windows(n, 7, 1, cpu).tolist() == [list(range(n))] * n
    for dilation in (2, 4):
        for window in windows(n, 7, dilation, cpu).tolist():
            assert window == sorted(set(window))
            assert set(window) <= set(range(n))


@pytest.mark.parametrize(
    ("size", "kernel", "dilation"),
    [((5, 6), 3, 1), ((4, 7), 4, 1), ((6, 7), 3, 2), ((7, 4), 1, 1), ((4, 4), 2, 2)],
)
def test_equals_the_loops_forward_and_backward(size, kernel, dilation):
    mixer = make(size, kernel=kernel, dilation=dilation).double()
    x = torch.randn(2, *size, 8, dtype=torch.float64, requires_grad=True)
    q, k, v = (split_heads(part, 2) for part in mixer.qkv(x).chunk(3, -1))
    expected = mixer.out(merge_heads(reference.neighborhood(q, k, v, kernel, dilation)))
    actual = mixer(x)
    assert_close(actual, expected)
    towards = torch.randn_like(x)
    inputs = (x, *mixer.parameters())
    ours = torch.autograd.grad((actual * towards).sum(), inputs)
    theirs = torch.autograd.grad((expected * towards).sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("kernel", [6, 9])
def test_a_kernel_as_large_as_the_map_is_full_attention(kernel):
    mixer = make((6, 5), kernel=kernel)
    plain = mixers.create("softmax", dims=2, channels=8, heads=2, size=(6, 5))
    plain.load_state_dict(mixer.state_dict())
    x = torch.randn(2, 6, 5, 8)
    assert_close(mixer(x), plain(x))


def test_a_kernel_of_one_returns_the_values():
    mixer = make((4, 5), kernel=1)
    x = torch.randn(2, 4, 5, 8)
    assert_close(mixer(x), mixer.out(mixer.qkv(x)[..., 16:]))


def test_dilation_leaves_groups_apart():
    mixer = make((8, 8), kernel=3, dilation=2)
    x = torch.randn(1, 8, 8, 8, requires_grad=True)
    mixer(x)[0, 3, 4].sum().backward()
    reached = (x.grad[0].abs().sum(-1) > 0).nonzero().tolist()
    assert reached == [[y, x] for y in (1, 3, 5) for x in (2, 4, 6)]


def test_every_token_gives_weight_to_exactly_its_window():
    mixer = make((6, 7), kernel=3)
    with record(mixer) as seen:
        mixer(torch.randn(1, 6, 7, 8))
    assert ((seen[""].dense(42) > 0).sum(-1) == 9).all()


def sequence(**options):
    torch.manual_seed(0)
    causal = options.pop("causal")
    return mixers.create("neighborhood", dims=1, channels=8, heads=2, size=(9,), causal=causal, **options)


@pytest.mark.parametrize(
    ("length", "kernel", "dilation", "causal"),
    [
        (7, 3, 1, True),
        (7, 3, 1, False),
        (100, 5, 1, True),
        (101, 5, 1, False),
        (100, 4, 1, False),
        (107, 3, 2, True),
        (107, 3, 2, False),
        (200, 40, 3, True),
        (200, 40, 3, False),
        (5, 9, 4, True),
        (1, 1, 1, False),
    ],
)
def test_a_sequence_equals_the_loops_forward_and_backward(length, kernel, dilation, causal):
    mixer = sequence(kernel=kernel, dilation=dilation, causal=causal).double()
    x = torch.randn(2, length, 8, dtype=torch.float64, requires_grad=True)
    q, k, v = (split_heads(part, 2) for part in mixer.qkv(x).chunk(3, -1))
    expected = mixer.out(merge_heads(reference.neighborhood_sequence(q, k, v, kernel, dilation, causal)))
    actual = mixer(x)
    assert_close(actual, expected)
    inputs = (x, *mixer.parameters())
    ours = torch.autograd.grad(actual.square().sum(), inputs)
    theirs = torch.autograd.grad(expected.square().sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("causal", [True, False])
def test_a_window_over_the_whole_sequence_is_full_attention(causal):
    mixer = sequence(kernel=64, causal=causal)
    plain = mixers.create("softmax", dims=1, channels=8, heads=2, size=(9,), causal=causal)
    plain.load_state_dict(mixer.state_dict())
    x = torch.randn(2, 40, 8)
    assert_close(mixer(x), plain(x))


def test_a_window_too_large_for_the_groups_is_clipped():
    mixer = sequence(kernel=64, dilation=3, causal=False)
    with record(mixer) as seen:
        assert mixer(torch.randn(1, 10, 8)).isfinite().all()
    assert ((seen[""].dense(10) > 0).sum(-1) == 3).all()  # the smallest group has 3 tokens


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 4)])
def test_pieces_without_end_in_constant_memory(kernel, dilation):
    mixer = sequence(kernel=kernel, dilation=dilation, causal=True)
    x, cache = torch.randn(1, 300, 8), mixer.start(1, 1)
    room = cache._k_bhnd.shape
    with torch.no_grad():
        steps = [mixer(part, cache) for part in x.split([1] * 100 + [7, 1, 50, 2, 140], 1)]
        assert_close(torch.cat(steps, 1), mixer(x))
    assert cache._k_bhnd.shape == room
    assert cache.endless and mixer.endless
