"""One decoding step of a music model as an ONNX file: a token and what is kept of the past in, the next logits out.

    keys, values = zeros(layers, B, H, 0, D)
    logits, keys, values = run(ids, position, past_keys=keys, past_values=values)     # again and again

A model whose layers look at blocks is given no more of the past than the next token sees; the file's metadata says how
much that is.

Shapes: B batch, V vocabulary, Z layers, H heads, N tokens of the past, D head dimension, C channels.
"""

from pathlib import Path
from typing import cast

import onnxruntime
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attn.apps.music.model import DecodingState, MusicTransformer
from attn.apps.music.predict import MusicGenerator
from attn.apps.music.styles import EDGE
from attn.core.errors import UsageError
from attn.core.export import write_onnx
from attn.core.mixers.relative_local import RelativeLocalMixer
from attn.core.sequence import BlockState

BATCHES = (1, 3)
STEPS = 40


class Past:
    """A mixer's cache as values: nothing is written in place, and it takes in one token."""

    room = 1

    def __init__(
        self,
        k_bhnd: Float[Tensor, "B H N D"],
        v_bhnd: Float[Tensor, "B H N D"],
        coordinates_bn2: Int[Tensor, "B N 2"] | None,
    ) -> None:
        self.k_bhnd, self.v_bhnd, self.coordinates_bn2 = k_bhnd, v_bhnd, coordinates_bn2

    @property
    def length(self) -> int:
        """Tokens in it."""
        return self.k_bhnd.shape[2]

    def append(
        self, k_bh1d: Float[Tensor, "B H 1 D"], v_bh1d: Float[Tensor, "B H 1 D"]
    ) -> tuple[Float[Tensor, "B H N D"], Float[Tensor, "B H N D"]]:
        """Take in a token; returns all."""
        self.k_bhnd = torch.cat([self.k_bhnd, k_bh1d], 2)
        self.v_bhnd = torch.cat([self.v_bhnd, v_bh1d], 2)
        return self.k_bhnd, self.v_bhnd

    def locate(self, coordinates_b12: Int[Tensor, "B 1 2"]) -> Int[Tensor, "B N 2"]:
        """Note where it lies; returns where all do."""
        assert self.coordinates_bn2 is not None
        self.coordinates_bn2 = torch.cat([self.coordinates_bn2, coordinates_b12], 1)
        return self.coordinates_bn2


class DecodingStep(nn.Module):
    """`MusicTransformer.step` for one token, with the state as tensors."""

    def __init__(self, model: MusicTransformer) -> None:
        super().__init__()
        self.model = model
        self.located = next((n for n, block in enumerate(model.layers) if block.mixer.coordinates), None)
        self.block = _block(model)

    def forward(
        self,
        ids_b1: Int[Tensor, "B 1"],
        position: Int[Tensor, ""],
        k_zbhnd: Float[Tensor, "Z B H N D"],
        v_zbhnd: Float[Tensor, "Z B H N D"],
        coordinates_bn2: Int[Tensor, "B N 2"] | None = None,
    ) -> tuple[Tensor, ...]:
        """Logits (B, V), keys, values and, where they are used, coordinates of N + 1 tokens.

        `position` is the number of tokens so far, also where the past holds fewer.
        """
        pasts = [Past(k, v, coordinates_bn2) for k, v in zip(k_zbhnd.unbind(), v_zbhnd.unbind(), strict=True)]
        state = DecodingState([BlockState(past, None) for past in pasts], cast(int, position.item()))
        logits_bv = self.model.step(ids_b1, state)
        out = logits_bv, torch.stack([past.k_bhnd for past in pasts]), torch.stack([past.v_bhnd for past in pasts])
        return out if self.located is None else (*out, cast(Tensor, pasts[self.located].coordinates_bn2))

    def past(self, batch: int, length: int) -> dict[str, Tensor]:
        """Some past of so many tokens: normal keys and values, coordinates 0."""
        config, device = self.model.config, self.model.embedding.weight.device
        size = config.depth, batch, config.heads, length, config.width // config.heads
        random = torch.Generator().manual_seed(0)
        named = {name: torch.randn(size, generator=random).to(device) for name in ("past_keys", "past_values")}
        if self.located is not None:
            named["past_coordinates"] = torch.zeros(batch, length, 2, dtype=torch.long, device=device)
        return named

    def seen(self, position: int) -> int:
        """How much of the past the token at `position` sees."""
        return position if self.block is None else min(position, self.block + position % self.block)

    @property
    def rule(self) -> str:
        """`seen` in words."""
        if self.block is None:
            return "all tokens so far"
        return f"the newest min(position, {self.block} + position % {self.block}) tokens"


def export(generator: MusicGenerator, path: Path) -> dict[str, object]:
    """Write `path`; how far it is from PyTorch along consecutive tokens, and after a long past.

    Inputs: ids (B, 1), position (), past_keys and past_values (Z, B, H, N, D), and past_coordinates (B, N, 2) where a
    layer uses them; B and N are free, and N is 0 at first. Outputs: logits (B, V) and keys, values and coordinates of
    N + 1 tokens. The file's metadata names the app, the model, its style (JSON), the id that comes first, and which
    tokens the past holds.

    Raises UsageError for a model that accompanies, and for one with layers that see different parts of the past.
    """
    if generator.accompanies:
        raise UsageError("a model that accompanies has an encoder and is not exported", hint="piano and chorale are")
    model = generator.model
    step = DecodingStep(model)
    ids_b1 = torch.full((2, 1), EDGE, device=model.embedding.weight.device)
    inputs = {"ids": ids_b1, "position": torch.tensor(5, device=ids_b1.device)} | step.past(2, 5)
    outputs = ["logits", *(name.removeprefix("past_") for name in inputs if name.startswith("past_"))]
    free = {"ids": {0: "batch"}, "past_keys": {1: "batch", 3: "past"}, "past_values": {1: "batch", 3: "past"}}
    if step.located is not None:
        free["past_coordinates"] = {0: "batch", 1: "past"}
    metadata = {
        "app": "music",
        "model": generator.record.name,
        "style": generator.style.model_dump_json(),
        "first_id": str(EDGE),
        "past": step.rule,
    }

    def difference(session: onnxruntime.InferenceSession) -> float:
        return max(max(_along(step, session, batch), _after_much(step, session, batch)) for batch in BATCHES)

    largest = write_onnx(step, inputs, outputs, path, difference, free=free, metadata=metadata)
    return {"largest_difference": largest, "steps": STEPS, "batches": list(BATCHES)}


def _block(model: MusicTransformer) -> int | None:
    """The block length of a model whose layers look at blocks."""
    blocks = {
        block.mixer.config.block if isinstance(block.mixer, RelativeLocalMixer) else None for block in model.layers
    }
    if len(blocks) > 1:
        raise UsageError("a model whose layers see different parts of the past is not exported")
    return blocks.pop()


def _along(step: DecodingStep, session: onnxruntime.InferenceSession, batch: int) -> float:
    """The largest difference between the file, fed with its own past, and the model over random tokens."""
    model = step.model
    device = model.embedding.weight.device
    random = torch.Generator().manual_seed(0)
    ids_bl = torch.randint(model.config.vocabulary, (batch, STEPS), generator=random)
    state, past, largest = model.start(batch, STEPS), step.past(batch, 0), 0.0
    for position in range(STEPS):
        ids_b1 = ids_bl[:, position : position + 1]
        past = {name: _newest(name, x, step.seen(position)) for name, x in past.items()}
        logits_bv, *rest = _run(session, {"ids": ids_b1, "position": torch.tensor(position)} | past)
        past = dict(zip(past, rest, strict=True))
        ours_bv = model.step(ids_b1.to(device), state).cpu()
        largest = max(largest, float((logits_bv - ours_bv).abs().max()))
    return largest


def _after_much(step: DecodingStep, session: onnxruntime.InferenceSession, batch: int) -> float:
    """The largest difference for one token after more than any table knows; tokens up to there would take long."""
    config, device = step.model.config, step.model.embedding.weight.device
    position = config.length if step.block is None else 2 * step.block - 1
    ids_b1 = torch.full((batch, 1), config.vocabulary - 1, device=device)
    inputs = {"ids": ids_b1, "position": torch.tensor(position, device=device)}
    inputs |= step.past(batch, step.seen(position))
    theirs, ours = _run(session, inputs), step(*inputs.values())
    return max(float((a - b.cpu()).abs().max()) for a, b in zip(theirs, ours, strict=True))


def _newest(name: str, x: Tensor, count: int) -> Tensor:
    tokens = 1 if name == "past_coordinates" else 3
    return x.narrow(tokens, x.shape[tokens] - count, count)


def _run(session: onnxruntime.InferenceSession, inputs: dict[str, Tensor]) -> list[Tensor]:
    arrays = {name: x.cpu().contiguous().numpy() for name, x in inputs.items()}
    return [torch.from_numpy(array) for array in session.run(None, arrays)]
