"""Relative attention over convolved queries, keys and values (RCMHA, Sugiharto et al. 2023, equations 1 to 7).

    q, k, v = convolved over the 3 newest tokens, channel by channel, the taps shared by the heads
    out = softmax(((q_i + u) · k_j + q_i · p[i - j] + b[i - j]) / sqrt(D)) v,    over j <= i

It is the attention of Transformer-XL (Dai et al. 2019, section 3.3) with learned vectors p and numbers b for each
distance, and the convolution of Primer. At first the convolution passes tokens on (taps 0, 0, 1), and u, p and b are 0.
Beyond the table there is no term for the distance.

The score is one product: (q, 1) with (k, u·k) and with (p, b). A step keeps the two newest tokens before the
convolution, so that steps equal a pass; in the authors' code a segment's queries begin anew.

Shapes: B batch, L tokens, n tokens so far, C0 channels in, C channels, heads, D = C / heads, M rows of the table, the
last for distance 0.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.attention.attend import attend, split_heads
from attn.core.attention.relative import Relative
from attn.core.decoding.cache import KVCache
from attn.core.decoding.tails import Tails
from attn.core.mixers.base import MixerConfig, Size
from attn.core.mixers.projections import ProjectedMixer
from attn.core.mixers.registry import register

TAPS = 3


@dataclass(frozen=True, slots=True)
class ConvolvedCache:
    """Keys, each with u·k as one channel more, and values; and the newest tokens before the convolution."""

    kept: KVCache
    tails: Tails = field(default_factory=Tails)
    endless: ClassVar[bool] = False

    @property
    def length(self) -> int:
        """Tokens so far."""
        return self.kept.length


@register(
    "relative_convolutional",
    dims=(1,),
    causal="always",
    weights=True,
    steps="equal",
    cost="L^2",
    paper="arXiv:2308.03429",
)
class RelativeConvolutionalMixer(ProjectedMixer):
    """Causal self-attention with learned distances over convolved projections."""

    causal = True

    class Config(MixerConfig):
        """size: (L,) it is made for; max_distance: M, all of L if None."""

        size: tuple[int]
        max_distance: Size | None = None

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        rows = config.max_distance or max(config.size[0], 1)
        self.taps = nn.Parameter(torch.empty(3, self.head_dim, TAPS))  # of q, k and v
        self.content = nn.Parameter(torch.empty(config.heads, self.head_dim))  # u
        self.table = nn.Parameter(torch.empty(config.heads, rows, self.head_dim + 1))  # p, and b as the last channel
        RelativeConvolutionalMixer.initialise(self)

    @torch.no_grad()
    def initialise(self) -> None:
        """As plain attention."""
        for parameter in (self.taps, self.content, self.table):
            nn.init.zeros_(parameter)
        self.taps[..., -1] = 1

    def start(
        self, batch: int, length: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> ConvolvedCache:
        """An empty cache for `length` tokens."""
        return ConvolvedCache(KVCache(batch, self.heads, length, self.head_dim + 1, device=device, dtype=dtype))

    def forward(self, x_blc: Float[Tensor, "B L C0"], past: ConvolvedCache | None = None) -> Float[Tensor, "B L C"]:
        """Mix all tokens, or with `past` the next L. Raises AttnError when the cache is full."""
        q_bhld, k_bhld, v_bhld = self.project(x_blc, past)
        q_bhle = F.pad(q_bhld, (0, 1), value=1.0)
        k_bhle = torch.cat([k_bhld, k_bhld @ self.content[..., None].to(k_bhld.dtype)], -1)
        if past is not None:
            k_bhle, v_bhne, _ = past.kept.append(k_bhle, F.pad(v_bhld, (0, 1)))
            v_bhld = v_bhne[..., :-1]
        relative = Relative(self.table)
        return self.merge(
            attend(q_bhle, k_bhle, v_bhld, relative=relative, causal=True, scale=self.head_dim**-0.5, site=self)
        )

    def project(self, x_blc: Tensor, past: Any = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of each head, convolved; `past` is a ConvolvedCache."""
        tails = Tails() if past is None else past.tails
        qkv_bcn = tails.before("qkv", self.qkv(x_blc).mT, TAPS - 1)
        taps_c1t = self.taps[:, None].expand(-1, self.heads, -1, -1).flatten(0, 2)[:, None]
        qkv_blc = F.conv1d(qkv_bcn, taps_c1t.to(qkv_bcn.dtype), groups=taps_c1t.shape[0]).mT
        q_bhld, k_bhld, v_bhld = (split_heads(part, self.heads) for part in qkv_blc.chunk(3, -1))
        return q_bhld, k_bhld, v_bhld
