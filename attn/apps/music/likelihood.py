"""How surprised a model is by music: the negative log-likelihood of its tokens, in nats.

Shapes: B batch, L tokens, V vocabulary.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from attn.apps.music.corpus import Piece, cut_windows
from attn.apps.music.model import PAD, MusicTransformer
from attn.apps.music.styles import AnyStyle


@dataclass(frozen=True)
class Surprise:
    """The sum of -log p over the predicted tokens of a piece (`nll`, in nats), and the amounts to divide it by."""

    name: str
    nll: float
    tokens: int
    notes: int
    seconds: float


def token_nll(logits_blv: Float[Tensor, "B L V"], targets_bl: Int[Tensor, "B L"]) -> Float[Tensor, "B L"]:
    """-log p of each target in nats, 0 for padding."""
    return F.cross_entropy(
        logits_blv.flatten(0, 1).float(), targets_bl.flatten(), ignore_index=PAD, reduction="none"
    ).view_as(targets_bl)


def melody_of(ids_bl: Int[Tensor, "B L1"], voices: int) -> Int[Tensor, "B S"]:
    """The source of an accompaniment: the first voice of each grid step; the first id is the edge."""
    return ids_bl[:, 1::voices]


def surprise(
    model: MusicTransformer,
    style: AnyStyle,
    pieces: Sequence[Piece],
    *,
    length: int,
    stride: int,
    advance: Callable[[], None] = lambda: None,
) -> list[Surprise]:
    """The likelihood of each piece; each of its tokens is scored once.

    A token is predicted from at most `length` tokens before it, and from at least `length` - `stride` where the piece
    has them. Strides of grid music are whole bars. A model that accompanies is scored on the voices that it adds.
    `advance` is called after each piece. Raises UsageError for a `length` below one bar.
    """
    accompanies = model.config.source_vocabulary is not None
    device = model.embedding.weight.device
    cycle = max(style.cycles, default=1)
    results = []
    model.eval()
    for piece in pieces:
        total, tokens = 0.0, 0
        for window in cut_windows(piece.with_edges(end=style.voices == 1), length, stride, cycle):
            ids_bl = torch.from_numpy(window.ids.astype(np.int64))[None].to(device)
            source_bs = melody_of(ids_bl, style.voices) if accompanies else None
            with torch.inference_mode():
                nll_l = token_nll(model(ids_bl[:, :-1], source_bs), ids_bl[:, 1:])[0]
                if accompanies:
                    nll_l[:: style.voices] = 0.0
            total += float(nll_l[len(nll_l) - window.scored :].double().sum())
            tokens += window.scored
        if accompanies:
            tokens -= tokens // style.voices
        notes = style.notes(piece.ids[0])
        results.append(Surprise(piece.name, total, tokens, len(notes), notes.seconds))
        advance()
    return results


def rates(results: Iterable[Surprise]) -> dict[str, float]:
    """NLL in nats per token, per note and per second, over all pieces together; NaN for a divisor of 0."""
    rows = list(results)
    nll = sum(row.nll for row in rows)
    counts = {
        "token": sum(row.tokens for row in rows),
        "note": sum(row.notes for row in rows),
        "second": sum(row.seconds for row in rows),
    }
    return {f"nll_per_{name}": nll / count if count else float("nan") for name, count in counts.items()}
