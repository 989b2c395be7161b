"""A look at small networks: one with sinks and patterns, one with one head, one without attention weights."""

import numpy as np
import pytest
import torch
from look_fixtures import Planted, probe_of, tokens
from torch import Tensor, nn

from attn.core.attention.attend import merge_heads, mix, split_heads
from attn.core.errors import InputError, UsageError
from attn.look import sites
from attn.look.layout import in_time
from attn.look.looking import Question, look
from attn.look.probe import Batch, Probe
from attn.look.report import page


def reading(looked: Probe, heads: int) -> Probe:
    return Probe("p", "planted", looked.network, lambda inputs: [tokens(heads, 2)], looked.log_p, "planted", ("a", "b"))


def test_a_planted_sink_and_its_pattern_are_in_the_report() -> None:
    report, _ = look(reading(probe_of(Planted(("sink", "row"))), 2), ["x"])
    assert {(row["token"], row["kind"]) for row in report["sinks"]["found"]} == {("line 0, column 0", "primary")}
    assert [row["pattern"] for row in report["heads"]] == ["one token for all", "its line"]
    text = page(report)
    assert "one token for all" in text and "Found: 2 primary." in text


def test_sinks_are_looked_for_in_inputs_of_every_size() -> None:
    network = nn.Sequential(First())
    pieces = [
        Batch((str(n),), (torch.randn(1, n, 3),), {"*": in_time([str(k) for k in range(n)], notes=np.arange(n))})
        for n in (8, 16)
    ]
    looked = Probe("p", "planted", network, lambda inputs: pieces, probe_of(network).log_p, "planted", ("a", "b"))
    report, _ = look(looked, ["x"])
    assert {row["input"] for row in report["sinks"]["found"]} == {"8", "16"}


def test_many_inputs_are_looked_at_a_few_at_a_time_with_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of an example take 2 heads x 16 x 16 numbers: two examples at a time, of five."""
    looked = probe_of(Planted(("random", "row")))
    inputs = Probe("p", "p", looked.network, lambda _: [tokens(2, 5)], looked.log_p, "planted", ("a", "b"))
    whole, _ = look(inputs, ["x"])
    size = 4 * 2 * 16 * 16
    monkeypatch.setattr(sites, "MOST_BYTES", 2 * size)
    assert [len(batch.ids) for batch in sites.fitting(inputs, [tokens(2, 5)])] == [2, 2, 1]
    parts, _ = look(inputs, ["x"])
    for one, other in zip(whole["heads"], parts["heads"], strict=True):
        for name in ("drop", "js", "entropy", "norm", "sink", "diversity"):
            assert one[name] == pytest.approx(other[name], abs=1e-6)
    assert whole["inputs"] == parts["inputs"]
    monkeypatch.setattr(sites, "MOST_BYTES", size - 1)
    with pytest.raises(InputError, match="0: is too large to look into: the weights of its layers take"):
        look(inputs, ["x"])


class First(nn.Module):
    """Attends to the first token alone, in a sequence of any length."""

    def forward(self, x_bnc: Tensor) -> Tensor:
        weights_bhnn = torch.eye(x_bnc.shape[1])[:1].expand(len(x_bnc), 1, x_bnc.shape[1], -1)
        return merge_heads(mix(weights_bhnn, split_heads(x_bnc, 1), site=self))


def test_one_head_is_enough_and_none_found_is_an_answer() -> None:
    report, _ = look(reading(probe_of(Planted(("row",))), 1), ["x"])
    assert report["sinks"]["said"] == (
        "None found: no head gives a token both 0.3 of all attention and three times the even share."
    )
    assert report["heads"][0]["diversity"] is None and "None found" in page(report)


def test_without_attention_weights_one_sentence_says_what_can_be_asked() -> None:
    network = nn.Linear(3, 2)

    def log_p(x_bnc: Tensor) -> Tensor:
        out: Tensor = network(x_bnc)[:, :1].log_softmax(-1)
        return out

    plain = reading(probe_of(network, log_p), 1)
    report, _ = look(plain, ["x"])
    assert report["heads"] == [] and report["cannot"].startswith("planted has no attention weights, so that only what")
    assert report["cannot"] in page(report) and report["sinks"]["said"] is None
    with pytest.raises(UsageError, match="has no attention weights"):
        look(plain, ["x"], Question(scale=["0.0=1.5"]))


def test_nothing_to_look_at_is_refused() -> None:
    with pytest.raises(UsageError, match="there are no inputs"):
        look(reading(probe_of(Planted(("row",))), 1), [])


def test_a_look_leaves_the_model_as_it_was() -> None:
    looked = reading(probe_of(Planted(("sink", "row"))), 2)
    (batch,) = looked.read(["x"])
    before = looked.answer(batch)
    look(looked, ["x"], Question(scale=["0.1=3"]))
    assert torch.equal(before, looked.answer(batch))
