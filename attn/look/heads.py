"""What each head does: how spread its attention is, where it goes, and how far.

    entropy     -sum a ln a of a query's weights, in nats; ln of the keys is the most
    norm        length of the head's output, before heads are merged
    diversity   Jensen-Shannon divergence to the other heads of its layer, as a share of the most, ln 2
    sink        the largest share of the attention that one token gets from all queries that may see it
    near        share of the attention that stays near, and `near_uniform` that of uniform attention
    distance    share of the attention at each distance, beside that of uniform attention

"How Does Attention Work in Vision Transformers?" (Li et al. 2023, arXiv:2303.13731) has the second view: attention by
the distance of patches. Means over queries, then over examples.

Shapes: B examples, H heads, N tokens, D distances.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from attn.core.attention.watch import AttentionRecord, record
from attn.look.layout import Layout, Scale
from attn.look.probe import Batch, Probe
from attn.look.sites import Site

TINY = 1e-12
MOST_DENSE = 2048  # tokens of which the weights of a layer are laid out as a square


def statistics(
    probe: Probe, batches: Sequence[Batch], sites: list[Site], advance: Callable[[], None] = lambda: None
) -> list[dict[str, Any]]:
    """A row for each head, in order. Values that a head has not are None: one head alone has no diversity."""
    sums: list[list[defaultdict[str, float]]] = [[defaultdict(float) for _ in range(s.heads)] for s in sites]
    sink_tokens: list[list[Counter[str]]] = [[Counter() for _ in range(site.heads)] for site in sites]
    examples: defaultdict[tuple[int, str], int] = defaultdict(int)
    for batch in batches:
        with record(probe.network, "*", heads="*") as seen:
            probe.answer(batch)
        n = len(batch.ids)
        for layer, site in enumerate(sites):
            for name, values_h in _of_site(seen[site.name], seen.heads[site.name], batch, site, sink_tokens[layer]):
                examples[layer, name] += n
                for head, value in enumerate(values_h.tolist()):
                    sums[layer][head][name] += n * value
        advance()
    rows = []
    for layer, site in enumerate(sites):
        for head in range(site.heads):
            # an example in which no tokens are so far apart gives that distance nothing
            means = {
                name: value / examples[layer, "near" if "\t" in name else name]
                for name, value in sums[layer][head].items()
            }
            sink = sink_tokens[layer][head].most_common(1)
            row: dict[str, Any] = {"name": f"{layer}.{head}", "layer": layer, "head": head, "site": site.name}
            for name in ("entropy", "norm", "diversity", "sink", "near", "near_uniform"):
                row[name] = means.get(name)
            row["sink_token"] = sink[0][0] if sink else None
            row["distance"] = _by_scale(means)
            rows.append(row)
    return rows


def _by_scale(means: dict[str, float]) -> dict[str, dict[str, dict[str, float]]]:
    """`scale\tlabel\tshare` as a table of each scale."""
    tables: dict[str, dict[str, dict[str, float]]] = {}
    for name, value in means.items():
        if "\t" in name:
            scale, label, what = name.split("\t")
            tables.setdefault(scale, {}).setdefault(label, {})[what] = value
    return tables


def _of_site(
    seen: AttentionRecord, out: Tensor, batch: Batch, site: Site, sinks: list[Counter[str]]
) -> list[tuple[str, Float[Tensor, " H"]]]:
    """Names and values of each head, means over a batch."""
    n = len(batch.ids)
    weights = seen.weights[:n].cpu().double()
    rest = tuple(range(2, out.dim() - 1))
    found = [
        ("norm", out[:n].cpu().double().norm(dim=-1).mean(rest).mean(0)),
        ("entropy", _over_rows(-(weights * weights.clamp(min=TINY).log()).sum(-1), weights.sum(-1) > 0.5)),
    ]
    square = squared(seen, batch, site.name)
    if square is None:
        return found
    a_bhnn, layout = square
    query_bhn = a_bhnn.sum(-1) > 0.5  # tokens that ask
    if site.heads > 1:
        found.append(("diversity", diversity(a_bhnn)))
    share_bhn = received(a_bhnn)
    largest_bh, token_bh = share_bhn.max(-1)
    found.append(("sink", largest_bh.mean(0)))
    for head, counter in enumerate(sinks):
        counter.update(layout.tokens[token] for token in token_bh[:, head].tolist())
    asked_h = query_bhn.sum((0, 2)).clamp(min=1)
    mean_hnn = (a_bhnn * query_bhn[..., None]).sum(0) / asked_h[:, None, None]
    even_hnn = uniform(a_bhnn) * query_bhn.sum(0)[..., None] / asked_h[:, None, None]
    for scale in layout.scales:
        share_hd, even_hd = (by_distance(each, scale) for each in (mean_hnn, even_hnn))
        for number, label in enumerate(scale.labels):
            found.append((f"{scale.name}\t{label}\tshare", share_hd[:, number]))
            found.append((f"{scale.name}\t{label}\tuniform", even_hd[:, number]))
    first = layout.scales[0]
    near = [by_distance(each, first)[:, : first.near].sum(-1) for each in (mean_hnn, even_hnn)]
    return [*found, ("near", near[0]), ("near_uniform", near[1])]


def squared(seen: AttentionRecord, batch: Batch, site: str) -> tuple[Float[Tensor, "B H N N"], Layout] | None:
    """The weights among the tokens of a site, and where these lie; None where nobody says, or they are too many."""
    n = seen.n_tokens
    layout = batch.layout(site, n)
    if layout is None or seen.over != "tokens" or n > MOST_DENSE:
        return None
    return seen.dense(n)[: len(batch.ids)].cpu().double(), layout


def uniform(a_bhnn: Float[Tensor, "B H N N"]) -> Float[Tensor, "N N"]:
    """What uniform attention would be: over all keys, or over those until now where nothing looks ahead."""
    n = a_bhnn.shape[-1]
    allowed_nn = torch.ones(n, n, dtype=torch.bool, device=a_bhnn.device)
    if n > 1 and float(a_bhnn.triu(1).sum()) == 0:
        allowed_nn = allowed_nn.tril()
    return allowed_nn.double() / allowed_nn.sum(-1, keepdim=True)


def received(a_bhnn: Float[Tensor, "B H N N"], least: float = 0.5) -> Float[Tensor, "B H N"]:
    """The mean weight that each token gets from the queries that may see it.

    0 for a token that fewer than a share `least` of the queries may see: the last one is seen by itself alone, and
    gets all.
    """
    asks_bhn = (a_bhnn.sum(-1) > 0.5).double()
    sees_nn = (uniform(a_bhnn) > 0).double()
    asked_bhn = asks_bhn @ sees_nn
    enough_bhn = asked_bhn >= least * asks_bhn.sum(-1, keepdim=True)
    return torch.where(enough_bhn, a_bhnn.sum(-2) / asked_bhn.clamp(min=1), 0.0)


def diversity(a_bhnn: Float[Tensor, "B H N N"]) -> Float[Tensor, " H"]:
    """The mean Jensen-Shannon divergence of each head's rows to those of the other heads, in 0..1."""
    heads = a_bhnn.shape[1]
    own_bhn = _plogp(a_bhnn)
    asks_bhn = (a_bhnn.sum(-1) > 0.5).double()
    total_h = a_bhnn.new_zeros(heads)
    for one in range(heads):
        for other in range(one):
            both_bn = _plogp((a_bhnn[:, one] + a_bhnn[:, other]) / 2)
            js_bn = (own_bhn[:, one] + own_bhn[:, other]) / 2 - both_bn
            asks_bn = torch.maximum(asks_bhn[:, one], asks_bhn[:, other])
            js = ((js_bn * asks_bn).sum() / asks_bn.sum().clamp(min=1) / math.log(2)).clamp(0, 1)
            total_h[one] += js
            total_h[other] += js
    return total_h / (heads - 1)


def _plogp(p: Tensor) -> Tensor:
    return (p * p.clamp(min=TINY).log()).sum(-1)


def _over_rows(values: Tensor, counted: Tensor) -> Float[Tensor, " H"]:
    """The mean over the queries that are counted, then over examples."""
    values, counted = (x.flatten(2) for x in (values, counted))
    return ((values * counted).sum(-1) / counted.sum(-1).clamp(min=1)).mean(0)


def by_distance(a_hnn: Float[Tensor, "H N N"], scale: Scale) -> Float[Tensor, "H D"]:
    """The sum at each distance of a scale."""
    number_m = torch.from_numpy(scale.number_nn).to(a_hnn.device).flatten() + 1  # 0 is no distance
    sums = a_hnn.new_zeros(len(a_hnn), 1 + len(scale.labels))
    return sums.index_add_(1, number_m, a_hnn.flatten(1))[:, 1:]
