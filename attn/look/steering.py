"""What a sink does: the MLP that makes it is turned down and up, and a window of attention keeps it or not.

Steering (Secondary Attention Sinks, arXiv:2512.22213): where the MLP's output is parallel to the sink's vector (cos >
ALIKE), its norm is set. A window that never forgets the sinks is StreamingLLM's cache (Xiao et al. 2023,
arXiv:2309.17453): here the keys that a cache would have evicted get no weight, which is the same.

Shapes: B examples, N tokens, C channels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from attn.core.attention.watch import AttentionRecord, intervene
from attn.look.importance import Answers
from attn.look.sinks import SCORE, Seen, Sink, Stack, watch_stack

ALIKE = 0.98  # cosine of two outputs of an MLP
FACTORS = (0.0, 0.5, 1.0, 2.0)  # of the norm of the MLP's output
WINDOWS = (8, 16, 32, 64, 128)  # keys that a window keeps


def rescaled(vector_c: Float[Tensor, " C"], factor: float) -> Callable[[Tensor], Tensor]:
    """For `intervene(outputs=)`: outputs parallel to a vector get `factor` times its norm."""

    def change(x: Tensor) -> Tensor:
        vector = vector_c.to(x)
        alike = F.cosine_similarity(x, vector, dim=-1) > ALIKE
        scaled = F.normalize(x, dim=-1) * (factor * vector.norm())
        return torch.where(alike[..., None], scaled, x)

    return change


def steer(answers: Answers, stack: Stack, seen: Seen, sink: Sink, place: int = 0) -> list[dict[str, Any]]:
    """The sink's score, the layers in which it is a sink, and the answer, as its MLP's vector gets another norm.

    `seen` and `sink` are of the first batch, in which the sink's example has the number `place`. A sink that attention
    makes has no MLP to turn, and gives no row.
    """
    mlp = seen.mlp[sink.layer]
    if sink.layer < 0 or mlp is None or not sink.made_by.endswith(".mlp"):
        return []
    rows = []
    for factor in FACTORS:
        change = rescaled(mlp[place, sink.token], factor)
        with intervene(answers.probe.network, outputs={sink.made_by: change}):
            again = watch_stack(answers.probe, answers.batches[0], stack)
        score_l = again.score[:, place, sink.token]
        effect = answers.changed(outputs={sink.made_by: change})
        rows.append({"norm": factor, "score": float(score_l.max()), "layers": int((score_l >= SCORE).sum()), **effect})
    return rows


def windowed(keys: int, kept: Sequence[int]) -> Callable[[AttentionRecord], Tensor]:
    """For `intervene(weights=)`: a query sees the last `keys` tokens, itself among them, and those that are kept."""

    def change(seen: AttentionRecord) -> Tensor:
        query, key = seen.query_positions[..., :, None], seen.key_positions[..., None, :]
        near = query - key < keys
        always = torch.isin(key, torch.tensor(kept, dtype=key.dtype, device=key.device))
        weights = seen.weights * (near | always)
        return weights / weights.sum(-1, keepdim=True).clamp(min=1e-12)

    return change


def windows(answers: Answers, stack: Stack, kept: Sequence[int]) -> list[dict[str, Any]]:
    """The NLL of the answers with a plain window, and with one that also keeps the sinks, beside full attention.

    `kept` are their tokens; both windows hold as many keys.
    """
    total = sum(target.numel() for target in answers.targets)
    full = sum(
        -float(log_p.gather(-1, target[..., None]).sum())
        for log_p, target in zip(answers.log_p, answers.targets, strict=True)
    )
    rows = []
    for keys in (each for each in WINDOWS if len(kept) < each < len(stack.layout.tokens)):
        row = {"window": keys, "full": full / total}
        for name, change in {"plain": windowed(keys, ()), "sinks": windowed(keys - len(kept), kept)}.items():
            row[name] = full / total + answers.changed(weights={site.name: change for site in stack.sites})["nll"]
        rows.append(row)
    return rows
