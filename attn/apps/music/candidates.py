"""The best of several candidates for a piece: what the model finds likelier, with fewer faults or more of its motif.

Chorales are ranked by their log-probability less PARALLEL nats for each pair of parallel fifths or octaves;
performances by how many of the motif's figures come back, and then by their mean log-probability. Within a gap the
log-probability is that of what is given beside and after it, and ranks performances alone. It is the importance weight
of a candidate that was drawn from what lies before it.

Shapes: B candidates of all pieces, V vocabulary, L tokens that are drawn.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from attn.apps.music.compose import Composition
from attn.apps.music.craft import parallels, returning
from attn.apps.music.model import PAD
from attn.apps.music.rules import PARALLEL
from attn.apps.music.styles import Chorale, Piano


class Candidates:
    """each: candidates for a piece, which lie side by side.

    judged: of a drawn token, by its number, says whether it is given and counts, for all rows or each (B,); None: all
    tokens count, and none is given.
    """

    def __init__(self, each: int, judged: Callable[[int], bool | np.ndarray] | None = None) -> None:
        self.each, self.judged = each, judged
        self.sums_b: np.ndarray | float = 0.0
        self.tokens_b: np.ndarray | float = 0.0
        self.steps = 0

    def hear(self, logits_bv: Tensor, ids_b: Tensor) -> None:
        """Take in what the model said before each token, and the token."""
        judged_b = True if self.judged is None else self.judged(self.steps)
        if np.any(judged_b):
            logp_b = torch.log_softmax(logits_bv.double().cpu(), -1).gather(1, ids_b[:, None])[:, 0].numpy()
            there_b = judged_b & (ids_b.numpy() != PAD)
            self.sums_b = self.sums_b + np.where(there_b, logp_b, 0.0)
            self.tokens_b = self.tokens_b + there_b
        self.steps += 1

    def best(self, style: Piano | Chorale, pieces: Sequence[Composition]) -> list[int]:
        """The number of the best candidate for each piece; of equal ones the first."""
        sums_b = np.broadcast_to(self.sums_b, len(pieces))
        means_b = sums_b / np.maximum(np.broadcast_to(self.tokens_b, len(pieces)), 1)
        keys = [
            (s - PARALLEL * sum(parallels(style.grid(piece.ids))), 0.0)
            if isinstance(style, Chorale)
            else (_returning(piece) if self.judged is None else s, mean)
            for piece, s, mean in zip(pieces, sums_b.tolist(), means_b.tolist(), strict=True)
        ]
        return [
            max(range(first, first + self.each), key=lambda b: (keys[b], -b))
            for first in range(0, len(pieces), self.each)
        ]


def _returning(piece: Composition) -> float:
    motif = piece.notes.start < piece.motif_seconds - 0.005
    share = returning(piece.notes.where(motif), piece.notes.where(~motif))
    return share if np.isfinite(share) else 0.0
