"""Pruning finds the head that was planted, and nothing in a control."""

import math
from typing import Any

import pytest
import torch
from look_fixtures import Planted, probe_of, tokens
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from attn.look.importance import Answers, divergence, importance
from attn.look.probe import Probe
from attn.look.sites import Head, find_sites

KINDS = (("self", "offset", "row"), ("self", "offset", "row"))


def reading(part: slice, gain: float = 3.0) -> Probe:
    """Two blocks, of which the answer reads the channels `part` of the last mixer's output alone."""
    network = Planted(*KINDS)
    kept: list[Tensor] = []
    network.get_submodule("blocks.1.mixer").register_forward_hook(lambda module, args, out: kept.append(out))

    def log_p(x_bnc: Tensor) -> Tensor:
        network(x_bnc)
        signal_bn = gain * kept.pop()[..., part].sum(-1)
        return torch.stack([signal_bn, -signal_bn], dim=-1).log_softmax(-1)

    return probe_of(network, log_p)


def measured(probe: Probe) -> dict[Head, dict[str, Any]]:
    batch = tokens(3, examples=3)
    return importance(Answers(probe, [batch]), find_sites(probe, batch))


def test_the_only_informative_head_matters_and_the_others_do_not() -> None:
    found = measured(reading(slice(3, 6)))
    assert max(found, key=lambda head: found[head]["drop"]) == Head(1, 1)
    batch = tokens(3, examples=3)
    probe = reading(slice(3, 6))
    certain = probe.answer(batch).max(-1).values.exp().mean()
    assert found[Head(1, 1)]["drop"] == pytest.approx(float(certain) - 0.5)  # without it the answer is a guess
    assert found[Head(0, 1)]["drop"] > 0  # which writes to the same channels
    for other in (Head(0, 0), Head(0, 2), Head(1, 0), Head(1, 2)):
        assert (found[other]["drop"], found[other]["js"]) == (0, 0)


def test_taking_away_more_of_a_head_moves_the_answer_further() -> None:
    partial = measured(reading(slice(3, 6)))[Head(1, 1)]["partial"]
    moved = [each["js"] for each in partial.values()]
    assert [*partial] == ["0.25", "0.5", "0.75", "1.0"] and 0 < moved[0] < moved[1] < moved[2] < moved[3]


def test_a_duplicated_head_costs_nothing() -> None:
    network = Planted(("self", "self"))

    def log_p(x_bnc: Tensor) -> Tensor:
        both_bn = network.get_submodule("blocks.0.mixer")(torch.cat([x_bnc, x_bnc], -1)).sum(-1)
        return torch.stack([both_bn.sign() * 9, -both_bn.sign() * 9], dim=-1).log_softmax(-1)

    probe, batch = probe_of(network, log_p), tokens(1)
    found = importance(Answers(probe, [batch]), find_sites(probe, batch))
    assert [each["drop"] for each in found.values()] == [0, 0]


def test_a_control_that_reads_no_head_has_no_head_that_matters() -> None:
    network = Planted(*KINDS)

    def log_p(x_bnc: Tensor) -> Tensor:
        network(x_bnc)
        return x_bnc[..., :2].log_softmax(-1)

    batch = tokens(3)
    probe = probe_of(network, log_p)
    found = importance(Answers(probe, [batch]), find_sites(probe, batch))
    assert {(each["drop"], each["js"]) for each in found.values()} == {(0, 0)}


def test_divergence_agrees_with_scipy_and_is_at_most_ln_2() -> None:
    p, q = (torch.randn(2, 3, 5, dtype=torch.float64).log_softmax(-1) for _ in range(2))
    expected = jensenshannon(p.exp().numpy(), q.exp().numpy(), axis=-1) ** 2
    torch.testing.assert_close(divergence(p, q), torch.from_numpy(expected))
    sure = torch.tensor([[[0.0, -math.inf]]], dtype=torch.float64)
    assert float(divergence(sure, sure.flip(-1))) == pytest.approx(math.log(2))
