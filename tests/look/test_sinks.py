"""Sinks that were planted: position, layer of birth, lifetime and maker are found, and none in a control."""

import pytest
import torch
from look_fixtures import probe_of
from torch import Tensor, nn

from attn.core.attention.attend import attend, merge_heads, split_heads
from attn.look import sinks
from attn.look.importance import Answers
from attn.look.layout import in_time
from attn.look.probe import Batch, Probe
from attn.look.sinks import Sink, find_sinks, longest_run, span, stacks_of, watch_stack
from attn.look.sites import find_sites
from attn.look.steering import steer, windowed

DEPTH, N, C = 8, 12, 16
FIRST, MARKER = 0, 5


class Draining(nn.Module):
    """Attention of one head whose keys are along one direction of the normalised tokens."""

    def __init__(self, along: Tensor, gain: float) -> None:
        super().__init__()
        self.along, self.gain = along, gain

    def forward(self, x_bnc: Tensor) -> Tensor:
        key_bn = nn.functional.normalize(x_bnc, dim=-1) @ self.along
        k = split_heads(self.gain * key_bn[..., None], 1)
        return merge_heads(attend(torch.ones_like(k), k, 0.01 * split_heads(x_bnc, 1), scale=1.0, site=self))


class Adding(nn.Module):
    """An MLP that adds so much of a direction to the tokens with a mark in their last channel, and a little noise."""

    def __init__(self, along: Tensor, amounts: dict[float, float], seed: int) -> None:
        super().__init__()
        self.along, self.amounts = along, amounts
        noise = torch.randn(N, C, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("noise", noise - (noise @ along)[:, None] * along)

    def forward(self, x_bnc: Tensor) -> Tensor:
        out = self.noise.expand_as(x_bnc).clone()
        for mark, amount in self.amounts.items():
            marked = (x_bnc[..., -1] - mark).abs() < 0.25
            out = torch.where(marked[..., None], amount * self.along, out) if amount else out
        out[..., -1] = 0
        return out


class Block(nn.Module):
    def __init__(self, along: Tensor, amounts: dict[float, float], seed: int, gain: float) -> None:
        super().__init__()
        self.mixer, self.mlp = Draining(along, gain), Adding(along, amounts, seed)

    def forward(self, x_bnc: Tensor) -> Tensor:
        x_bnc = x_bnc + self.mixer(x_bnc) * (torch.arange(C) < C - 1)
        return x_bnc + self.mlp(x_bnc)


def planted(marker: float, layer: int = 3, first: float = 60.0, gain: float = 8.0) -> tuple[Probe, Batch]:
    """The first token gets its vector in layer 1, the marker `marker` of it in `layer`; both are marked."""
    along = nn.functional.normalize(torch.ones(C), dim=0)
    along = nn.functional.normalize(along * (torch.arange(C) < C - 1), dim=0)
    amounts: list[dict[float, float]] = [{} for _ in range(DEPTH)]
    amounts[1][1.0] = first
    amounts[layer][2.0] = marker
    network = nn.Module()
    network.blocks = nn.Sequential(*(Block(along, each, n, gain) for n, each in enumerate(amounts)))
    x_bnc = torch.randn(2, N, C, generator=torch.Generator().manual_seed(1))
    x_bnc = x_bnc - (x_bnc @ along)[..., None] * along
    x_bnc[..., -1] = 0
    x_bnc[:, FIRST, -1], x_bnc[:, MARKER, -1] = 1, 2
    layout = in_time([f"t{n}" for n in range(N)], tokens=torch.arange(N).numpy())

    def log_p(x_bnc: Tensor) -> Tensor:
        return network.blocks(x_bnc)[:, :, :2].log_softmax(-1)

    return probe_of(network, log_p), Batch(("a", "b"), (x_bnc,), {"*": layout})


def found_in(probe: Probe, batch: Batch) -> list[Sink]:
    sites = find_sites(probe, batch)
    (stack,) = stacks_of(batch, sites)
    return find_sinks(watch_stack(probe, batch, stack), stack, batch.ids)


def test_the_planted_sinks_are_found_where_they_were_made() -> None:
    found = found_in(*planted(400.0))
    assert [(sink.example, sink.token, sink.kind, sink.layer, sink.made_by) for sink in found] == [
        (example, *where)
        for example in ("a", "b")
        for where in (
            (FIRST, "primary", 1, "blocks.1.mlp"),
            (MARKER, "secondary", 3, "blocks.3.mlp"),
        )
    ]
    assert found[0].lifetime == DEPTH - 2 and found[1].lifetime == DEPTH - 4
    assert found[1].by_mlp == pytest.approx(400, rel=0.02) and abs(found[1].by_attention) < 20


def test_more_tokens_than_are_looked_at_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    probe, batch = planted(400.0)
    monkeypatch.setattr(sinks, "MOST_DENSE", 2)
    assert stacks_of(batch, find_sites(probe, batch)) == []


def test_a_secondary_sink_grows_with_what_makes_it() -> None:
    found = [[each for each in found_in(*planted(c, first=400.0)) if each.token == MARKER] for c in (14.0, 16.0, 400.0)]
    lifetimes = [each[0].lifetime if each else 0 for each in found]
    scores = [each[0].score if each else 0 for each in found]
    assert 0 < lifetimes[0] < lifetimes[1] == lifetimes[2] == DEPTH - 4 and scores[0] < scores[1] < scores[2]


def test_nothing_is_found_in_a_control() -> None:
    assert found_in(*planted(0.0, first=0.0)) == []


def test_steering_the_norm_turns_the_sink_off() -> None:
    probe, batch = planted(0.0)
    sites = find_sites(probe, batch)
    (stack,) = stacks_of(batch, sites)
    seen = watch_stack(probe, batch, stack)
    (sink, _) = find_sinks(seen, stack, batch.ids)
    rows = steer(Answers(probe, [batch]), stack, seen, sink)
    scores = [row["score"] for row in rows]
    assert [row["norm"] for row in rows] == [0, 0.5, 1, 2] and scores == sorted(scores) and scores[0] < 0.3 < scores[2]
    assert rows[2]["drop"] == pytest.approx(0, abs=1e-5) and rows[2]["layers"] == 6 and rows[0]["layers"] == 0


def test_spans_and_runs() -> None:
    assert span(torch.tensor([1.0, 9, 9, 8, 1, 1]), 2) == (1, 4)
    assert span(torch.tensor([1.0, 1, 1, 9]), 1) == (0, 4)  # what comes after it was a sink did not make it
    assert span(torch.tensor([5.0, 5, 4]), 0) == (0, 3)
    assert longest_run([True, False, True, True, False]) == (2, 2)
    assert longest_run([False]) == (0, 0)


def test_a_window_keeps_the_last_keys_and_the_sinks() -> None:
    from attn.core.attention.watch import AttentionRecord

    seen = AttentionRecord(torch.full((1, 1, 6, 6), 1 / 6).tril(), torch.arange(6), torch.arange(6))
    weights = windowed(2, [0])(seen)[0, 0]
    assert (weights > 0).int().tolist()[5] == [1, 0, 0, 0, 1, 1]
    torch.testing.assert_close(weights.sum(-1), torch.ones(6))
