"""In-context regression: closed forms against NumPy, sums and simulation; heads by hand; the whole experiment."""

import math

import numpy as np
import pytest
import torch

from attn.lab.experiment import table
from attn.lab.in_context_regression import (
    EXPERIMENT,
    ONE_TASK,
    S2,
    TWO_TASKS,
    D,
    Heads,
    L,
    best_step,
    constructed,
    debiased_loss,
    debiased_step,
    draw_prompts,
    flow,
    reduced_loss,
    ridge,
    train,
)


def prompts(count=5000, length=L, tasks=ONE_TASK):
    return draw_prompts(count, length, tasks, torch.Generator().manual_seed(1))


def test_a_head_is_the_formula_in_loops():
    drawn = prompts(3, 7, TWO_TASKS)
    generator = torch.Generator().manual_seed(2)
    heads = Heads(torch.randn(3, 8, 6, generator=generator), torch.randn(3, 2, 8, generator=generator))
    z_blc, x_bd, kq_hcd, ov_hnc = (each.double().numpy() for each in (*drawn[:2], heads.kq_hcd, heads.ov_hnc))
    expected = np.zeros((3, 2))
    for b in range(3):
        for h in range(3):
            weights = np.exp([z_blc[b, i] @ kq_hcd[h] @ x_bd[b] / math.sqrt(8) for i in range(7)])
            expected[b] += ov_hnc[h] @ (weights / weights.sum() @ z_blc[b])
    np.testing.assert_allclose(heads(*drawn[:2]).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_reduced_loss_has_the_minima_of_the_closed_forms():
    w, mu = np.array([0.3, -0.1]), np.array([0.8, -2.0])
    by_sums = 1 + S2 - 2 * sum(mu * w)
    for a in range(2):
        for b in range(2):
            by_sums += mu[a] * mu[b] * (w[a] * w[b] + (1 + S2) / L * math.exp(D * w[a] * w[b]))
    assert float(reduced_loss(torch.tensor(w), torch.tensor(mu))) == pytest.approx(by_sums)
    grid = np.linspace(0.2, 0.8, 6001)
    squares = grid**2 + (1 + S2) / L * np.exp(D * grid**2)
    one = (1 + S2 - grid**2 / squares).min()  # the best μ is w over the square's factor
    assert one == pytest.approx(1 + S2 - 1 / (1 + math.e * D * (1 + S2) / L)) == pytest.approx(0.372, abs=5e-4)
    assert grid[(grid**2 / squares).argmax()] == pytest.approx(D**-0.5, abs=1e-3)
    assert 1 + S2 - best_step() == pytest.approx(0.221, abs=5e-4)
    assert flow([0.5], [1.0], 500) == pytest.approx(one, abs=1e-3)


@pytest.mark.parametrize(("dims", "length"), [(3, 12), (5, 40)])
def test_the_loss_of_debiased_descent_is_that_of_a_simulation(dims, length):
    drawn = prompts(20_000, length, (tuple(range(dims)),))
    for step in (best_step(dims, length), 0.5):
        errors_b = (debiased_step(drawn, step) - drawn.y_bn).square().flatten()
        assert abs(float(errors_b.mean()) - debiased_loss(dims, length, step)) < 4 * float(errors_b.std()) / 20_000**0.5
    assert debiased_loss(dims, length) < min(
        debiased_loss(dims, length, best_step(dims, length) + d) for d in (-0.1, 0.1)
    )


def test_heads_of_small_w_are_debiased_descent():
    drawn = prompts()
    expected = debiased_step(drawn, best_step())
    apart = [float((constructed(w)(*drawn[:2]) - expected).square().mean()) for w in (0.2, 0.1, 0.05)]
    assert apart == sorted(apart, reverse=True) and apart[-1] < 3e-5 * float(expected.square().mean())


def test_bayes_is_a_ridge_regression():
    drawn = prompts(4)
    z_blc, x_bd = (each.double().numpy() for each in drawn[:2])
    for b, found in enumerate(ridge(drawn)[:, 0].tolist()):
        x, y = z_blc[b, :, :D], z_blc[b, :, D]
        stacked = np.concatenate([x, math.sqrt(S2 * D) * np.eye(D)])  # the prior as D more rows
        beta = np.linalg.lstsq(stacked, np.concatenate([y, np.zeros(D)]), rcond=None)[0]
        assert found == pytest.approx(float(x_bd[b] @ beta), abs=1e-4)


def test_a_task_reads_its_part_and_has_a_variance_of_one():
    drawn = prompts(20_000, 12, TWO_TASKS)
    x_bld, y_bln = drawn.z_blc[..., :6], drawn.z_blc[..., 6:]
    assert y_bln.var((0, 1)).tolist() == pytest.approx([1 + S2] * 2, abs=0.03)
    b = 5
    beta = torch.linalg.lstsq(x_bld[b], y_bln[b]).solution
    assert beta[3:, 0].abs().max() < 0.6 < beta[:3, 0].norm() + 0.6  # noise alone on the other part


def test_training_lowers_the_loss_and_is_the_same_again():
    first, again = (train(2, ONE_TASK, 3, 10, signs=(1, -1)) for _ in range(2))
    assert torch.equal(first.kq_hcd, again.kq_hcd)
    assert first.w_hd[0].min() > 0 > first.w_hd[1].max()


@pytest.mark.slow
def test_the_predictions_hold():
    assert [row for row in table(EXPERIMENT.predictions, [EXPERIMENT.run(1, lambda: None)]) if not row["holds"]] == []
