"""Slow and readable: what every fast path is tested against, forward and backward.

Written with loops over tokens, from the papers' formulas and from nothing in this package. All functions are
differentiable and take q, k, v of shape (B, H, L, D), or (B, H, height, width, D) for maps.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def attention(
    q: Float[Tensor, "*lead Lq D"],
    k: Float[Tensor, "*lead Lk D"],
    v: Float[Tensor, "*lead Lk Dv"],
    bias: Float[Tensor, "..."] | None = None,
    mask: Bool[Tensor, "..."] | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "*lead Lq Dv"]:
    """Vaswani et al. 2017, equation 1, one query at a time, in the arguments' own precision; see `attend`."""
    lq, lk = q.shape[-2], k.shape[-2]
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    shape = (*q.shape[:-2], lq, lk)
    bias = q.new_zeros(shape) if bias is None else bias.expand(shape)
    allowed = torch.ones(shape, dtype=torch.bool, device=q.device) if mask is None else mask.expand(shape)
    rows = []
    for i in range(lq):
        logits = scale * (q[..., i, None, :] * k).sum(-1) + bias[..., i, :]
        may = allowed[..., i, :]
        if causal:
            may = may & (torch.arange(lk, device=q.device) <= i + lk - lq)
        # The largest logit is taken away for the exponential's sake; it cancels.
        largest = logits.where(may, -torch.inf).amax(-1, keepdim=True).clamp(min=torch.finfo(q.dtype).min)
        terms = (logits.where(may, 0.0) - largest.where(may, 0.0)).exp().where(may, 0.0)
        total = terms.sum(-1, keepdim=True)
        weights = terms / total.where(total > 0, 1.0)
        rows.append((weights[..., :, None] * v).sum(-2))
    return torch.stack(rows, -2)


def relative_bias(table: Float[Tensor, "heads Y X"], height: int, width: int) -> Float[Tensor, "heads L L"]:
    """CoAtNet, section 2.1: bias[h, i, j] = table[h, y_i - y_j + height - 1, x_i - x_j + width - 1]."""
    tokens = [(y, x) for y in range(height) for x in range(width)]
    return torch.stack(
        [
            torch.stack([table[:, yi - yj + height - 1, xi - xj + width - 1] for yj, xj in tokens], -1)
            for yi, xi in tokens
        ],
        -2,
    )


def relative(
    q: Float[Tensor, "B H L D"],
    k: Float[Tensor, "B H L D"],
    v: Float[Tensor, "B H L D"],
    table: Float[Tensor, "H M D"],
    clip: bool = False,
    block: int | None = None,
) -> Float[Tensor, "B H L D"]:
    """Music Transformer's causal relative attention with a vector for every pair of tokens, (H, L, L, D).

    The table's last row is distance 0; beyond it the vector is 0, or with `clip` that of the first row. With
    `block` a token sees its own block of this many tokens and the block before.
    """
    length, rows = q.shape[2], table.shape[1]
    pairs = []
    seen = torch.zeros(length, length, dtype=torch.bool)
    for i in range(length):
        vectors = []
        for j in range(length):
            distance = max(i - j, 0)
            row = table[:, rows - 1 - distance] if distance < rows else table[:, 0] * clip
            vectors.append(row)
            seen[i, j] = j <= i and (block is None or i // block - j // block <= 1)
        pairs.append(torch.stack(vectors, 1))
    return _over_pairs(q, k, v, torch.stack(pairs, 1), seen)


def relative_places(
    q: Float[Tensor, "B H L D"],
    k: Float[Tensor, "B H L D"],
    v: Float[Tensor, "B H L D"],
    table: Float[Tensor, "H M D"],
    across_table: Float[Tensor, "H X D"],
    along_table: Float[Tensor, "H A D"],
    along: Int[Tensor, "L"],
    across: Int[Tensor, "L"],
) -> Float[Tensor, "B H L D"]:
    """`relative` with two more vectors per pair, for places across (difference 0 in the middle) and along (0 first)."""
    length, rows = q.shape[2], table.shape[1]
    most_across, most_along = across_table.shape[1] // 2, along_table.shape[1] - 1
    pairs = []
    for i in range(length):
        vectors = []
        for j in range(length):
            distance = max(i - j, 0)
            vector = table[:, rows - 1 - distance] if distance < rows else torch.zeros_like(table[:, 0])
            apart = max(-most_across, min(most_across, int(across[i] - across[j])))
            later = max(0, min(most_along, int(along[i] - along[j])))
            vectors.append(vector + across_table[:, most_across + apart] + along_table[:, later])
        pairs.append(torch.stack(vectors, 1))
    return _over_pairs(q, k, v, torch.stack(pairs, 1), torch.ones(length, length, dtype=torch.bool).tril())


def _over_pairs(q: Tensor, k: Tensor, v: Tensor, vectors_hijd: Tensor, seen_ij: Tensor) -> Tensor:
    logits = (q[:, :, :, None] * (k[:, :, None] + vectors_hijd)).sum(-1) / q.shape[-1] ** 0.5
    weights: Tensor = logits.masked_fill(~seen_ij, -torch.inf).softmax(-1)
    return weights @ v


def halo(
    q: Float[Tensor, "B heads height width D"],
    k: Float[Tensor, "B heads height width D"],
    v: Float[Tensor, "B heads height width D"],
    rows: Float[Tensor, "offsets D"],
    columns: Float[Tensor, "offsets D"],
    block: int,
    radius: int,
    masked: bool,
) -> Float[Tensor, "B heads height width D"]:
    """HaloNet, section 2, token by token, on any map; `rows` and `columns` have offset 0 in the middle.

    The map is cut from its upper left corner. Not masked, a token beyond the border has key and value 0.
    """
    _, _, height, width, d = q.shape
    middle = rows.shape[0] // 2
    out = torch.zeros_like(v)
    for y in range(height):
        for x in range(width):
            top, left = y // block * block - radius, x // block * block - radius
            logits, values = [], []
            for ky in range(top, top + block + 2 * radius):
                for kx in range(left, left + block + 2 * radius):
                    inside = 0 <= ky < height and 0 <= kx < width
                    if masked and not inside:
                        continue
                    query = q[:, :, y, x]
                    key = k[:, :, ky, kx] if inside else torch.zeros_like(query)
                    position = rows[ky - y + middle] + columns[kx - x + middle]
                    logits.append((query * key).sum(-1) / d**0.5 + (query * position).sum(-1))
                    values.append(v[:, :, ky, kx] if inside else torch.zeros_like(query))
            weights = torch.stack(logits, -1).softmax(-1)
            out[:, :, y, x] = (weights[..., None] * torch.stack(values, -2)).sum(-2)
    return out


def neighborhood_window(p: int, n: int, kernel: int, dilation: int) -> list[int]:
    """The tokens that token p of n sees along one axis (NATTEN, arXiv:2403.04690)."""
    group = list(range(p % dilation, n, dilation))
    left = kernel // 2
    right = kernel // 2 + kernel % 2 - 1
    centre = min(max(group.index(p), left), len(group) - 1 - right)
    return group[centre - left : centre + right + 1]


def neighborhood(
    q: Float[Tensor, "B heads height width D"],
    k: Float[Tensor, "B heads height width D"],
    v: Float[Tensor, "B heads height width D"],
    kernel: int,
    dilation: int,
) -> Float[Tensor, "B heads height width D"]:
    """NATTEN's two-dimensional form, token by token; the kernel must fit into every dilation group."""
    _, _, height, width, d = q.shape
    out = torch.zeros_like(v)
    for y in range(height):
        for x in range(width):
            window = [
                (ky, kx)
                for ky in neighborhood_window(y, height, kernel, dilation)
                for kx in neighborhood_window(x, width, kernel, dilation)
            ]
            keys = torch.stack([k[:, :, ky, kx] for ky, kx in window], -2)
            values = torch.stack([v[:, :, ky, kx] for ky, kx in window], -2)
            weights = ((q[:, :, y, x, None, :] * keys).sum(-1) / d**0.5).softmax(-1)
            out[:, :, y, x] = (weights[..., None] * values).sum(-2)
    return out


def gated_positional(
    q: Float[Tensor, "B heads L D"],
    k: Float[Tensor, "B heads L D"],
    v: Float[Tensor, "B heads L D"],
    gate: Float[Tensor, " heads"],
    position: Float[Tensor, "heads 3"],
    height: int,
    width: int,
) -> Float[Tensor, "B heads L D"]:
    """ConViT, equation 7, on a map in raster order; the position weights are of dx, dy and dx² + dy²."""
    tokens = [(y, x) for y in range(height) for x in range(width)]
    out = []
    for i, (yi, xi) in enumerate(tokens):
        content = torch.stack([(q[:, :, i] * k[:, :, j]).sum(-1) / q.shape[-1] ** 0.5 for j in range(len(tokens))], -1)
        places = [(xj - xi, yj - yi, (xj - xi) ** 2 + (yj - yi) ** 2) for yj, xj in tokens]
        where = torch.stack([sum(position[:, n] * p[n] for n in range(3)) for p in places], -1)  # type: ignore[misc]
        share = 1 / (1 + (-gate[:, None]).exp())
        weights = (1 - share) * content.softmax(-1) + share * where.softmax(-1)
        weights = weights / weights.sum(-1, keepdim=True)
        out.append((weights[..., None] * v).sum(-2))
    return torch.stack(out, -2)


def deconstructed(
    q: Float[Tensor, "B H L D"], k: Float[Tensor, "B H L D"], v: Float[Tensor, "B H L D"], variant: str
) -> Float[Tensor, "B H L D"]:
    """Deconstructing Attention, section 3: "approximate", "non_approximate", or softmax for another variant."""
    rows = []
    for i in range(q.shape[2]):
        terms = []
        for j in range(i + 1):
            own = q[:, :, j] * q[:, :, j].sigmoid() if variant == "non_approximate" else q[:, :, i]
            s = (own * k[:, :, j]).sum(-1) / q.shape[-1] ** 0.5
            terms.append(1 + s + s**2 / 2 if variant == "approximate" else s.exp())
        weighted = [term[..., None] * v[:, :, j] for j, term in enumerate(terms)]
        rows.append(torch.stack(weighted).sum(0) / torch.stack(terms).sum(0)[..., None])
    return torch.stack(rows, 2)


def neighborhood_sequence(
    q: Float[Tensor, "B H L D"],
    k: Float[Tensor, "B H L D"],
    v: Float[Tensor, "B H L D"],
    kernel: int,
    dilation: int,
    causal: bool,
) -> Float[Tensor, "B H L D"]:
    """NATTEN's one-dimensional form; if not causal, the kernel must fit into every dilation group."""
    rows = []
    for p in range(q.shape[2]):
        past = [j for j in range(p - (kernel - 1) * dilation, p + 1, dilation) if j >= 0]
        window = past if causal else neighborhood_window(p, q.shape[2], kernel, dilation)
        logits = torch.stack([(q[:, :, p] * k[:, :, j]).sum(-1) / q.shape[-1] ** 0.5 for j in window], -1)
        rows.append((logits.softmax(-1)[..., None] * v[:, :, window]).sum(-2))
    return torch.stack(rows, 2)


def relative_convolutional(
    q: Float[Tensor, "B H L D"],
    k: Float[Tensor, "B H L D"],
    v: Float[Tensor, "B H L D"],
    taps: Float[Tensor, "3 D T"],
    content: Float[Tensor, "H D"],
    table: Float[Tensor, "H M D"],
    numbers: Float[Tensor, "H M"],
) -> Float[Tensor, "B H L D"]:
    """RCMHA: the scores of Transformer-XL (section 3.3) of convolved q, k, v; distance 0 is the last row."""
    length, rows = q.shape[2], table.shape[1]

    def convolved(x: Tensor, taps_dt: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        for i in range(length):
            for t in range(taps_dt.shape[1]):
                j = i - (taps_dt.shape[1] - 1 - t)
                if j >= 0:
                    out[:, :, i] += x[:, :, j] * taps_dt[:, t]
        return out

    q, k, v = convolved(q, taps[0]), convolved(k, taps[1]), convolved(v, taps[2])
    out = []
    for i in range(length):
        logits = []
        for j in range(i + 1):
            score = ((q[:, :, i] + content) * k[:, :, j]).sum(-1)
            if i - j < rows:
                row = rows - 1 - (i - j)
                score = score + (q[:, :, i] * table[:, row]).sum(-1) + numbers[:, row]
            logits.append(score / q.shape[-1] ** 0.5)
        out.append((torch.stack(logits, -1).softmax(-1)[..., None] * v[:, :, : i + 1]).sum(-2))
    return torch.stack(out, 2)
