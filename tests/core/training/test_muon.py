"""MuonAdamW: each parameter as its own optimizer would step it, and a state that goes on."""

import pytest
import torch
from torch import nn

from attn.core.training.muon import MuonAdamW

STEPS, RATE = 12, 0.02


class Net(nn.Module):
    """An embedding, a norm and two layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(5, 8)
        self.norm = nn.LayerNorm(8)
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, ids):
        return self.layers(self.norm(self.table(ids))).square().mean()

    def parts(self):
        matrices = [self.layers[0].weight, self.layers[2].weight]
        return matrices, [p for p in self.parameters() if not any(p is m for m in matrices)]


def learn(net, optimizers, steps=range(STEPS)):
    for step in steps:
        for optimizer in optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:  # as a schedule does
                group["lr"] = RATE / (1 + step)
        net(torch.arange(5).roll(step)[:3]).backward()
        for optimizer in optimizers:
            optimizer.step()


def made(net):
    return MuonAdamW(*net.parts(), RATE, weight_decay=0.1, betas=(0.9, 0.98))


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_is_muon_for_matrices_and_adamw_for_the_rest():
    net, apart = Net(), Net()
    learn(net, [made(net)])
    matrices, others = apart.parts()
    muon = torch.optim.Muon(matrices, RATE, 0.1, adjust_lr_fn="match_rms_adamw")
    learn(apart, [muon, torch.optim.AdamW(others, RATE, (0.9, 0.98), weight_decay=0.0)])
    assert equal(net, apart) and not equal(net, Net())


def test_an_update_of_a_matrix_is_nearly_orthogonal_and_as_large_as_one_of_adamw():
    """Of root mean square 0.2 (Liu et al. 2025, section 2.2), within what Newton-Schulz leaves open."""
    net = Net()
    weight = net.layers[0].weight
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    before = weight.detach().clone()
    MuonAdamW(*net.parts(), RATE).step()
    update = (before - weight).detach() / RATE
    assert float(update.square().mean().sqrt()) == pytest.approx(0.2, rel=0.3)
    singular = torch.linalg.svdvals(update)
    assert float(singular.max() / singular.min()) < 2 < float(torch.linalg.cond(weight.grad))


def test_goes_on_from_its_state_as_if_it_had_not_stopped():
    whole, net = Net(), Net()
    learn(whole, [made(whole)])
    first = made(net)
    learn(net, [first], range(5))
    state, weights = first.state_dict(), net.state_dict()
    again = Net()
    again.load_state_dict(weights)
    second = made(again)
    second.load_state_dict(state)
    learn(again, [second], range(5, STEPS))
    assert equal(again, whole)


def test_the_closure_is_called_with_gradients_on():
    net = Net()
    optimizer = made(net)

    def closure():
        optimizer.zero_grad()
        loss = net(torch.arange(5))
        loss.backward()
        return loss

    with torch.no_grad():
        losses = [float(optimizer.step(closure).detach()) for _ in range(3)]
    assert losses[2] < losses[1] < losses[0] == pytest.approx(float(Net()(torch.arange(5)).detach()))


def test_what_is_no_matrix_is_refused():
    net = Net()
    with pytest.raises(ValueError, match="2D"):
        MuonAdamW([net.norm.weight], [net.table.weight], RATE)
