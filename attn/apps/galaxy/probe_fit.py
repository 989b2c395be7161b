"""Linear layers for features as they are: classes or a number, with the penalty that the validation rows like best.

Shapes: N and M rows, F embedding width, K outputs.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor
from torch.nn import functional as F

from attn.apps.galaxy.number import Number

PENALTIES = tuple(10.0**power for power in range(-4, 3))
"""C of scikit-learn, from the strongest penalty to the weakest."""
MOST_STEPS = 300  # of a fit
ABSENT = -30.0  # the logit of a class without a training row

Layer = tuple[np.ndarray, np.ndarray]  # weights (K, F) and biases (K,)
Found = tuple[Float[Tensor, "K F"], Float[Tensor, " K"], dict[str, Any]]


def fit_linear(
    x_nf: Float[np.ndarray, "N F"],
    y_n: Int[np.ndarray, " N"],
    held_mf: Float[np.ndarray, "M F"],
    held_m: Int[np.ndarray, " M"],
    classes: int,
    balance: float = 0.0,
) -> Found:
    """Weights (K, F) and biases (K,) of logistic regression, and the penalty with its loss on the held-out rows.

    Rows of a class with share p count p^-`balance` each.
    """
    known, count = np.unique(y_n, return_counts=True)
    counts_k = np.zeros(classes)
    counts_k[known] = count
    weights_n = (counts_k[y_n] / len(y_n)) ** -balance

    def layer(z_nf: np.ndarray, penalty: float) -> Layer:
        regression = LogisticRegression(C=penalty, max_iter=MOST_STEPS).fit(z_nf, y_n, weights_n)
        coefficients_kf, bias_k = regression.coef_, regression.intercept_
        if len(known) == 2:  # scikit-learn keeps one row then, that of the second class
            coefficients_kf = np.concatenate([0 * coefficients_kf, coefficients_kf])
            bias_k = np.concatenate([0 * bias_k, bias_k])
        weight_kf, all_k = np.zeros((classes, z_nf.shape[1])), np.full(classes, ABSENT)
        weight_kf[known], all_k[known] = coefficients_kf, bias_k
        return weight_kf, all_k

    target_m = torch.from_numpy(held_m)
    return _best(x_nf, held_mf, layer, lambda logits_mk: F.cross_entropy(logits_mk, target_m))


def fit_number(
    x_nf: Float[np.ndarray, "N F"],
    y_n: Float[np.ndarray, " N"],
    held_mf: Float[np.ndarray, "M F"],
    held_m: Float[np.ndarray, " M"],
    number: Number,
) -> Found:
    """As `fit_linear`, with one output: logistic regression of the votes of a share, else ridge regression."""

    def layer(z_nf: np.ndarray, penalty: float) -> Layer:
        if not number.share:
            ridge = Ridge(alpha=1 / penalty).fit(z_nf, (y_n - number.mean) / number.std)
            return ridge.coef_[None], np.array([ridge.intercept_])
        # A share y of votes is y times a yes and 1 - y times a no.
        yes_n, votes_n = np.repeat([1, 0], len(y_n)), np.concatenate([y_n, 1 - y_n])
        regression = LogisticRegression(C=penalty, max_iter=MOST_STEPS)
        regression.fit(np.concatenate([z_nf, z_nf]), yes_n, votes_n)
        return regression.coef_, regression.intercept_

    true_m = torch.from_numpy(held_m).float()
    return _best(x_nf, held_mf, layer, lambda output_mk: number.loss(output_mk[:, 0], true_m))


def _best(
    x_nf: np.ndarray, held_mf: np.ndarray, layer: Callable[[np.ndarray, float], Layer], loss: Callable[[Tensor], Tensor]
) -> Found:
    """For features as they are, the layer of the penalty with the least loss; `layer` fits standardised ones."""
    mean_f, deviation_f = x_nf.mean(0), x_nf.std(0) + 1e-3
    found = []
    for penalty in PENALTIES:
        with warnings.catch_warnings():  # one that stops early is a candidate like the others
            warnings.simplefilter("ignore", ConvergenceWarning)
            coefficients_kf, bias_k = layer((x_nf - mean_f) / deviation_f, penalty)
        weight_kf = torch.from_numpy(coefficients_kf / deviation_f).float()
        bias = torch.from_numpy(bias_k - (coefficients_kf / deviation_f) @ mean_f).float()
        held_loss = float(loss(torch.from_numpy(held_mf).float() @ weight_kf.T + bias))
        found.append((weight_kf, bias, {"penalty": penalty, "validation_loss": held_loss}))
    return min(found, key=lambda each: each[2]["validation_loss"])
