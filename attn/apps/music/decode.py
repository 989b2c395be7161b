"""Sampling token by token: what the model says, what the grammar allows, and a drawn number.

Shapes: B samples, L tokens, V vocabulary.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attn.apps.music.model import DecodingState, MusicTransformer
from attn.core.attention.watch import Change, intervene
from attn.core.blocks.reuse import reusing
from attn.core.decoding.guidance import Guidance
from attn.core.decoding.policy import Policy
from attn.core.errors import UsageError
from attn.core.models.threads import Pace

SMALL = 2**25  # weights times tokens of a step that may be faster on one thread
COLDEST = 1e-6  # below, logits divided by the temperature leave the range of float32


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to draw: logits over `temperature` (0: the likeliest), from the `top_k` likeliest, from the smallest set that
    holds `top_p` of the probability (Holtzman et al. 2020, section 3.1). rules: strength of the soft rules (`rules`), 0
    for none; infinite: what they mind is forbidden where anything else is left.

    Raises UsageError for values that make no sense.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    rules: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UsageError(f"temperature must be 0 or more, not {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top-k must be 1 or more, not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top-p must be above 0 and at most 1, not {self.top_p}")
        if not self.rules >= 0:
            raise UsageError(f"rules must be 0 or more, not {self.rules}")


class Grammar(Protocol):
    """What may follow, for B pieces at once; it accepts every token and knows when the pieces are long enough."""

    @property
    def finished(self) -> bool:
        """Whether all pieces are as long as was asked for."""

    def allowed(self) -> np.ndarray:
        """(B, V) bool, at least one true in every row."""

    def bias(self) -> np.ndarray:
        """(B, V) nats that the soft rules add to logits at strength 1: below 0 for what they mind."""

    def accept(self, ids_b: np.ndarray) -> None:
        """Note the next token of every piece."""


def draw(
    logits_bv: Float[Tensor, "B V"],
    allowed_bv: Bool[Tensor, "B V"],
    sampling: Sampling,
    generators: Sequence[torch.Generator],
) -> Int[Tensor, " B"]:
    """One id for each row, only of those allowed, with a generator for each. They are of the CPU: devices agree."""
    logits_bv = logits_bv.float().cpu().masked_fill(~allowed_bv, -math.inf)
    if sampling.temperature < COLDEST:
        return logits_bv.argmax(-1)
    logits_bv = logits_bv / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits_bv.shape[1]:
        least_b1 = logits_bv.topk(sampling.top_k).values[:, -1:]
        logits_bv = logits_bv.masked_fill(logits_bv < least_b1, -math.inf)
    p_bv = logits_bv.softmax(-1)
    if sampling.top_p < 1:
        sorted_bv, order_bv = p_bv.sort(descending=True)
        before_bv = sorted_bv.cumsum(-1) - sorted_bv
        p_bv = torch.zeros_like(p_bv).scatter(1, order_bv, sorted_bv.masked_fill(before_bv >= sampling.top_p, 0.0))
    # The largest of p / e with e exponential is a draw from p; `multinomial` does the same after checks that cost more.
    e_bv = torch.stack([torch.empty_like(p_bv[0]).exponential_(generator=generator) for generator in generators])
    return p_bv.div_(e_bv).argmax(-1)


def generate(
    model: MusicTransformer,
    prompt_bl: Int[Tensor, "B L"],
    grammar: Grammar,
    sampling: Sampling,
    *,
    seeds: Sequence[int],
    length: int,
    source_bs: Int[Tensor, "B S"] | None = None,
    hear: Callable[[Tensor, Tensor], None] | None = None,
    guide: Guidance | None = None,
    policy: Policy | None = None,
) -> Iterator[np.ndarray]:
    """The ids (B,) that follow the prompt, one step at a time, until the grammar has finished.

    Every piece has a seed of its own, so that it does not depend on the others. The grammar has accepted the prompt
    already. The model looks back over at most `length` tokens: when the caches are full, the older half is dropped, in
    whole cycles so that voices and beats keep their places. hear: takes the logits (B, V) of each step, and its ids.
    guide: what is drawn from is pushed away from a second pass, whose heads are softened. policy: which layers attend
    only to what earlier ones found.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    memory = _Memory(model, prompt_bl, length, source_bs, policy=policy)
    weaker = None
    if guide is not None and guide.active:
        weaker = _Memory(model, prompt_bl, length, source_bs, guide.softening())
    with torch.inference_mode():  # never across a yield: the mode is that of the caller's thread
        logits_bv = memory.first_logits()
        weaker_bv = None if weaker is None else weaker.first_logits()
    while not grammar.finished:
        with torch.inference_mode():
            allowed_bv = grammar.allowed()
            said_bv = logits_bv
            if guide is not None and weaker_bv is not None:
                said_bv = guide.guided(logits_bv, weaker_bv)
            if sampling.rules:
                said_bv, allowed_bv = guided(said_bv, allowed_bv, grammar.bias(), sampling.rules)
            ids_b = draw(said_bv, torch.from_numpy(allowed_bv), sampling, generators)
            if hear is not None:
                hear(logits_bv, ids_b)
            grammar.accept(ids_b.numpy())
        yield ids_b.numpy()
        with torch.inference_mode():
            logits_bv = memory.next_logits(ids_b)
            weaker_bv = None if weaker is None else weaker.next_logits(ids_b)


def guided(
    logits_bv: Float[Tensor, "B V"], allowed_bv: np.ndarray, bias_bv: np.ndarray, strength: float
) -> tuple[Tensor, np.ndarray]:
    """Logits and what is allowed under soft rules; infinitely strong ones forbid, where anything else is left."""
    if math.isfinite(strength):
        return logits_bv.float().cpu() + torch.from_numpy(strength * bias_bv).float(), allowed_bv
    kept_bv = allowed_bv & (bias_bv >= 0)
    return logits_bv, np.where(kept_bv.any(1, keepdims=True), kept_bv, allowed_bv)


class _Memory:
    """The decoding state, and the tokens to build it anew from when it is full. changes: of weights, in every step."""

    def __init__(
        self,
        model: MusicTransformer,
        prompt_bl: Tensor,
        length: int,
        source_bs: Tensor | None,
        changes: Mapping[str, Change] | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.model, self.source_bs, self.changes, self.policy = model, source_bs, changes, policy
        self.device = prompt_bl.device
        self.pace = Pace()
        self.weights = sum(p.numel() for p in model.parameters())
        self.cycle = math.lcm(1, *model.config.cycles)
        self.length = max(length, 2 * self.cycle)  # less has no half of whole cycles
        self.ids: list[Tensor] = list(prompt_bl.cpu().unbind(1))
        # Mechanisms without an end decode in constant memory, and need no token again.
        self.bounded = not all(block.mixer.endless for block in model.layers)
        self.state: DecodingState

    def first_logits(self) -> Tensor:
        return self._rebuild()

    def next_logits(self, ids_b: Tensor) -> Tensor:
        if self.bounded:
            self.ids.append(ids_b)
        if self.bounded and self.state.tokens >= self.length:
            return self._rebuild()
        return self._step(ids_b[:, None])

    def _rebuild(self) -> Tensor:
        """Read the newest tokens again, at least half of what there is room for, and the source beside them."""
        voices, source_bs = self.model.config.voices, self.source_bs
        if self.bounded:
            if len(self.ids) > self.length:
                gone = (len(self.ids) - self.length // 2) // self.cycle * self.cycle
                self.ids = self.ids[gone:]
                self.source_bs = None if source_bs is None else source_bs[:, gone // voices :]
            source_bs = None if self.source_bs is None else self.source_bs[:, : math.ceil(self.length / voices)]
        self.state = self.model.start(len(self.ids[0]), self.length, source_bs)
        if self.policy is not None:
            self.state.blocks = reusing(self.model.layers, self.state.blocks, self.policy, len(self.ids[0]))
        return self._step(torch.stack(self.ids, 1))

    def _step(self, ids_bl: Tensor) -> Tensor:
        small = self.device.type == "cpu" and self.weights * ids_bl.numel() <= SMALL
        changed = intervene(self.model, self.changes) if self.changes else nullcontext()
        with self.pace.step() if small else nullcontext(), changed:
            logits_blv: Tensor = self.model(ids_bl.to(self.device), past=self.state)
        return logits_blv[:, -1]
