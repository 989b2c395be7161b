"""What the maps of heads look like: a small autoencoder, clusters of its codes, and a name for each.

"How Does Attention Work in Vision Transformers?" (Li et al. 2023, arXiv:2303.13731), the third view. A map of any
number of tokens is brought to CELLS x CELLS, beside its shares at the offsets up to NEAREST, which the small map cannot
show. Square roots are taken, so that distances are Hellinger's. The number of clusters is that of the best silhouette;
maps that fall into no clusters are one pattern.

Shapes: M maps, N tokens, F features.
"""

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core.attention.watch import record
from attn.look.heads import received, squared, uniform
from attn.look.layout import Layout
from attn.look.probe import Batch, Probe
from attn.look.sites import Site

CELLS, NEAREST = 16, 8
HIDDEN, CODE, STEPS = 64, 8, 300
MOST_CLUSTERS = 8
APART = 0.5  # the least silhouette: below, a structure may be artificial (Kaufman and Rousseeuw 1990, page 88)
ALIKE = 0.05  # Hellinger's distance of rows to the mean of all, below which maps are not told apart
MOST_MAPS = 960

# The least values by which a pattern gets its name, tried in this order.
MOSTLY, EVENLY, TIMES_EVEN = 0.5, 0.95, 1.5


def patterns(probe: Probe, batches: Sequence[Batch], sites: Sequence[Site], seed: int = 0) -> dict[str, Any]:
    """The patterns of all maps, the most usual first, and what the pattern of each head is called."""
    owners: list[str] = []
    features: list[Tensor] = []
    traits: list[dict[str, float]] = []
    for batch in batches:
        with record(probe.network, tuple(site.name for site in sites)) as seen:
            probe.answer(batch)
        for layer, site in enumerate(sites):
            square = squared(seen[site.name], batch, site.name)
            if square is None or len(features) >= MOST_MAPS:
                continue
            a_bhnn, layout = square
            causal = bool((uniform(a_bhnn).triu(1) == 0).all())
            for head in range(site.heads):
                for a_nn in a_bhnn[:, head]:
                    owners.append(f"{layer}.{head}")
                    features.append(features_of(a_nn))
                    traits.append(traits_of(a_nn, layout, causal=causal))
    if not features:
        return {"clusters": [], "heads": {}}
    maps_mf = torch.stack(features).float()
    apart = float((maps_mf - maps_mf.mean(0)).norm(dim=1).max()) / CELLS**0.5  # of a row, Hellinger's distance
    cluster_m = np.zeros(len(maps_mf), dtype=int) if apart < ALIKE else clusters(codes(maps_mf, seed), seed)
    rows = []
    for number, _ in Counter(cluster_m.tolist()).most_common():
        members = [m for m in range(len(owners)) if cluster_m[m] == number]
        mean = _mean([traits[m] for m in members])
        small = maps_mf[members][:, : CELLS * CELLS].square().mean(0).reshape(CELLS, CELLS)
        heads = Counter(owners[m] for m in members)
        rows.append({"name": name_of(mean), "maps": len(members), "heads": [*heads], **mean, "map": small.tolist()})
    named = {owner: name_of(_mean([traits[m] for m, each in enumerate(owners) if each == owner])) for owner in owners}
    return {"clusters": rows, "heads": named}


def _mean(traits: Sequence[dict[str, float]]) -> dict[str, float]:
    """The means of traits; those of maps on a grid, where some are not, are left out."""
    shared = [name for name in traits[0] if all(name in each for each in traits)]
    return {name: float(np.mean([each[name] for each in traits])) for name in shared}


def features_of(a_nn: Float[Tensor, "N N"]) -> Float[Tensor, " F"]:
    """A map of any size as features of one size: a small map whose rows sum to 1, and shares at the nearest offsets."""
    n = len(a_nn)
    if n >= CELLS:
        small = F.adaptive_avg_pool2d(a_nn[None, None], CELLS)[0, 0] * (n / CELLS)
    else:
        small = F.interpolate(a_nn[None, None], (CELLS, CELLS))[0, 0] * (n / CELLS)
    offsets = [offset_share(a_nn, k) for k in range(-NEAREST, NEAREST + 1)]
    near = torch.tensor(offsets, dtype=a_nn.dtype, device=a_nn.device)
    return torch.cat([small.flatten(), CELLS * near]).clamp(min=0).sqrt().cpu()


def offset_share(a_nn: Float[Tensor, "N N"], k: int) -> float:
    """The mean weight on the token k places on, over the queries that have one; 0 where fewer than half have one."""
    n = len(a_nn)
    asks_n = (a_nn.sum(-1) > 0.5)[max(0, -k) : n - max(0, k)]
    return float(a_nn.diagonal(k).sum() / asks_n.sum().clamp(min=1)) if 2 * abs(k) <= n else 0.0


def codes(maps_mf: Float[Tensor, "M F"], seed: int = 0) -> Float[np.ndarray, "M _"]:
    """What an autoencoder keeps of the maps, after STEPS of Adam on all of them."""
    device = maps_mf.device
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(seed)
        width = maps_mf.shape[1]
        encoder = nn.Sequential(nn.Linear(width, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, CODE)).to(device)
        decoder = nn.Sequential(nn.Linear(CODE, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, width)).to(device)
        x_mf = maps_mf.clone() - maps_mf.mean(0)
        optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=3e-3)
        for _ in range(STEPS):
            loss = F.mse_loss(decoder(encoder(x_mf)), x_mf)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        found: np.ndarray = encoder(x_mf).detach().cpu().numpy()
    return found


def clusters(codes_mc: Float[np.ndarray, "M _"], seed: int = 0) -> Int[np.ndarray, " M"]:
    """The cluster of each code, by k-means; one cluster where none stand APART."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import silhouette_score

    spread = float(codes_mc.std()) or 1.0
    distinct = len(np.unique((codes_mc / spread).round(2), axis=0))  # copies are no further clusters
    best, best_score = np.zeros(len(codes_mc), dtype=int), APART
    for k in range(2, min(MOST_CLUSTERS, distinct, len(codes_mc) - 1) + 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of codes that are almost copies
            labels = KMeans(k, n_init=5, random_state=seed).fit_predict(codes_mc)
        if len(set(labels.tolist())) < k:
            break
        score = silhouette_score(codes_mc, labels)
        if score > best_score:
            best, best_score = labels, score
    return best


def traits_of(a_nn: Float[Tensor, "N N"], layout: Layout, *, causal: bool) -> dict[str, float]:
    """The shares by which a pattern gets its name."""
    n = len(a_nn)
    even_nn = uniform(a_nn[None, None].tril() if causal else a_nn[None, None])
    offsets = {k: offset_share(a_nn, k) for k in range(-NEAREST, NEAREST + 1) if k}
    best = max(offsets, key=lambda k: offsets[k])
    asks_n = a_nn.sum(-1) > 0.5

    def mean(values_n: Tensor) -> float:
        return float((values_n * asks_n).sum() / asks_n.sum().clamp(min=1))

    spread, even = (mean(-(w * w.clamp(min=1e-12).log()).sum(-1)) for w in (a_nn, even_nn))
    found = {
        "itself": mean(a_nn.diagonal()),
        "offset": offsets[best],
        "place": float(best),
        "one_token": float(received(a_nn[None, None]).max()),
        "entropy": spread / even if n > 1 and even > 0 else 1.0,
    }
    scale = layout.scales[0]
    near_nn = torch.from_numpy((scale.number_nn >= 0) & (scale.number_nn < scale.near)).to(a_nn)
    found |= {"near": mean((a_nn * near_nn).sum(-1)), "near_even": mean((even_nn * near_nn).sum(-1))}
    if layout.grid is not None:
        lines, columns = layout.grid
        place = torch.arange(lines * columns, device=a_nn.device)
        inner = a_nn[layout.before :, layout.before :]
        for name, of_n, share in (("line", place // columns, 1 / lines), ("column", place % columns, 1 / columns)):
            asks = asks_n[layout.before :].sum().clamp(min=1)
            found[name] = float((inner * (of_n[:, None] == of_n)).sum() / asks)
            found[f"{name}_even"] = share
    return found


def name_of(mean: dict[str, float]) -> str:
    """What a pattern is called, by the means of its traits."""
    if mean["entropy"] >= EVENLY:
        return "evenly over all"
    if mean["itself"] >= MOSTLY:
        return "itself"
    if mean["one_token"] >= MOSTLY:
        return "one token for all"
    if mean["offset"] >= MOSTLY:
        place = round(mean["place"])
        return f"{abs(place)} token{'s' * (abs(place) > 1)} {'on' if place > 0 else 'back'}"
    for name, called in (("line", "its line"), ("column", "its column"), ("near", "near")):
        if mean.get(name, 0.0) >= max(MOSTLY, TIMES_EVEN * mean.get(f"{name}_even", math.inf)):
            return called
    return "mixed"
