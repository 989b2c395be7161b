"""Statistics of planted heads, whose values are known in closed form."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from look_fixtures import SIDE, WIDTH, N, Planted, probe_of, tokens, weights_of
from torch import Tensor, nn

from attn.core.attention.attend import merge_heads, mix, split_heads
from attn.look.heads import diversity, received, statistics
from attn.look.layout import in_time
from attn.look.probe import Batch
from attn.look.sites import find_sites

KINDS = ("uniform", "self", "offset", "row", "column", "sink")


def rows_of(*kinds: tuple[str, ...]) -> list[dict[str, Any]]:
    probe, batch = probe_of(Planted(*kinds)), tokens(len(kinds[0]))
    return statistics(probe, [batch], find_sites(probe, batch))


def test_planted_heads_have_their_closed_forms() -> None:
    rows = dict(zip(KINDS, rows_of(KINDS), strict=True))
    entropy = {kind: rows[kind]["entropy"] for kind in KINDS}
    assert entropy == pytest.approx(
        {"uniform": math.log(N), "self": 0, "offset": 0, "row": math.log(SIDE), "column": math.log(SIDE), "sink": 0},
        abs=1e-6,
    )
    sink = {kind: rows[kind]["sink"] for kind in KINDS}
    assert sink["sink"] == 1 and rows["sink"]["sink_token"] == "line 0, column 0"
    assert [sink[kind] for kind in KINDS[:5]] == pytest.approx([1 / N] * 5)

    def share(kind: str, what: str = "share") -> list[float]:
        return [ring[what] for ring in rows[kind]["distance"]["rings"].values()]

    assert share("self") == [1, 0, 0, 0]
    rings = np.bincount([max(abs(i // SIDE - j // SIDE), abs(i % SIDE - j % SIDE)) for i in range(N) for j in range(N)])
    assert share("uniform") == pytest.approx(rings / N**2)
    assert share("sink", "uniform") == pytest.approx(rings / N**2)
    assert rows["row"]["near"] == pytest.approx((2 * 2 + 2 * 3) / SIDE**2)
    assert rows["uniform"]["near_uniform"] == rows["uniform"]["near"]


def test_diversity_is_0_for_a_copy_1_for_another_place_and_nothing_for_one_head() -> None:
    copy, apart = (rows_of(kinds) for kinds in (("row", "row"), ("self", "offset")))
    assert [row["diversity"] for row in copy] == pytest.approx([0, 0], abs=1e-9)
    assert [row["diversity"] for row in apart] == pytest.approx([1, 1])
    (alone,) = rows_of(("row",))
    assert alone["diversity"] is None and alone["entropy"] == pytest.approx(math.log(SIDE))


def test_diversity_is_over_the_queries_that_there_are() -> None:
    """A layer that asks for the first five of twenty tokens alone."""
    a_bhnn = torch.zeros(1, 2, 20, 20)
    a_bhnn[0, 0, :5, 0] = a_bhnn[0, 1, :5, 1] = 1
    assert diversity(a_bhnn.double()).tolist() == pytest.approx([1, 1])


class Even(nn.Module):
    """Attends to all that is past, evenly, in a sequence of any length."""

    def forward(self, x_bnc: Tensor) -> Tensor:
        past_nn = torch.ones(x_bnc.shape[1], x_bnc.shape[1]).tril()
        weights_bhnn = (past_nn / past_nn.sum(-1, keepdim=True)).expand(len(x_bnc), 1, -1, -1)
        return merge_heads(mix(weights_bhnn, split_heads(x_bnc, 1), site=self))


def test_shares_of_pieces_of_several_lengths_sum_to_1() -> None:
    probe = probe_of(nn.Sequential(Even()))
    pieces = [
        Batch((str(n),), (torch.randn(1, n, WIDTH),), {"*": in_time([str(k) for k in range(n)], notes=np.arange(n))})
        for n in (3, 16)
    ]
    (row,) = statistics(probe, pieces, find_sites(probe, pieces[0]))
    assert sum(each["share"] for each in row["distance"]["notes"].values()) == pytest.approx(1)


def test_diversity_agrees_with_scipy() -> None:
    from scipy.spatial.distance import jensenshannon

    a_bhnn = torch.stack([weights_of("random"), weights_of("row"), weights_of("uniform")])[None].double()
    expected = [
        np.mean(
            [
                jensenshannon(a_bhnn[0, one, n], a_bhnn[0, other, n], base=2) ** 2
                for other in range(3)
                for n in range(N)
                if other != one
            ]
        )
        for one in range(3)
    ]
    assert diversity(a_bhnn).tolist() == pytest.approx(expected)


def test_the_last_token_of_a_causal_head_is_no_sink() -> None:
    causal = weights_of("uniform").tril()
    a_bhnn = (causal / causal.sum(-1, keepdim=True))[None, None].double()
    share_n = received(a_bhnn)[0, 0]
    assert share_n.argmax() == 0 and float(share_n[-1]) == 0
    assert float(share_n[0]) == pytest.approx(sum(1 / k for k in range(1, N + 1)) / N)


def test_distances_in_time_double_and_look_back() -> None:
    layout = in_time([str(n) for n in range(10)], notes=np.arange(10))
    scale = layout.scales[0]
    named = [scale.labels[n] if n >= 0 else None for n in scale.number_nn[9]]
    assert named == ["9-16", "5-8", "5-8", "5-8", "5-8", "3-4", "3-4", "2", "1", "0"]
    assert [scale.labels[n] if n >= 0 else None for n in scale.number_nn[0]] == ["0"] + [None] * 9


def test_a_sequence_that_is_read_both_ways_has_distances_ahead() -> None:
    number_nn = in_time([str(n) for n in range(5)], causal=False, notes=np.arange(5)).scales[0].number_nn
    assert number_nn.min() == 0 and (number_nn == number_nn.T).all()
