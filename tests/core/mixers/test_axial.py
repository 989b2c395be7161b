"""`axial`: equal to loops, reaches every cell, sees no future, and samples row by row as it samples slowly."""

import pytest
import torch
from tolerances import assert_close
from torch import nn

from attn.core import mixers
from attn.core.attention import reference
from attn.core.attention.attend import merge_heads, split_heads
from attn.core.attention.watch import record
from attn.core.errors import AttnError


def make(dims, size, channels=8, **options):
    torch.manual_seed(0)
    mixer = mixers.create("axial", dims=dims, channels=channels, heads=2, size=size, **options).double()
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.4)
    return mixer


def line(part, x_blc, causal=False):
    """One line of tokens through the loops."""
    q, k, v = (split_heads(each, 2) for each in part.qkv(x_blc).chunk(3, -1))
    return part.out(merge_heads(reference.attention(q, k, v, causal=causal)))


def same_gradients(actual, expected, inputs):
    assert_close(actual, expected)
    ours = torch.autograd.grad(actual.square().sum(), inputs)
    theirs = torch.autograd.grad(expected.square().sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b)


def test_a_map_equals_the_loops_forward_and_backward():
    mixer = make(2, (3, 4))
    x = torch.randn(2, 3, 4, 8, dtype=torch.float64, requires_grad=True)
    rows = torch.stack([line(mixer.rows, x[:, y]) for y in range(3)], 1)
    columns = torch.stack([line(mixer.columns, rows[:, :, z]) for z in range(4)], 2)
    same_gradients(mixer(x), rows + columns, (x, *mixer.parameters()))


@pytest.mark.parametrize("length", [3, 4, 9, 12])
def test_a_sequence_equals_the_loops_forward_and_backward(length):
    """Rows of 4 tokens, the last of which may be cut."""
    mixer = make(1, (12,), width=4)
    x = torch.randn(2, length, 8, dtype=torch.float64, requires_grad=True)
    rows = [x[:, first : first + 4] for first in range(0, length, 4)]
    above, whole, out = [], [], []
    for row in rows:
        if whole:
            columns = [line(mixer.columns, torch.stack(whole, 1)[:, :, z], causal=True)[:, -1] for z in range(4)]
            above = torch.stack(columns, 1)[:, : row.shape[1]]
            out.append(line(mixer.own, row + above, causal=True))
        else:
            out.append(line(mixer.own, row, causal=True))
        if row.shape[1] == 4:
            whole.append(line(mixer.rows, row))
    used = [p for name, p in mixer.named_parameters() if length > 4 or name.startswith("own")]
    same_gradients(mixer(x), torch.cat(out, 1), (x, *used))


def reached(mixer, x, token):
    x = x.requires_grad_()
    mixer(x)[(0, *token)].sum().backward()
    return x.grad[0].abs().sum(-1) > 0


def test_rows_and_columns_together_reach_every_cell_of_a_map():
    x = torch.randn(1, 4, 5, 8, dtype=torch.float64)
    assert reached(make(2, (4, 5)), x.clone(), (1, 2)).all()
    row = reached(make(2, (4, 5), along="rows"), x.clone(), (1, 2))
    assert row.nonzero().tolist() == [[1, n] for n in range(5)]
    column = reached(make(2, (4, 5), along="columns"), x.clone(), (1, 2))
    assert column.nonzero().tolist() == [[n, 2] for n in range(4)]


def test_a_token_of_a_sequence_sees_itself_and_all_before_it_and_no_other():
    x = torch.randn(1, 14, 8, dtype=torch.float64)
    for token in range(14):
        seen = reached(make(1, (14,), width=4), x.clone(), (token,))
        assert seen.nonzero()[:, 0].tolist() == list(range(token + 1))


def sampled(mixer, head, step, length):
    """Greedy ids under fixed Gumbel noise; `step` gives the output for the newest token."""
    noise = torch.distributions.Gumbel(0.0, 1.0).sample((length, 6)).double()
    embedding = torch.randn(6, 8, dtype=torch.float64)
    ids = [0]
    for n in range(length):
        logits = head(step(embedding[torch.tensor(ids)][None]))
        ids.append(int((logits[0] + noise[n]).argmax()))
    return ids


def test_sampling_row_by_row_equals_slow_sampling_with_the_same_noise():
    mixer, head = make(1, (24,), width=4), nn.Linear(8, 6).double()
    cache = mixer.start(1, 24, dtype=torch.float64)
    with torch.no_grad():
        torch.manual_seed(5)
        fast = sampled(mixer, head, lambda x: mixer(x[:, -1:], cache)[:, -1], 24)
        torch.manual_seed(5)
        slow = sampled(mixer, head, lambda x: mixer(x)[:, -1], 24)
    assert fast == slow
    assert len(set(fast)) > 2


def test_a_step_reads_what_is_above_once_for_each_row():
    mixer, cache = make(1, (12,), width=4), None
    cache = mixer.start(1, 12, dtype=torch.float64)
    sites = []
    for _ in range(12):
        with record(mixer) as seen:
            mixer(torch.randn(1, 1, 8, dtype=torch.float64), cache)
        sites.append(sorted(seen))
    assert [each == ["columns", "own", "rows"] for each in sites] == [n in (4, 8) for n in range(12)]


def test_a_full_cache_is_said():
    mixer = make(1, (12,), width=4)
    with pytest.raises(AttnError, match="room for 5 tokens, not for 6"):
        mixer(torch.randn(1, 6, 8, dtype=torch.float64), mixer.start(1, 5, dtype=torch.float64))
