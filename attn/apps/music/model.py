"""Music Transformer (Huang et al. 2018, arXiv:1809.04281): a decoder over note tokens, and an encoder to accompany.

A token sees the past through relative attention. Grid music (chorales) writes its voices one after another in each
step, and a `relative_places` layer sees their time and pitch as well (the paper's JSB extension).

Shapes: B batch, L target tokens, S source tokens, C channels, V vocabulary.
"""

from dataclasses import dataclass
from typing import Annotated, Any, cast

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from attn.apps.music.older import old_settings
from attn.core import mixers
from attn.core.blocks.sequence import BlockState, SequenceBlock
from attn.core.errors import UsageError
from attn.core.settings import checked

PAD = 0  # in every vocabulary

Vocabulary = Annotated[int, Field(ge=2, le=65_536)]


class MusicConfig(BaseModel):
    """Everything that fixes the architecture; stored in the model's record.

    length: tokens of a training crop, which sizes the relative tables; other lengths run. mixer: the mechanism of the
    decoder's layers, as `attn.core.mixers.choice` reads it. voices: tokens of one grid step; 1 for event music. cycles:
    periods in tokens (voice, beat, bar) whose phase is embedded. sinusoids: of the grid step, or of the token for event
    music. source_vocabulary: of an encoder's input, one token a grid step; None for a decoder alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: Vocabulary
    width: int = Field(default=256, ge=1, le=16_384)
    depth: int = Field(default=4, ge=1, le=256)
    heads: int = Field(default=4, ge=1, le=1024)
    hidden: int = Field(default=1024, ge=1, le=65_536)
    mixer: str = Field(default="relative", max_length=4096)
    length: int = Field(default=2048, ge=2, le=2**20)
    voices: int = Field(default=1, ge=1, le=64)
    cycles: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = Field(default=(), max_length=16)
    sinusoids: bool = True
    source_vocabulary: Vocabulary | None = None
    dropout: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _of_older_records(cls, settings: Any) -> Any:
        return old_settings(settings) if isinstance(settings, dict) else settings


def configure(**settings: Any) -> MusicConfig:
    """A checked configuration. Raises UsageError for an impossible value."""
    return checked(MusicConfig, **settings)


@dataclass
class DecodingState:
    """What decoding step by step keeps: the state of every block and the number of tokens so far.

    places: (L, C), the encodings of the first L places, so that a step need not compute them again.
    """

    blocks: list[BlockState]
    tokens: int = 0
    places: Tensor | None = None


class MusicTransformer(nn.Module):
    """Token ids (B, L) to logits (B, L, V) of the token that follows each."""

    def __init__(self, config: MusicConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.embedding = nn.Embedding(config.vocabulary, width)
        self.phases = nn.ModuleList(nn.Embedding(period, width) for period in config.cycles)
        self.dropout = nn.Dropout(config.dropout)
        self.source_embedding: nn.Embedding | None = None
        self.encoder = nn.ModuleList()
        if config.source_vocabulary is not None:
            self.source_embedding = nn.Embedding(config.source_vocabulary, width)
            encoder = mixers.Choice("softmax")
            self.encoder.extend(self._block(encoder, causal=False) for _ in range(config.depth))
            self.source_norm = nn.LayerNorm(width)
        choices = mixers.per_layer(config.mixer, config.depth)
        cross = config.heads if self.encoder else None
        self.blocks = nn.ModuleList(self._block(choice, causal=True, cross_heads=cross) for choice in choices)
        self.norm = nn.LayerNorm(width)
        # Sequences that run through the layers as further rows of the batch, for mixers that read them.
        self.guides = sorted({block.mixer.guide for block in self.layers if block.mixer.guide} - {"start"})
        if self.guides and self.encoder:
            raise UsageError(f"the mixer {config.mixer!r} reads a fixed sequence, for which there is no melody")
        self._initialise()

    def _block(self, mixer: mixers.Choice, *, causal: bool, cross_heads: int | None = None) -> SequenceBlock:
        config = self.config
        made = mixers.create(
            mixer, dims=1, causal=causal, channels=config.width, heads=config.heads, size=(config.length,)
        )
        return SequenceBlock(made, config.width, config.hidden, config.dropout, cross_heads)

    def _initialise(self) -> None:
        """Normal weights; what writes to the residual stream is scaled down with the depth (GPT-2, section 2.3)."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                written = name.endswith(("out.weight", "mlp.2.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * self.config.depth) ** 0.5 if written else 0.02)
        for block in self.layers:
            block.mixer.initialise()

    @property
    def layers(self) -> list[SequenceBlock]:
        """The decoder's blocks."""
        return cast(list[SequenceBlock], list(self.blocks))

    def forward(
        self,
        ids_bl: Int[Tensor, "B L"],
        source_bs: Int[Tensor, "B S"] | None = None,
        *,
        past: DecodingState | None = None,
    ) -> Float[Tensor, "B L V"]:
        """Logits (B, L, V) of all tokens, or with `past` of the next L.

        `source_bs` is the encoder's input, padded with 0. A step does not need it: its state was made from it.
        """
        first = 0 if past is None else past.tokens
        memory, mask = self.encode(source_bs) if past is None else (None, None)
        x_blc = self.dropout(self._embed(ids_bl, first, None if past is None else past.places))
        coordinates = self._coordinates(ids_bl, first)
        batch = x_blc.shape[0]
        if self.guides:
            x_blc = torch.cat([x_blc, *(self._guide(kind, first, ids_bl.shape[1]) for kind in self.guides)])
            coordinates = None if coordinates is None else F.pad(coordinates, (0, 0, 0, 0, 0, len(self.guides)))
        guides = {"start": x_blc}
        states = [None] * len(self.blocks) if past is None else past.blocks
        for block, state in zip(self.layers, states, strict=True):
            guides |= {kind: x_blc[batch + row : batch + row + 1] for row, kind in enumerate(self.guides)}
            x_blc = block(
                x_blc,
                state,
                memory_bmc=memory,
                memory_mask=mask,
                coordinates=coordinates,
                guide_glc=guides.get(block.mixer.guide or ""),
            )
        if past is not None:
            past.tokens += ids_bl.shape[1]
        x_blc = x_blc[:batch] if self.guides else x_blc
        return F.linear(self.norm(x_blc), self.embedding.weight)

    def start(self, batch: int, length: int, source_bs: Int[Tensor, "B S"] | None = None) -> DecodingState:
        """The state before the first token, with room for `length` tokens."""
        memory, mask = self.encode(source_bs)
        weight = self.embedding.weight
        blocks = [
            block.start(batch + len(self.guides), length, memory, mask, device=weight.device, dtype=weight.dtype)
            for block in self.layers
        ]
        return DecodingState(blocks, places=self._places(0, length, weight.device))

    def _embed(self, ids_bl: Tensor, first: int, places_lc: Tensor | None = None) -> Tensor:
        """Tokens at the places from `first` on; `places_lc` are those from 0 on, if they are there."""
        end = first + ids_bl.shape[1]
        x_blc: Tensor = self.embedding(ids_bl) * self.config.width**0.5
        if places_lc is not None and end <= len(places_lc):
            return x_blc + places_lc[first:end]
        places_lc = self._places(first, end, ids_bl.device)
        return x_blc if places_lc is None else x_blc + places_lc

    def _guide(self, kind: str, first: int, tokens: int) -> Float[Tensor, "1 L C"]:
        """What runs beside the tokens from `first` on: noise, or a text of ids at random; the same in every pass."""
        config, weight = self.config, self.embedding.weight
        drawn, place_l = torch.Generator().manual_seed(0), torch.arange(first, first + tokens) % config.length
        if kind == "text":
            ids_l = torch.randint(config.vocabulary, (config.length,), generator=drawn)[place_l]
            return self._embed(ids_l[None].to(weight.device), first)
        return torch.randn(config.length, config.width, generator=drawn)[None, place_l].to(weight)

    def _places(self, first: int, end: int, device: torch.device) -> Float[Tensor, "L C"] | None:
        """What is added to the tokens `first` to `end`: phases of cycles and sinusoids; None for nothing."""
        config = self.config
        index_l = torch.arange(first, end, device=device)
        parts_lc: list[Tensor] = [
            phase(index_l % period) * config.width**0.5
            for phase, period in zip(self.phases, config.cycles, strict=True)
        ]
        if config.sinusoids:
            parts_lc.append(sinusoids(index_l // config.voices, config.width).to(self.embedding.weight.dtype))
        return sum(parts_lc[1:], parts_lc[0]) if parts_lc else None

    def _coordinates(self, ids_bl: Tensor, first: int) -> Tensor | None:
        """Grid step and id (pitches are consecutive ids) of every token: (B, L, 2). Token 0 starts the piece."""
        if not any(block.mixer.coordinates for block in self.layers):
            return None
        index_l = torch.arange(first, first + ids_bl.shape[1], device=ids_bl.device)
        time_bl = ((index_l - 1) // self.config.voices).expand_as(ids_bl)
        return torch.stack([time_bl, ids_bl], dim=-1)

    def encode(self, source_bs: Int[Tensor, "B S"] | None) -> tuple[Tensor | None, Tensor | None]:
        """What the encoder makes of its input (B, S, C), and which steps are no padding; None without an encoder."""
        if self.source_embedding is None:
            return None, None
        if source_bs is None:
            raise UsageError("this model accompanies a melody", hint="give it one")
        x_bsc = self.source_embedding(source_bs) * self.config.width**0.5
        steps_s = torch.arange(source_bs.shape[1], device=source_bs.device)
        x_bsc = self.dropout(x_bsc + sinusoids(steps_s, self.config.width).to(x_bsc.dtype))
        mask_bs = source_bs != PAD
        for block in self.encoder:
            x_bsc = block(x_bsc, mask_bl=mask_bs)
        return self.source_norm(x_bsc), mask_bs


def sinusoids(positions_l: Int[Tensor, " L"], width: int) -> Float[Tensor, "L C"]:
    """Sine and cosine of geometrically spaced wavelengths up to 10,000 (Vaswani et al. 2017, section 3.5)."""
    powers = torch.arange(0, width, 2, device=positions_l.device) / width
    angles = positions_l[:, None] * 10_000.0**-powers
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :width]
