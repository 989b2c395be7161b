"""One decoding step of a music model as an ONNX file: a token and what is kept of the past in, the next logits out.

    keys, values = zeros(layers, B, H, 0, D)
    logits, keys, values = run(ids, position, past_keys=keys, past_values=values)     # again and again

A model whose layers look at blocks is given no more of the past than the next token sees; the file's metadata says how
much that is. A model that accompanies has a second file beside it, NAME-melody.onnx, which reads the melody once:

    memory = run_melody(source)                # its keys, values and mask, to be given to every step

Shapes: B batch, V vocabulary, Z layers, H heads, N tokens of the past, S steps of the melody, D head dimension.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import onnxruntime
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attn.apps.music.model import PAD, DecodingState, MusicTransformer
from attn.apps.music.predict import MusicGenerator
from attn.apps.music.styles import EDGE
from attn.core.blocks.sequence import BlockState
from attn.core.decoding.cache import KVCache, Past, Reach, RingCache
from attn.core.errors import UsageError
from attn.core.models.onnx import write_onnx

BATCHES = (1, 3)
STEPS = 40
MELODY = 9  # steps of the melody that the check reads
MEMORY = ("memory_keys", "memory_values", "memory_mask")


class TracedCache:
    """A mixer's cache as values: nothing is written in place, and it takes in one token."""

    endless = False
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

    def append(self, k_bh1d: Float[Tensor, "B H 1 D"], v_bh1d: Float[Tensor, "B H 1 D"]) -> Past:
        """Take in a token; returns all."""
        self.k_bhnd = torch.cat([self.k_bhnd, k_bh1d], 2)
        self.v_bhnd = torch.cat([self.v_bhnd, v_bh1d], 2)
        return Past(self.k_bhnd, self.v_bhnd)

    def locate(self, coordinates_b12: Int[Tensor, "B 1 2"]) -> Int[Tensor, "B N 2"]:
        """Note where it lies; returns where all tokens do."""
        assert self.coordinates_bn2 is not None
        self.coordinates_bn2 = torch.cat([self.coordinates_bn2, coordinates_b12], 1)
        return self.coordinates_bn2


class DecodingStep(nn.Module):
    """`MusicTransformer` for one more token, with its past as tensors."""

    def __init__(self, model: MusicTransformer) -> None:
        super().__init__()
        self.model = model
        self.located = next((n for n, block in enumerate(model.layers) if block.mixer.coordinates), None)
        self.reach = _reach(model)

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
        return self._step(ids_b1, position, k_zbhnd, v_zbhnd, coordinates_bn2, [None] * len(k_zbhnd))

    def _step(
        self,
        ids_b1: Tensor,
        position: Tensor,
        k_zbhnd: Tensor,
        v_zbhnd: Tensor,
        coordinates_bn2: Tensor | None,
        memories: Sequence[tuple[Tensor, Tensor, Tensor | None] | None],
    ) -> tuple[Tensor, ...]:
        pasts = [TracedCache(k, v, coordinates_bn2) for k, v in zip(k_zbhnd.unbind(), v_zbhnd.unbind(), strict=True)]
        blocks = [BlockState(past, memory) for past, memory in zip(pasts, memories, strict=True)]
        logits_b1v = self.model(ids_b1, past=DecodingState(blocks, cast(int, position.item())))
        out = (
            logits_b1v[:, -1],
            torch.stack([past.k_bhnd for past in pasts]),
            torch.stack([past.v_bhnd for past in pasts]),
        )
        return out if self.located is None else (*out, cast(Tensor, pasts[self.located].coordinates_bn2))

    def past(self, batch: int, length: int) -> dict[str, Tensor]:
        """A random past of `length` tokens: normal keys and values, coordinates 0."""
        config, device = self.model.config, self.model.embedding.weight.device
        size = config.depth, batch, config.heads, length, config.width // config.heads
        random = _seeded()
        named = {name: torch.randn(size, generator=random).to(device) for name in ("past_keys", "past_values")}
        if self.located is not None:
            named["past_coordinates"] = torch.zeros(batch, length, 2, dtype=torch.long, device=device)
        return named

    def seen(self, position: int) -> int:
        """How much of the past the token at `position` sees, without the token itself."""
        return self.reach(position) - 1

    @property
    def rule(self) -> str:
        """`seen` in words."""
        block = self.reach.block
        return (
            "all tokens so far" if block is None else f"the newest min(position, {block} + position % {block}) tokens"
        )


class AccompanyingStep(DecodingStep):
    """The same beside a melody that was read."""

    def forward(  # type: ignore[override]  # the exporter wants what it is given, in order
        self,
        ids_b1: Int[Tensor, "B 1"],
        position: Int[Tensor, ""],
        k_zbhnd: Float[Tensor, "Z B H N D"],
        v_zbhnd: Float[Tensor, "Z B H N D"],
        k_zbhsd: Float[Tensor, "Z B H S D"],
        v_zbhsd: Float[Tensor, "Z B H S D"],
        mask_bs: Bool[Tensor, "B S"],
    ) -> tuple[Tensor, ...]:
        """Logits (B, V), keys and values of N + 1 tokens."""
        memories = [(k, v, mask_bs) for k, v in zip(k_zbhsd.unbind(), v_zbhsd.unbind(), strict=True)]
        return self._step(ids_b1, position, k_zbhnd, v_zbhnd, None, memories)


class Melody(nn.Module):
    """What the encoder makes of a melody: the keys and values that every layer of the decoder looks at."""

    def __init__(self, model: MusicTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, source_bs: Int[Tensor, "B S"]) -> tuple[Tensor, Tensor, Tensor]:
        """Keys (Z, B, H, S, D), values, and which steps are no padding (B, S)."""
        memory_bsc, mask_bs = self.model.encode(source_bs)
        assert memory_bsc is not None and mask_bs is not None
        pairs = [block.cross.read(memory_bsc) for block in self.model.layers if block.cross is not None]
        keys, values = zip(*pairs, strict=True)
        return torch.stack(keys), torch.stack(values), mask_bs

    def some(self, batch: int) -> Int[Tensor, "B S"]:
        """Melodies, the last of which is short."""
        config = self.model.config
        source_bs = torch.randint(1, cast(int, config.source_vocabulary), (batch, MELODY), generator=_seeded())
        source_bs[-1, MELODY // 2 :] = PAD
        return source_bs.to(self.model.embedding.weight.device)


def export(generator: MusicGenerator, path: Path) -> dict[str, object]:
    """Write `path`; how far it is from PyTorch along consecutive tokens, and after a long past.

    Inputs: ids (B, 1), position (), past_keys and past_values (Z, B, H, N, D), and past_coordinates (B, N, 2) where a
    layer uses them; B and N are free, and N is 0 at first. Outputs: logits (B, V) and keys, values and coordinates of
    N + 1 tokens. The file's metadata names the app, the model, its style (JSON), the id that comes first, and which
    tokens the past holds. A model that accompanies has the inputs memory_keys, memory_values (Z, B, H, S, D) and
    memory_mask (B, S) as well; NAME-melody.onnx makes them of source (B, S), padded with 0.

    Raises UsageError for a model with layers that see different parts of the past, and for one that accompanies and has
    a layer that looks at coordinates.
    """
    model = generator.model
    step = AccompanyingStep(model) if generator.accompanies else DecodingStep(model)
    if generator.accompanies and step.located is not None:
        raise UsageError("a model that accompanies and looks at coordinates is not exported")
    ids_b1 = torch.full((2, 1), EDGE, device=model.embedding.weight.device)
    inputs = {"ids": ids_b1, "position": torch.tensor(5, device=ids_b1.device)} | step.past(2, 5)
    outputs = ["logits", *(name.removeprefix("past_") for name in inputs if name.startswith("past_"))]
    free = {"ids": {0: "batch"}, "past_keys": {1: "batch", 3: "past"}, "past_values": {1: "batch", 3: "past"}}
    if step.located is not None:
        free["past_coordinates"] = {0: "batch", 1: "past"}
    if generator.accompanies:
        inputs |= _read(model, 2)
        free |= {name: {1: "batch", 3: "steps"} for name in MEMORY[:2]} | {MEMORY[2]: {0: "batch", 1: "steps"}}
    metadata = {
        "app": "music",
        "model": generator.record.name,
        "style": generator.style.model_dump_json(),
        "first_id": str(EDGE),
        "past": step.rule,
    }

    def difference(session: onnxruntime.InferenceSession) -> float:
        return max(max(_along(step, session, batch), _after_much(step, session, batch)) for batch in BATCHES)

    largest = 0.0
    if generator.accompanies:  # first: with `path` all is there
        largest = _export_melody(Melody(model), path.with_stem(f"{path.stem}-melody"), metadata)
    largest = max(largest, write_onnx(step, inputs, outputs, path, difference, free=free, metadata=metadata))
    return {"largest_difference": largest, "steps": STEPS, "batches": list(BATCHES)}


def _export_melody(melody: Melody, path: Path, metadata: dict[str, str]) -> float:
    def difference(session: onnxruntime.InferenceSession) -> float:
        sources = [melody.some(batch) for batch in BATCHES]
        return max(_apart(_run(session, {"source": source_bs}), melody(source_bs)) for source_bs in sources)

    free = {"source": {0: "batch", 1: "steps"}}
    return write_onnx(melody, {"source": melody.some(2)}, MEMORY, path, difference, free=free, metadata=metadata)


def _read(model: MusicTransformer, batch: int) -> dict[str, Tensor]:
    """The inputs that a melody adds to a step; empty for a model without an encoder."""
    if model.config.source_vocabulary is None:
        return {}
    melody = Melody(model)
    return dict(zip(MEMORY, melody(melody.some(batch)), strict=True))


def _reach(model: MusicTransformer) -> Reach:
    """How far the tokens of all layers look back. Raises UsageError where more than keys and values is kept of them."""
    if model.guides or any(not isinstance(block.mixer.start(1, 1), KVCache | RingCache) for block in model.layers):
        raise UsageError(
            f"a model with the mixer {model.config.mixer!r} is not exported",
            hint="choose mixers that step with keys and values alone",
        )
    reaches = {block.mixer.reach for block in model.layers}
    if len(reaches) > 1:
        raise UsageError("a model whose layers see different parts of the past is not exported")
    return reaches.pop()


def _along(step: DecodingStep, session: onnxruntime.InferenceSession, batch: int) -> float:
    """The largest difference between the file, fed with its own past, and the model over random tokens."""
    model = step.model
    device = model.embedding.weight.device
    ids_bl = torch.randint(model.config.vocabulary, (batch, STEPS), generator=_seeded())
    source_bs = Melody(model).some(batch) if isinstance(step, AccompanyingStep) else None
    memory = _read(model, batch)
    state, past, largest = model.start(batch, STEPS, source_bs), step.past(batch, 0), 0.0
    for position in range(STEPS):
        ids_b1 = ids_bl[:, position : position + 1]
        past = {name: _newest(name, x, step.seen(position)) for name, x in past.items()}
        logits_bv, *rest = _run(session, {"ids": ids_b1, "position": torch.tensor(position)} | past | memory)
        past = dict(zip(past, rest, strict=True))
        ours_bv = model(ids_b1.to(device), past=state)[:, -1].cpu()
        largest = max(largest, float((logits_bv - ours_bv).abs().max()))
    return largest


def _after_much(step: DecodingStep, session: onnxruntime.InferenceSession, batch: int) -> float:
    """The largest difference for one token after more than any table knows; tokens up to there would take long."""
    config, device = step.model.config, step.model.embedding.weight.device
    position = config.length if step.reach.block is None else 2 * step.reach.block - 1
    ids_b1 = torch.full((batch, 1), config.vocabulary - 1, device=device)
    inputs = {"ids": ids_b1, "position": torch.tensor(position, device=device)}
    inputs |= step.past(batch, step.seen(position)) | _read(step.model, batch)
    theirs, ours = _run(session, inputs), step(*inputs.values())
    return _apart(theirs, ours)


def _apart(theirs: Sequence[Tensor], ours: Sequence[Tensor]) -> float:
    return max(float((a.float() - b.cpu().float()).abs().max()) for a, b in zip(theirs, ours, strict=True))


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _newest(name: str, x: Tensor, count: int) -> Tensor:
    tokens = 1 if name == "past_coordinates" else 3
    return x.narrow(tokens, x.shape[tokens] - count, count)


def _run(session: onnxruntime.InferenceSession, inputs: dict[str, Tensor]) -> list[Tensor]:
    arrays = {name: x.cpu().contiguous().numpy() for name, x in inputs.items()}
    return [torch.from_numpy(array) for array in session.run(None, arrays)]
