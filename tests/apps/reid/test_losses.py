"""Losses against brute force, closed forms and PyTorch's own."""

import math

import pytest
import torch
from torch import Tensor

from attn.apps.reid.losses import UncertaintyWeights, batch_hard_triplet


def features(count: int = 12, seed: int = 0) -> Tensor:
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)


def brute_force(x: Tensor, identity: list[int], margin: float | None) -> float:
    """Every triplet of the batch, in doubles; the worst of each anchor."""
    points, losses = x.double().tolist(), []
    for a, anchor in enumerate(points):
        gaps = [
            math.dist(anchor, points[p]) - math.dist(anchor, points[n])
            for p in range(len(points))
            for n in range(len(points))
            if p != a and identity[p] == identity[a] and identity[n] != identity[a]
        ]
        if gaps:
            losses.append(math.log1p(math.exp(max(gaps))) if margin is None else max(0.0, margin + max(gaps)))
    return sum(losses) / max(1, len(losses))


@pytest.mark.parametrize("margin", [0.3, 2.0, None])
@pytest.mark.parametrize(
    "identity", [[0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3], [0, 1, 2, 3, 4, 5, 6, 0, 8, 8, 8, 8], [5] * 11 + [2]]
)
def test_triplet_is_brute_force(identity: list[int], margin: float | None) -> None:
    x = features()
    assert float(batch_hard_triplet(x, torch.tensor(identity), margin)) == pytest.approx(
        brute_force(x, identity, margin), rel=1e-5
    )


@pytest.mark.parametrize("identity", [[1] * 12, list(range(12))])
def test_without_a_triplet_it_is_zero_with_a_gradient_of_zero(identity: list[int]) -> None:
    x = features().requires_grad_()
    loss = batch_hard_triplet(x, torch.tensor(identity))
    loss.backward()
    assert float(loss.detach()) == 0 and x.grad is not None and torch.equal(x.grad, torch.zeros_like(x))


@pytest.mark.parametrize("margin", [0.3, None])
def test_a_picture_is_no_positive_of_itself(margin: float | None) -> None:
    """Repeats of one image, each augmented in its own way: anchors whose only positives are such have no triplet."""
    x, identity, picture = features(8), torch.tensor([0, 0, 0, 1, 1, 1, 2, 2]), torch.tensor([7, 7, 7, 4, 4, 5, 1, 2])
    points, losses = x.double().tolist(), []
    for a in range(3, 8):
        positive = [p for p in range(8) if identity[p] == identity[a] and picture[p] != picture[a]]
        negative = [n for n in range(8) if identity[n] != identity[a]]
        gap = max(math.dist(points[a], points[p]) for p in positive)
        gap -= min(math.dist(points[a], points[n]) for n in negative)
        losses.append(math.log1p(math.exp(gap)) if margin is None else max(0.0, margin + gap))
    found = batch_hard_triplet(x, identity, margin, picture)
    assert float(found) == pytest.approx(sum(losses) / 5, rel=1e-5)


def test_equal_features_have_a_finite_gradient() -> None:
    """Two copies of one image: the distance 0 has no slope, and is not to give NaN."""
    x = torch.cat([features(4), features(4)]).requires_grad_()
    loss = batch_hard_triplet(x, torch.tensor([0, 0, 1, 1] * 2))
    loss.backward()
    assert x.grad is not None and x.grad.isfinite().all() and x.grad.abs().sum() > 0


def test_a_step_down_pulls_together_and_pushes_apart() -> None:
    x = torch.tensor([[0.0, 0], [1, 0], [1.2, 0], [3, 0]], requires_grad=True)
    identity = torch.tensor([0, 0, 1, 1])
    batch_hard_triplet(x, identity, 1.0).backward()
    assert x.grad is not None
    assert x.grad[1, 0] > 0 > x.grad[2, 0]  # the second goes left, to its own; the third right


def test_bfloat16_is_measured_in_float32() -> None:
    x = features().bfloat16()
    identity = torch.arange(12) % 3
    assert batch_hard_triplet(x, identity).dtype == torch.float32
    torch.testing.assert_close(batch_hard_triplet(x, identity), batch_hard_triplet(x.float(), identity))


def test_uncertainty_weights() -> None:
    """At first half of the sum; at its minimum exp(w) is the loss, and the sum is that of (1 + log L) / 2."""
    weights, losses = UncertaintyWeights(3), [torch.tensor(value) for value in (2.0, 0.5, 1.0)]
    assert float(weights(losses).detach()) == pytest.approx(1.75)
    optimizer = torch.optim.SGD(weights.parameters(), 1.0)
    for _ in range(200):
        optimizer.zero_grad()
        weights(losses).backward()
        optimizer.step()
    torch.testing.assert_close(weights.w.detach().exp(), torch.stack(losses), atol=1e-4, rtol=0)
    least = sum(1 + math.log(float(loss)) for loss in losses) / 2
    assert float(weights(losses).detach()) == pytest.approx(least, abs=1e-5)
