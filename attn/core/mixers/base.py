"""What every mixer is: a module that mixes tokens, made from a checked `Config`, that says what it can do.

    y_blc = mixer(x_blc)                                # a pass over all tokens
    cache = mixer.start(batch, length)                  # causal mixers also decode token by token:
    y_blc = mixer(x_blc, cache)                         # the next tokens, a prompt or a single one

The steps together equal one pass over all tokens. Hooks and `attn.core.attention.watch` see both alike.

Shapes: 1-D (B, L, C0) -> (B, L, C); 2-D (B, H, W, C0) -> (B, H, W, C); C0 is C unless the Config's `channels_in` says
otherwise. Every mixer also takes other sizes than the one it was made for.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from attn.core.attention.relative import Relative
from attn.core.decoding.cache import Reach
from attn.core.errors import UsageError

Size = Annotated[int, Field(ge=1, le=65_536)]
Guide = Literal["noise", "text", "start"]


class MixerConfig(BaseModel):
    """What all mixers have; a mechanism's own `Config` adds its options, with bounds.

    channels: C; heads: must divide C; channels_in: C0, which is C if None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    channels: Size
    heads: Size
    channels_in: Size | None = None


@dataclass(frozen=True, slots=True)
class OneToken:
    """How `attn.core.blocks.one_token` may shorten a step: out(attention(qkv(x))) over all that the cache gives back.

    qkv: its output is q, k, v, each head by head; relative: what is added to the products of query and keys.
    """

    qkv: nn.Module
    out: nn.Module
    heads: int
    relative: Relative | None = None


class Mixer(nn.Module):
    """Base of all mixers.

    causal: a token does not see the tokens that follow; such a mixer decodes step by step where it has a `start`.
    coordinates: on how many axes tokens lie beside their order; `forward` then takes `coordinates` (B, L, axes).
    guide: what `forward` takes as `guide` (1 or B, L, C0), to read it instead of the tokens: a fixed sequence of noise
    or of tokens that runs through the layers beside them, or the tokens as they were before the first layer.
    reach: how far a token of a causal mixer looks back. endless: it decodes any number of tokens in constant memory.
    """

    Config: ClassVar[type[MixerConfig]] = MixerConfig
    config: Any
    causal: bool = False
    coordinates: int = 0
    guide: Guide | None = None
    reach: Reach = Reach()
    endless: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "one_token" not in vars(cls):  # a short cut of another class may leave out what this one changes
            cls.one_token = Mixer.one_token  # type: ignore[method-assign]

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    def __call__(self, x: torch.Tensor, *given: Any, **named: Any) -> Any:
        """See `forward`. Where there are no tokens, or no examples, there are none after it."""
        if 0 in x.shape:
            return x.new_empty(*x.shape[:-1], self.config.channels)
        return super().__call__(x, *given, **named)

    @classmethod
    def make(cls, config: Any) -> "Mixer":
        """The mixer of a checked configuration; a mechanism that wraps another is of a class that this makes."""
        return cls(config)

    def initialise(self) -> None:
        """Set what the mechanism begins with beside random layers.

        A model that draws all its layers anew calls this afterwards.
        """

    @property
    def one_token(self) -> OneToken | None:
        """The short cut of this very class; a subclass that wants one declares it again."""
        return None

    def start(
        self, batch: int, length: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Any:
        """An empty cache for decoding up to `length` tokens, or any number where the mixer is `endless`.

        Raises UsageError where the mechanism cannot decode step by step.
        """
        raise self.no_steps()

    def no_steps(self) -> UsageError:
        """The error of a mixer that is asked for a decoding step and cannot take one."""
        return UsageError(f"the mixer {type(self).__name__} cannot decode step by step", hint="see `attn mixers`")
