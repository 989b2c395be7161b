"""What can a single attention layer learn? (Fu et al. 2023, arXiv:2307.11353): attention with frozen queries and keys.

    RFA(x)   = Σ_m 1/N Σ_i relu(<W_m, x̃_0 x̃_iᵀ>) <v_m, x̃_i>,    x̃ = (x, 1)
    BRFA     : the same, W_m with a mean of 4 I on x
    RFMLP(x) = Σ_k relu(<w_k, (x_0, ..., x_N, 1)>) v_k

The W are frozen and Gaussian; the v alone are fitted, by ridge regression. A target that is a mean over keys of a power
of <b, x_i> needs fewer samples of RFA than of a network on all tokens at once (their order does not matter to
attention), and targets that turn on <x_0, x_i> fewer still of BRFA. Without the appended 1 the features change
their sign when all tokens do, and a target that keeps its sign then cannot be learned at all.

The tokens are drawn on the sphere. The error is the mean square over the target's variance, with the best ridge for
each model and target.

Shapes: B samples, N keys, D dimensions, E = D + 1, M heads, F = M·E features, K targets.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from attn.lab.experiment import REFERENCE, Advance, Experiment, Outcome, Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

D, N, HEADS = 8, 8, 512
SAMPLES, TESTS = (128, 256, 512, 1024), 1000
BIAS = 4.0
RIDGES = 10.0 ** torch.arange(-8.0, 3.0, dtype=torch.float64)  # times the largest eigenvalue
SQUARE, GATED, BILINEAR, CUBIC = TARGETS = (
    "mean <b,xi>²",
    "mean relu(<x0,xi>) <b,xi>",
    "mean <x0,xi> <b,xi>",
    "mean <x0,xi>² <b,xi>",
)
Features = Callable[[Tensor], Tensor]


def tokens(samples: int, generator: torch.Generator) -> Tensor:
    """x (B, 1 + N, D) on the sphere, the query first."""
    return F.normalize(torch.randn(samples, 1 + N, D, generator=generator), dim=-1)


def targets(x_bnd: Tensor, b_d: Tensor) -> Tensor:
    """All TARGETS, (B, K)."""
    along_bn, with_query_bn = x_bnd[:, 1:] @ b_d, (x_bnd[:, 1:] @ x_bnd[:, 0, :, None])[..., 0]
    products = (along_bn**2, with_query_bn.relu() * along_bn, with_query_bn * along_bn, with_query_bn**2 * along_bn)
    return torch.stack([each.mean(1) for each in products], 1)


def attention_features(w_mee: Tensor, *, with_one: bool = True) -> Features:
    """What each head gives before its v: (B, F); `with_one` appends the 1."""

    def features(x_bnd: Tensor) -> Tensor:
        x_bne = F.pad(x_bnd, (0, 1), value=1.0) if with_one else x_bnd
        queries_bme = torch.einsum("be,mef->bmf", x_bne[:, 0], w_mee)
        weights_bmn = (queries_bme @ x_bne[:, 1:].mT).relu() / N
        return (weights_bmn @ x_bne[:, 1:]).flatten(1)

    return features


def network_features(w_cf: Tensor) -> Features:
    """A hidden layer over all tokens side by side: (B, F)."""
    return lambda x_bnd: (F.pad(x_bnd.flatten(1), (0, 1), value=1.0) @ w_cf).relu()


def models(generator: torch.Generator) -> dict[str, Features]:
    """The three models with as many fitted numbers, and RFA without the 1."""
    w_mee = torch.randn(HEADS, D + 1, D + 1, generator=generator) / 2
    biased_mee = w_mee.clone()
    biased_mee[:, :D, :D] += BIAS * torch.eye(D)
    inputs = (1 + N) * D + 1
    w_cf = torch.randn(inputs, HEADS * (D + 1), generator=generator) / inputs**0.5
    return {
        "RFA": attention_features(w_mee),
        "BRFA": attention_features(biased_mee),
        "RFMLP": network_features(w_cf),
        "RFA without the 1": attention_features(w_mee[:, :D, :D], with_one=False),
    }


def errors(train_bf: Tensor, y_bk: Tensor, test_bf: Tensor, test_bk: Tensor) -> list[float]:
    """The test error of ridge regression on each target over its variance, with the best ridge of RIDGES."""
    mean_k = y_bk.mean(0)
    values_b, vectors_bb = torch.linalg.eigh((train_bf @ train_bf.mT).double())
    rotated_bk = vectors_bb.mT @ (y_bk - mean_k).double()
    towards_tb = (test_bf @ train_bf.mT).double() @ vectors_bb
    shrunken_rbk = rotated_bk / (values_b.clamp(min=0) + RIDGES[:, None] * values_b[-1])[..., None]
    squares_rk = (towards_tb @ shrunken_rbk + mean_k - test_bk).square().mean(1)
    found: list[float] = (squares_rk.amin(0) / test_bk.double().var(0, correction=0)).tolist()
    return found


def run(seed: int, advance: Advance, samples: tuple[int, ...] = SAMPLES, tests: int = TESTS) -> Outcome:
    """All models on all targets, for each number of samples."""
    generator = torch.Generator().manual_seed(seed)
    b_d = F.normalize(torch.randn(D, generator=generator), dim=0)
    made = models(generator)
    x_bnd, test_bnd = tokens(samples[-1], generator), tokens(tests, generator)
    y_bk, test_bk = targets(x_bnd, b_d), targets(test_bnd, b_d)
    found: dict[str, dict[int, list[float]]] = {}
    for name, features in made.items():
        train_bf, test_bf = features(x_bnd), features(test_bnd)
        counts = samples[-1:] if name.endswith("1") else samples
        found[name] = {count: errors(train_bf[:count], y_bk[:count], test_bf, test_bk) for count in counts}
        advance()
    last = {name: dict(zip(TARGETS, by_count[samples[-1]], strict=True)) for name, by_count in found.items()}
    order = torch.randperm(N, generator=generator) + 1
    turned_bnd = torch.cat([test_bnd[:, :1], test_bnd[:, order]], 1)
    by_order = {name: _difference(made[name](test_bnd), made[name](turned_bnd)) for name in ("RFA", "RFMLP")}
    names = ("RFA", "BRFA", "RFMLP")
    measured = {f"{name}, {target}": last[name][target] for name in names for target in TARGETS}
    measured |= {f"RFA, {SQUARE}, n = {count}": found["RFA"][count][0] for count in samples[:-1]}
    measured |= {
        f"{best} over the better of the others, {target}": last[best][target]
        / min(last[name][target] for name in names if name != best)
        for best, target in (("RFA", SQUARE), ("BRFA", GATED), ("RFA", BILINEAR))
    }
    measured |= {
        f"best of all, {CUBIC}": min(last[name][CUBIC] for name in names),
        f"RFA without the 1, {SQUARE}": last["RFA without the 1"][SQUARE],
        "features of RFA, keys in another order, relative difference": by_order["RFA"],
        "features of RFMLP, tokens in another order, relative difference": by_order["RFMLP"],
    }
    return Outcome(measured, {"errors": {name: found[name] for name in names}})


def _difference(first: Tensor, second: Tensor) -> float:
    return float((first - second).norm() / first.norm())


def draw(figure: "Figure", outcome: Outcome) -> None:
    """The error over the number of samples, a panel for each target."""
    figure.set_size_inches(14, 3.8)
    found: dict[str, dict[int, list[float]]] = outcome.shown["errors"]
    panels = figure.subplots(1, len(TARGETS), sharey=True)
    for k, (axes, target) in enumerate(zip(panels, TARGETS, strict=True)):
        for name, marker in zip(found, "osD", strict=True):
            axes.plot([*found[name]], [each[k] for each in found[name].values()], f"{marker}-", ms=4, label=name)
        axes.axhline(1, lw=0.8, ls=":", color="0.5")
        axes.set(xscale="log", yscale="log", xlabel="samples", title=target)
        axes.set_xticks([*found["RFA"]], [str(count) for count in found["RFA"]])
        axes.minorticks_off()
    panels[0].set_ylabel("test error over the target's variance")
    panels[0].legend(frameon=False)


EXPERIMENT = Experiment(
    paper="What Can a Single Attention Layer Learn?, arXiv:2307.11353",
    setting=f"{D} dimensions, {N} keys, {HEADS} heads, {SAMPLES[-1]} samples, ridge regression",
    predictions=(
        Prediction(f"RFA over the better of the others, {SQUARE}", 0.5, "order", most=True),
        Prediction(f"BRFA over the better of the others, {GATED}", 0.5, "order", most=True),
        Prediction(f"RFA over the better of the others, {BILINEAR}", 0.5, "order", most=True),
        Prediction(f"RFA, {SQUARE}, n = 128", 0.53, REFERENCE, 0.15),
        Prediction(f"RFA, {SQUARE}, n = 256", 0.17, REFERENCE, 0.06),
        Prediction(f"RFA, {SQUARE}, n = 512", 0.047, REFERENCE, 0.02),
        Prediction(f"RFA, {SQUARE}", 0.014, REFERENCE, 0.007),
        Prediction(f"BRFA, {SQUARE}", 0.37, REFERENCE, 0.1),
        Prediction(f"RFMLP, {SQUARE}", 0.93, REFERENCE, 0.1),
        Prediction(f"RFA, {GATED}", 0.21, REFERENCE, 0.05),
        Prediction(f"BRFA, {GATED}", 0.004, REFERENCE, 0.002),
        Prediction(f"RFMLP, {GATED}", 0.50, REFERENCE, 0.1),
        Prediction(f"RFA, {BILINEAR}", 0.061, REFERENCE, 0.02),
        Prediction(f"BRFA, {BILINEAR}", 0.28, REFERENCE, 0.06),
        Prediction(f"RFMLP, {BILINEAR}", 0.57, REFERENCE, 0.1),
        Prediction(f"best of all, {CUBIC}", 0.5, "too hard for so few samples"),
        Prediction(f"RFA without the 1, {SQUARE}", 0.95, "parity"),
        Prediction("features of RFA, keys in another order, relative difference", 1e-5, "formula", most=True),
        Prediction("features of RFMLP, tokens in another order, relative difference", 0.1, "formula"),
    ),
    steps=4,
    run=run,
    draw=draw,
)
