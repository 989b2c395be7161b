"""Which heads matter: the answer without a head, and with part of it ("How Does Attention Work in Vision
Transformers?", Li et al. 2023, arXiv:2303.13731, the first view).

    drop   probability of the true answer with the whole model, minus that without the head
    js     Jensen-Shannon divergence of the two answers, in nats: at most ln 2

A head is left out by setting its output to 0; partial pruning takes a share of the output away. Means over answers.

Shapes: B examples, R answers of an example, K classes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attn.core.attention.watch import intervene
from attn.look.probe import Batch, Probe
from attn.look.sites import Head, Site, all_heads, mixers_of, scaled

SHARES = (0.25, 0.5, 0.75)  # of a head that partial pruning takes away


class Answers:
    """The answers of the whole model to all batches, with which those of a changed one are compared."""

    def __init__(self, probe: Probe, batches: Sequence[Batch]) -> None:
        self.probe, self.batches = probe, batches
        self.log_p = [probe.answer(batch) for batch in batches]
        self.targets = [probe.targets(batch, log_p) for batch, log_p in zip(batches, self.log_p, strict=True)]

    def changed(self, **changes: Any) -> dict[str, float]:
        """`drop`, `js` and `nll`, the rise of -ln p of the true answer, under an intervention (see `intervene`)."""
        drop = js = nll = 0.0
        answers = 0
        for batch, before, target in zip(self.batches, self.log_p, self.targets, strict=True):
            with intervene(self.probe.network, **changes):
                after = self.probe.answer(batch)
            true_before, true_after = (true_answer(log_p, target) for log_p in (before, after))
            drop += float((true_before.exp() - true_after.exp()).sum())
            nll += float((true_before - true_after).sum())
            js += float(divergence(before, after).sum())
            answers += target.numel()
        return {"drop": drop / answers, "js": js / answers, "nll": nll / answers}

    def scaled(self, factors: dict[Head, float], sites: list[Site]) -> dict[str, float]:
        """The same with the outputs of heads times their factors."""
        return self.changed(heads=scaled(factors, sites))


def true_answer(log_p_brk: Float[Tensor, "B R K"], target_br: Int[Tensor, "B R"]) -> Float[Tensor, "B R"]:
    """The log-probability of the true answers."""
    return log_p_brk.gather(-1, target_br[..., None])[..., 0]


def divergence(log_p_brk: Float[Tensor, "B R K"], log_q_brk: Float[Tensor, "B R K"]) -> Float[Tensor, "B R"]:
    """Jensen-Shannon divergence, in nats."""
    log_m_brk = torch.logaddexp(log_p_brk, log_q_brk) - torch.log(torch.tensor(2.0, dtype=log_p_brk.dtype))
    parts = [(log.exp() * (log - log_m_brk).nan_to_num(0.0, 0.0, 0.0)).sum(-1) for log in (log_p_brk, log_q_brk)]
    return (sum(parts, torch.zeros_like(parts[0])) / 2).clamp(min=0)


def importance(
    answers: Answers, sites: list[Site], advance: Callable[[], None] = lambda: None
) -> dict[Head, dict[str, Any]]:
    """`drop` and `js` of each head left out, and both for each share of it that is taken away."""
    found = {}
    for head in all_heads(sites):
        whole = answers.scaled({head: 0.0}, sites)
        partial = {str(share): answers.scaled({head: 1 - share}, sites) for share in SHARES}
        found[head] = {"drop": whole["drop"], "js": whole["js"], "partial": partial | {"1.0": whole}}
        advance()
    return found


def layer_importance(answers: Answers, advance: Callable[[], None] = lambda: None) -> list[dict[str, Any]]:
    """`drop` and `js` of each mixer left out as a whole, whether it has weights or not."""
    rows = []
    for name in mixers_of(answers.probe):
        rows.append({"module": name, **answers.changed(outputs={name: torch.zeros_like})})
        advance()
    return rows
