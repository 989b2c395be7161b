"""Random features: the models, the targets and the ridge in NumPy's loops; a tiny run; the whole experiment."""

import math

import numpy as np
import pytest
import torch

from attn.lab import random_features
from attn.lab.experiment import table
from attn.lab.random_features import (
    EXPERIMENT,
    RIDGES,
    SQUARE,
    D,
    N,
    attention_features,
    errors,
    network_features,
    run,
    targets,
    tokens,
)


def generator():
    return torch.Generator().manual_seed(1)


def test_tokens_lie_on_the_sphere():
    assert tokens(5, generator()).norm(dim=-1).flatten().tolist() == pytest.approx([1.0] * 5 * (1 + N))


def test_targets_and_features_are_their_formulas():
    x_bnd, b_d = tokens(2, generator()), torch.linspace(-1, 1, D)
    w_mee = torch.randn(3, D + 1, D + 1, generator=generator())
    found, heads = targets(x_bnd, b_d), attention_features(w_mee)(x_bnd)
    without = attention_features(w_mee[:, :D, :D], with_one=False)(x_bnd)
    x, b, w = (each.double().numpy() for each in (x_bnd, b_d, w_mee))
    for s in range(2):
        query, keys = x[s, 0], x[s, 1:]
        by_target = [[(key @ b) ** 2, max(query @ key, 0) * (key @ b), (query @ key) * (key @ b),
                      (query @ key) ** 2 * (key @ b)] for key in keys]  # fmt: skip
        np.testing.assert_allclose(found[s], np.mean(by_target, 0), atol=1e-6)
        for m in range(3):
            long = [np.append(key, 1) for key in keys]
            expected = sum(max(np.append(query, 1) @ w[m] @ key, 0) * key for key in long) / N
            np.testing.assert_allclose(heads[s].view(3, D + 1)[m], expected, atol=1e-5)
            expected = sum(max(query @ w[m, :D, :D] @ key, 0) * key for key in keys) / N
            np.testing.assert_allclose(without[s].view(3, D)[m], expected, atol=1e-5)
    w_cf = torch.randn((1 + N) * D + 1, 4, generator=generator())
    expected = np.maximum(np.append(x[0].reshape(-1), 1) @ w_cf.double().numpy(), 0)
    np.testing.assert_allclose(network_features(w_cf)(x_bnd)[0], expected, atol=1e-5)


def test_errors_are_those_of_the_best_ridge():
    train, test = torch.randn(20, 6, generator=generator()), torch.randn(30, 6, generator=generator())
    y, y_test = (each @ torch.ones(6, 2) + torch.tensor([1.0, 5.0]) + each[:, :2] ** 2 for each in (train, test))
    f, g = train.double().numpy(), test.double().numpy()
    largest = np.linalg.eigvalsh(f @ f.T)[-1]
    for k, found in enumerate(errors(train, y, test, y_test)):
        centred, truth = y[:, k].double().numpy(), y_test[:, k].double().numpy()
        mean = centred.mean()
        losses = []
        for share in RIDGES.tolist():
            weights = np.linalg.solve(f.T @ f + share * largest * np.eye(6), f.T @ (centred - mean))
            losses.append(((g @ weights + mean - truth) ** 2).mean() / truth.var())
        assert found == pytest.approx(min(losses), rel=1e-3)


def test_a_tiny_run_has_what_is_predicted(monkeypatch):
    monkeypatch.setattr(random_features, "HEADS", 8)
    measured = run(0, lambda: None, samples=(128, 256, 512, 16), tests=10).measured
    assert {each.quantity for each in EXPERIMENT.predictions} <= measured.keys()
    assert all(math.isfinite(value) for value in measured.values())
    assert measured["features of RFA, keys in another order, relative difference"] < 1e-5
    assert measured[f"RFA without the 1, {SQUARE}"] > 0.5


@pytest.mark.slow
def test_the_predictions_hold():
    assert [row for row in table(EXPERIMENT.predictions, [EXPERIMENT.run(2, lambda: None)]) if not row["holds"]] == []
