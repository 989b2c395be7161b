"""Routing attention: tokens attend within clusters of queries and keys (Routing Transformer, Roy et al. 2021).

    each of the K centroids μ_c of a head takes the w = ceil(L / K) queries, and the w keys, nearest to it by angle
    out_i = mean, over the clusters that took query i, of softmax(q_i kᵀ / sqrt(D)) v over the keys of the cluster

(arXiv:2003.05997, section 4.1; queries and keys are not shared.) Every cluster has the same number of tokens, so that a
pass costs L K + L² / K products: L^1.5 at K = sqrt(L), the default. A query that no cluster took gets 0. With K = 1 it
is full attention. In training the centroids move towards the mean direction of the queries and keys nearest to them:
μ <- 0.999 μ + 0.001 mean, which no gradient does. The paper's commitment loss (weight 1e-4) is left out, because a
mixer has no part in the loss.

Causal: a query sees the keys of its clusters up to itself. *Which* tokens a cluster takes is chosen among all tokens of
a pass, so that it may depend on tokens that follow, as in the paper: values do not leak, membership does. Decoding
cannot know what follows. There each query and each key belongs to the one centroid nearest to it, and a query sees all
keys of its cluster so far. Steps are therefore close to a pass and not equal to it; tests measure how close.

Shapes: B batch, L tokens, n tokens so far, C0 channels in, C channels, heads, D = C / heads, K clusters of w tokens.
"""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from attn.core.attention.attend import attend
from attn.core.attention.watch import Geometry
from attn.core.decoding.cache import KVCache, Past
from attn.core.mixers.base import MixerConfig, Size
from attn.core.mixers.projections import ProjectedMixer
from attn.core.mixers.registry import register

DECAY = 0.999  # of the centroids, in every training step


class ClusterCache:
    """Keys and values with the cluster of each key."""

    endless = False

    def __init__(self, batch: int, heads: int, capacity: int, dim: int, **kind: Any) -> None:
        self._kept = KVCache(batch, heads, capacity, dim, **kind)
        self._clusters_bhn = torch.empty(batch, heads, capacity, device=kind.get("device"), dtype=torch.long)

    @property
    def length(self) -> int:
        """Tokens so far."""
        return self._kept.length

    def append(self, k_bhld: Float[Tensor, "B H L D"], v_bhld: Float[Tensor, "B H L D"]) -> Past:
        """Take in L tokens; returns all so far. Raises AttnError if there is no room for them."""
        return self._kept.append(k_bhld, v_bhld)

    def assign(self, clusters_bhl: Int[Tensor, "B H L"]) -> Int[Tensor, "B H n"]:
        """Note the clusters of the L keys that were appended last; returns those of all keys so far."""
        self._clusters_bhn[:, :, self.length - clusters_bhl.shape[2] : self.length] = clusters_bhl
        return self._clusters_bhn[:, :, : self.length]


@register(
    "routing",
    dims=(1,),
    causal="optional",
    weights=True,
    steps="close",
    cost="L^1.5",
    paper="arXiv:2003.05997",
    buffers=("centroids",),
)
class RoutingMixer(ProjectedMixer):
    """Self-attention within clusters; with `causal`, a token sees what came before it in its clusters."""

    class Config(MixerConfig):
        """What the mechanism needs.

        size: (L,) it is made for; clusters: K, sqrt(L) if None. Of fewer tokens than K each cluster takes one.
        """

        size: tuple[int]
        clusters: Size | None = None
        causal: bool = False

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.causal = config.causal
        clusters = config.clusters or max(round(math.sqrt(config.size[0])), 1)
        self.register_buffer("centroids", F.normalize(torch.randn(config.heads, clusters, self.head_dim), dim=-1))
        self.centroids: Tensor

    def start(
        self, batch: int, length: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> ClusterCache:
        """An empty cache for `length` tokens."""
        if not self.causal:
            raise self.no_steps()
        return ClusterCache(batch, self.heads, length, self.head_dim, device=device, dtype=dtype)

    def forward(self, x_blc: Float[Tensor, "B L C0"], past: ClusterCache | None = None) -> Float[Tensor, "B L C"]:
        """Mix all tokens, or with `past` the next L. Raises AttnError when the cache is full."""
        q_bhld, k_bhld, v_bhld = self.project(x_blc, past)
        near_q_bhlk, near_k_bhlk = self._nearness(q_bhld), self._nearness(k_bhld)
        if past is not None:
            return self.merge(self._step(q_bhld, k_bhld, v_bhld, near_q_bhlk, near_k_bhlk, past))
        clusters, length = near_q_bhlk.shape[-1], x_blc.shape[1]
        most = -(-length // max(clusters, 1))
        queries_bhkw, keys_bhkw = _nearest(near_q_bhlk, most), _nearest(near_k_bhlk, most)
        y_bhkwd = attend(
            _take(q_bhld, queries_bhkw),
            _take(k_bhld, keys_bhkw),
            _take(v_bhld, keys_bhkw),
            mask=keys_bhkw[..., None, :] <= queries_bhkw[..., None] if self.causal else None,
            site=self,
            geometry=Geometry(queries_bhkw, keys_bhkw),
        )
        if self.training:
            self._move(torch.cat([q_bhld, k_bhld], 2), torch.cat([near_q_bhlk, near_k_bhlk], 2))
        return self.merge(_mean_by_token(y_bhkwd, queries_bhkw, length))

    def _nearness(self, x_bhld: Tensor) -> Tensor:
        """Cosines to the centroids (B, H, L, K), in float32 or better: which is larger decides everything."""
        exact = torch.promote_types(x_bhld.dtype, torch.float32)
        with torch.autocast(x_bhld.device.type, enabled=False):
            return F.normalize(x_bhld.detach().to(exact), dim=-1) @ self.centroids.to(exact).mT

    def _step(self, q: Tensor, k: Tensor, v: Tensor, near_q: Tensor, near_k: Tensor, past: ClusterCache) -> Tensor:
        k_bhnd, v_bhnd, _ = self.extend(past, k, v)
        clusters_bhn, own_bhl = past.assign(near_k.argmax(-1)), near_q.argmax(-1)
        mask_bhln = own_bhl[..., None] == clusters_bhn[..., None, :]
        return attend(q, k_bhnd, v_bhnd, mask=mask_bhln, causal=True, site=self)

    @torch.no_grad()
    def _move(self, x_bhld: Tensor, near_bhlk: Tensor) -> None:
        """Centroids nearest to no token stay."""
        nearest_bhlk = F.one_hot(near_bhlk.argmax(-1), near_bhlk.shape[-1]).to(near_bhlk.dtype)
        sums_hkd = torch.einsum("bhlk,bhld->hkd", nearest_bhlk, F.normalize(x_bhld.to(near_bhlk.dtype), dim=-1))
        moved_hkd = DECAY * self.centroids + (1 - DECAY) * F.normalize(sums_hkd, dim=-1)
        chosen_hk1 = nearest_bhlk.sum((0, 2))[..., None] > 0
        self.centroids.copy_(F.normalize(moved_hkd, dim=-1).where(chosen_hk1, self.centroids))


def _nearest(near_bhlk: Tensor, most: int) -> Tensor:
    """The tokens that each cluster takes, in their order, (B, H, K, w)."""
    return near_bhlk.mT.topk(most, -1).indices.sort(-1).values


def _take(x_bhld: Tensor, tokens_bhkw: Tensor) -> Tensor:
    """(B, H, K, w, D)."""
    flat_bhm1 = tokens_bhkw.flatten(2)[..., None].expand(-1, -1, -1, x_bhld.shape[-1])
    return x_bhld.gather(2, flat_bhm1).view(*tokens_bhkw.shape, -1)


def _mean_by_token(y_bhkwd: Tensor, tokens_bhkw: Tensor, length: int) -> Tensor:
    """What the clusters say of each token, (B, H, L, D); 0 for a token that no cluster took."""
    b, h, _, _, d = y_bhkwd.shape
    tokens_bhm = tokens_bhkw.flatten(2)
    often_bhl = y_bhkwd.new_zeros(b, h, length).scatter_add(2, tokens_bhm, torch.ones_like(y_bhkwd[..., 0]).flatten(2))
    index_bhmd = tokens_bhm[..., None].expand(-1, -1, -1, d)
    sums_bhld = y_bhkwd.new_zeros(b, h, length, d).scatter_add(2, index_bhmd, y_bhkwd.flatten(2, 3))
    return sums_bhld / often_bhl.clamp(min=1)[..., None]
