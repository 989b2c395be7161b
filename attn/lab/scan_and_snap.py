"""Scan and Snap (Tian et al. 2023, arXiv:2305.16380): how one attention layer learns which tokens to look at.

    c_l|m,n = P(l|n) exp(z_ml) / sum_l' P(l'|n) exp(z_ml')     attention of query m, over counts of tokens (section 2)
    f = c / |c|,    logits = Yᵀ f,    cross-entropy over the next tokens n of m;    Z = Y = 0 at first

A token is *distinct* if one next token n alone has it, *common* if all have it. Distinct tokens gain attention and
common ones lose it (theorem 2). Of the distinct ones those that occur less with their n fade first (theorem 3: "scan").
Growth slows down to that of a logarithm before attention is one-hot (theorem 4: "snap"). The scan takes 2 K ln M / rate
of the decoder (K next tokens and M tokens, in the paper's letters): a decoder that learns faster snaps earlier, and
attention stays denser.

The setting is Syn-Small: tokens 0-9 are common; 10-19 belong to the first next token and 20-29 to the second, with
probabilities that rise from 1 to 10 while a common token has 10. Each of the two queries has both next tokens and a
decoder of its own, since next tokens of two queries differ.

Shapes: M queries of 2, N next tokens of 2, B sequences of a query, T tokens of a sequence, V tokens that there are.
"""

from typing import TYPE_CHECKING, Any

import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from attn.lab.experiment import REFERENCE, Advance, Experiment, Outcome, Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUERIES, NEXT, GROUP = 2, 2, 10
TOKENS = GROUP * (1 + NEXT)
SEQUENCES, LENGTH, ITERATIONS = 128, 128, 2000
MOMENTUM = 0.9  # with Adam the order of the tokens would be another
RATES = (1.0, 10.0)  # of the decoder; that of the attention is 1


def probabilities() -> Tensor:
    """P(l|n), (N, V)."""
    weights_nv = torch.zeros(NEXT, TOKENS)
    weights_nv[:, :GROUP] = GROUP
    for n in range(NEXT):
        weights_nv[n, GROUP * (n + 1) : GROUP * (n + 2)] = torch.arange(1.0, GROUP + 1)
    return weights_nv / weights_nv.sum(1, keepdim=True)


def attention(p_nv: Tensor, z_mv: Tensor) -> Tensor:
    """c (M, N, V), for sequences without an end."""
    weights_mnv = p_nv * z_mv[:, None].exp()
    return weights_mnv / weights_mnv.sum(-1, keepdim=True)


def train(rate: float, seed: int, iterations: int = ITERATIONS) -> tuple[Tensor, Tensor]:
    """Z (M, V) after the training, and c (iterations + 1, M, N, V) from its start on."""
    draw = torch.Generator().manual_seed(seed)
    p_nv = probabilities()
    z_mv = torch.zeros(QUERIES, TOKENS, requires_grad=True)
    y_mvn = torch.zeros(QUERIES, TOKENS, NEXT, requires_grad=True)
    optimizer = torch.optim.SGD([{"params": [z_mv], "lr": 1.0}, {"params": [y_mvn], "lr": rate}], momentum=MOMENTUM)
    seen = [attention(p_nv, z_mv.detach())]
    ones = torch.ones(QUERIES * SEQUENCES, LENGTH)
    for _ in range(iterations):
        n_x = torch.randint(NEXT, (QUERIES * SEQUENCES,), generator=draw)
        drawn_xt = torch.multinomial(p_nv[n_x], LENGTH, replacement=True, generator=draw)
        counts_xv = torch.zeros(QUERIES * SEQUENCES, TOKENS).scatter_add_(1, drawn_xt, ones)
        f_mbv = F.normalize(counts_xv.view(QUERIES, SEQUENCES, TOKENS) * z_mv[:, None].exp(), dim=-1)
        loss = QUERIES * F.cross_entropy((f_mbv @ y_mvn).flatten(0, 1), n_x)  # a mean for each query
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        seen.append(attention(p_nv, z_mv.detach()))
    return z_mv.detach(), torch.stack(seen)


def summary(z_mv: Tensor, seen: Tensor) -> dict[str, float]:
    """The quantities of one training."""
    own = torch.stack([seen[:, :, n, GROUP * (n + 1) : GROUP * (n + 2)] for n in range(NEXT)], 2)  # by rising P
    distinct = own.sum(-1).mean((1, 2))
    share = own[-1] / own[-1].sum(-1, keepdim=True)
    half = (distinct[0] + distinct[-1]) / 2
    z_pairs = z_mv[:, GROUP:].reshape(QUERIES * NEXT, GROUP)
    return {
        "attention on distinct tokens, start": distinct[0].item(),
        "attention on distinct tokens, end": distinct[-1].item(),
        "attention on common tokens, end": 1 - distinct[-1].item(),
        "z of common tokens": z_mv[:, :GROUP].mean().item(),
        "z of the most frequent distinct token": z_pairs[:, -1].mean().item(),
        "z of the rarest distinct token": z_pairs[:, 0].mean().item(),
        "rank correlation of P and z, distinct": float(spearmanr(range(GROUP), z_pairs.mean(0)).statistic),
        "entropy over distinct tokens": -(share * share.log()).sum(-1).mean().item(),
        "iterations to half of the change": float((distinct > half).nonzero()[0]),
    }


def run(seed: int, advance: Advance, iterations: int = ITERATIONS) -> Outcome:
    """One training for each rate of the decoder."""
    slow, fast = (_trained(rate, seed, iterations, advance) for rate in RATES)
    measured = {
        **slow[0],
        **{
            f"{short}, fast less slow": fast[0][name] - slow[0][name]
            for short, name in {
                "attention on common tokens": "attention on common tokens, end",
                "entropy over distinct tokens": "entropy over distinct tokens",
                "iterations to half": "iterations to half of the change",
            }.items()
        },
    }
    return Outcome(measured, {"slow": slow[1], "fast": fast[1]})


def _trained(rate: float, seed: int, iterations: int, advance: Advance) -> tuple[dict[str, float], dict[str, Any]]:
    z_mv, seen = train(rate, seed, iterations)
    advance()
    over_time = seen[:, :, 0].mean(1)  # of the first next token: those of the second are the same in other places
    return summary(z_mv, seen), {"attention": over_time[:, : 2 * GROUP].numpy(), "p": probabilities()[0, : 2 * GROUP]}


def draw(figure: "Figure", outcome: Outcome) -> None:
    """Attention over time, common tokens dashed, distinct ones darker the more frequent."""
    from matplotlib import colormaps

    panels = figure.subplots(1, 2, sharey=True)
    for axes, (name, rate) in zip(panels, zip(("slow", "fast"), RATES, strict=True), strict=True):
        lines = outcome.shown[name]["attention"]
        for token in range(2 * GROUP):
            common = token < GROUP
            colour = "0.6" if common else colormaps["viridis_r"]((token - GROUP + 1) / GROUP)
            label = {0: "common", GROUP: "distinct, rarest", 2 * GROUP - 1: "distinct, most frequent"}.get(token)
            axes.plot(range(1, len(lines) + 1), lines[:, token], "--" if common else "-", color=colour, label=label)
        axes.set(xscale="log", xlabel="iteration", title=f"rate of the decoder {rate:g} times that of the attention")
    panels[0].set_ylabel("attention of a token")
    panels[1].legend(frameon=False)


EXPERIMENT = Experiment(
    paper="Scan and Snap, arXiv:2305.16380",
    setting=f"{QUERIES} queries x {NEXT} next tokens, {TOKENS} tokens, {SEQUENCES} sequences of {LENGTH} for each "
    f"query in an iteration, {ITERATIONS} iterations of SGD with momentum {MOMENTUM}",
    predictions=(
        Prediction("attention on distinct tokens, start", 55 / 155, "the probabilities", 0.001),
        Prediction("attention on distinct tokens, end", 0.761, REFERENCE, 0.05),
        Prediction("attention on common tokens, end", 0.239, REFERENCE, 0.05),
        Prediction("z of common tokens", 0.0, "theorem 2", most=True),
        Prediction("z of the most frequent distinct token", 1.23, REFERENCE, 0.1),
        Prediction("z of the rarest distinct token", 0.001, REFERENCE, 0.05),
        Prediction("rank correlation of P and z, distinct", 0.95, "theorem 3"),
        Prediction("attention on common tokens, fast less slow", 0.0, "theorem 4"),
        Prediction("entropy over distinct tokens, fast less slow", 0.0, "theorem 4"),
        Prediction("iterations to half, fast less slow", 0.0, "theorem 4", most=True),
    ),
    steps=len(RATES),
    run=run,
    draw=draw,
)
