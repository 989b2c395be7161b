"""Attention taken apart: the drawn text keeps its shares, no token sees what follows, guides run beside the tokens."""

import pytest
import torch

from attn.lab.deconstruct import (
    BACK,
    COPIED,
    DEPTH,
    EXPERIMENT,
    PERMUTED,
    SUCCEEDED,
    VARIANTS,
    L,
    Language,
    V,
    loss_of,
    run,
    sequences,
    train,
)
from attn.lab.experiment import table


def test_the_text_has_its_shares():
    ids = sequences(4000, torch.Generator().manual_seed(0))
    assert ids.shape == (4000, L + 1) and ids.unique().tolist() == list(range(V))
    others = 1 - PERMUTED - COPIED - SUCCEEDED
    back = (ids[:, BACK:] == ids[:, :-BACK]).float().mean()
    # By chance a token is that of three places back in 1 of V cases, more often where permutations have short cycles.
    assert COPIED + others / V < back < COPIED + 0.45 * (1 - COPIED)
    successors = (ids[:, BACK:] == (ids[:, BACK - 1 : -1] + 1) % V).float().mean()
    assert float(successors) == pytest.approx(SUCCEEDED + (1 - SUCCEEDED) / V, abs=0.03)


@pytest.mark.parametrize("name", ["softmax", *VARIANTS])
def test_no_token_sees_what_follows_and_only_mlp_sees_no_past(name):
    torch.manual_seed(0)
    model = Language([name] * DEPTH, torch.Generator().manual_seed(1)).eval()
    ids = sequences(2, torch.Generator().manual_seed(2))[:, :-1]
    changed = ids.clone()
    changed[:, 10] = (changed[:, 10] + 1) % V
    apart = (model(ids) - model(changed)).abs().amax((0, 2))
    assert apart[:10].max() < 1e-5 < apart[10]
    assert (apart[11:].max() > 1e-5) == (name != "mlp")
    assert model(ids).shape == (2, L, V)


def test_layers_can_be_left_out():
    model = Language(["softmax", "mlp", "softmax"], torch.Generator().manual_seed(1)).eval()
    ids = sequences(2, torch.Generator().manual_seed(2))
    assert loss_of(model, ids) != loss_of(model, ids, (1,))


def test_the_same_seed_trains_the_same_model_and_leaves_other_randomness_alone():
    before = torch.random.get_rng_state()
    first, again = (train(["mlp"] * DEPTH, 1, 2) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(map(torch.equal, first.state_dict().values(), again.state_dict().values()))


def test_a_tiny_run_has_what_is_predicted():
    calls = []
    measured = run(0, lambda: calls.append(1), steps=2).measured
    assert len(calls) == EXPERIMENT.steps and {each.quantity for each in EXPERIMENT.predictions} <= measured.keys()


@pytest.mark.slow
def test_the_predictions_hold():
    assert [row for row in table(EXPERIMENT.predictions, [EXPERIMENT.run(1, lambda: None)]) if not row["holds"]] == []
