"""Scan and Snap: the probabilities and the attention against loops, a short training, and the whole experiment."""

import math

import pytest
import torch

from attn.lab.experiment import table
from attn.lab.scan_and_snap import EXPERIMENT, attention, probabilities, run, summary, train


def test_common_tokens_have_ten_times_what_the_rarest_distinct_one_has():
    p_nv = probabilities()
    assert torch.allclose(p_nv.sum(1), torch.ones(2))
    assert [round(float(p * 155)) for p in p_nv[0]] == [10] * 10 + [*range(1, 11)] + [0] * 10
    assert torch.equal(p_nv[1, 20:], p_nv[0, 10:20]) and torch.equal(p_nv[1, :10], p_nv[0, :10])


def test_attention_is_that_of_the_formula():
    z_mv = torch.randn(2, 30, generator=torch.Generator().manual_seed(0))
    found = attention(probabilities(), z_mv)
    for m in range(2):
        for n in range(2):
            weights = [float(p) * math.exp(z) for p, z in zip(probabilities()[n], z_mv[m], strict=True)]
            assert found[m, n].tolist() == pytest.approx([weight / sum(weights) for weight in weights])


def test_the_first_steps_already_favour_distinct_tokens():
    z_mv, seen = train(1.0, 0, 30)
    assert seen.shape == (31, 2, 2, 30)
    found = summary(z_mv, seen)
    assert found["attention on distinct tokens, start"] == pytest.approx(55 / 155)
    assert found["attention on distinct tokens, end"] > 0.5
    assert found["z of common tokens"] < 0 < found["z of the most frequent distinct token"]


def test_the_same_seed_gives_the_same_numbers():
    first, again, other = (run(seed, lambda: None, 5).measured for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.slow
def test_the_predictions_hold():
    assert [row for row in table(EXPERIMENT.predictions, [EXPERIMENT.run(1, lambda: None)]) if not row["holds"]] == []
