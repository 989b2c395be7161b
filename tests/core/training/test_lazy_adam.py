"""LazyAdamW: AdamW where every row is read, and no touch to a row where none is."""

import pytest
import torch
from torch import nn

from attn.core.training.lazy_adam import LazyAdamW

ROWS, WIDTH, STEPS = 7, 3, 20
SETTINGS = [{}, {"weight_decay": 0.1}, {"betas": (0.5, 0.7), "eps": 1e-3, "weight_decay": 0.0}]


class Net(nn.Module):
    """A table, whose rows are summed by a linear layer."""

    def __init__(self, sparse):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(ROWS, WIDTH, sparse=sparse)
        self.out = nn.Linear(WIDTH, 1)

    def forward(self, ids):
        return self.out(self.table(ids).tanh()).square().mean()


def batches(rows, steps=STEPS):
    """Ids of `rows`, each at least once, in another order and number every step."""
    draw = torch.Generator().manual_seed(1)
    for _ in range(steps):
        more = torch.tensor(rows)[torch.randint(len(rows), (5,), generator=draw)]
        ids = torch.cat([torch.tensor(rows), more])
        yield ids[torch.randperm(len(ids), generator=draw)]


def trained(sparse, optimizer, rows, settings):
    net = Net(sparse)
    steps = optimizer(net.parameters(), 0.05, **settings)
    for ids in batches(rows):
        steps.zero_grad()
        net(ids).backward()
        steps.step()
    return net, steps


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_equals_adamw_when_every_batch_reads_every_row(settings):
    """Also of the dense parameters beside the table."""
    lazy, _ = trained(True, LazyAdamW, range(ROWS), settings)
    dense, _ = trained(False, torch.optim.AdamW, range(ROWS), settings)
    for (name, actual), expected in zip(lazy.named_parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6, msg=name)
    assert not torch.allclose(dense.table.weight, Net(False).table.weight, atol=0.1)


def test_dense_gradients_are_adamw_to_the_bit():
    lazy, _ = trained(False, LazyAdamW, (1, 4), {"weight_decay": 0.1})
    dense, _ = trained(False, torch.optim.AdamW, (1, 4), {"weight_decay": 0.1})
    assert all(torch.equal(a, b) for a, b in zip(lazy.parameters(), dense.parameters(), strict=True))


def test_rows_that_no_batch_reads_stay_to_the_bit():
    before = Net(True).table.weight
    after = trained(True, LazyAdamW, (1, 4), {"weight_decay": 0.5})[0].table.weight
    for row in range(ROWS):
        assert torch.equal(after[row], before[row]) == (row not in (1, 4))


def test_a_row_waits_between_two_readings():
    """By hand: in its pause its moments stay, while the common count of steps goes on."""
    net, g, rate = Net(True), 0.5, 0.1
    weight = net.table.weight
    optimizer = LazyAdamW([weight], rate, weight_decay=0.2)
    expected, m, v = weight[2].detach().clone(), 0.0, 0.0
    for step, row in enumerate((2, 3, 3, 2), start=1):
        weight.grad = torch.sparse_coo_tensor([[row]], torch.full((1, WIDTH), g), weight.shape, check_invariants=True)
        optimizer.step()
        if row == 2:
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            expected = expected * (1 - rate * 0.2)
            expected = expected - rate * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)) ** 0.5 + 1e-8)
        torch.testing.assert_close(weight[2].detach(), expected, rtol=0, atol=1e-6)


def test_the_gradient_is_there_after_the_step():
    net = Net(True)
    optimizer = LazyAdamW(net.parameters())
    net(torch.arange(3)).backward()
    optimizer.step()
    assert net.table.weight.grad.is_sparse
    optimizer.zero_grad()
    assert net.table.weight.grad is None


def test_the_closure_is_called_with_gradients_on():
    net = Net(True)
    optimizer = LazyAdamW(net.parameters(), 0.05)
    ids = torch.arange(ROWS)

    def closure():
        optimizer.zero_grad()
        loss = net(ids)
        loss.backward()
        return loss

    with torch.no_grad():
        losses = [float(optimizer.step(closure).detach()) for _ in range(3)]
    assert losses[0] == pytest.approx(float(Net(True)(ids).detach())) and losses[2] < losses[1] < losses[0]


def test_goes_on_from_its_state_as_if_it_had_not_stopped():
    whole, _ = trained(True, LazyAdamW, (0, 1, 2, 6), {"weight_decay": 0.1})
    net = Net(True)
    optimizer = LazyAdamW(net.parameters(), 0.05, weight_decay=0.1)
    for number, ids in enumerate(batches((0, 1, 2, 6))):
        if number == 8:
            state, weights = optimizer.state_dict(), net.state_dict()
            net = Net(True)
            net.load_state_dict(weights)
            optimizer = LazyAdamW(net.parameters(), 0.05, weight_decay=0.1)
            optimizer.load_state_dict(state)
        optimizer.zero_grad()
        net(ids).backward()
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), whole.parameters(), strict=True))
