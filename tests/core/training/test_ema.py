"""The average of the weights follows its formula, also where rows of a table wait for their turn."""

import torch
from core.training.small_run import Net
from lightning import LightningModule
from torch import nn

from attn.core.training.ema import EMA


def test_ema_follows_the_formula() -> None:
    """One weight, followed by hand."""
    ema, net = EMA(0.5), Net()
    weight = net.net[4].bias
    ema.start(net)
    expected = weight.detach().clone()
    for step in range(12):
        with torch.no_grad():
            weight.copy_(torch.randn(2))
        for _ in range(2):  # the second time, no step of the optimizer has happened
            ema.update(net, step + 1)
        d = min(0.5, (1 + step) / (10 + step))
        expected = d * expected + (1 - d) * weight.detach()
    current = weight.detach().clone()
    with ema.averaged(net):
        torch.testing.assert_close(weight.detach(), expected)
    assert torch.equal(weight, current)


def test_ema_of_a_table_is_that_of_all_its_rows() -> None:
    """A sparse gradient and a dense one: the same average, though rows wait for their turn."""
    torch.manual_seed(0)
    draws = [torch.randint(0, 20, (4,)) for _ in range(30)]
    averages = []
    for sparse in (False, True):
        torch.manual_seed(1)
        net = LightningModule()
        net.table = nn.Embedding(20, 3, sparse=sparse)
        ema = EMA(0.9)
        ema.start(net)
        optimizer = torch.optim.SGD(net.parameters(), 0.5)
        for step, rows in enumerate(draws):
            optimizer.zero_grad()
            net.table(rows).pow(2).sum().backward()
            ema.before_step(net)
            optimizer.step()
            ema.update(net, step + 1)
            if step in (11, 20):  # a look in between changes nothing
                with ema.averaged(net):
                    pass
        with ema.averaged(net):
            averages.append(net.table.weight.detach().clone())
    torch.testing.assert_close(averages[1], averages[0])
