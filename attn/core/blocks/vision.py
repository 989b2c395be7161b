"""Vision transformers: patches of an image as tokens behind a class token (Dosovitskiy et al. 2021, arXiv:2010.11929).

    z_0 = [class; patches] + positions                         equation 1
    z'  = z + attention(norm(z));   z = z' + mlp(norm(z'))     equations 2 and 3
    y   = norm(z_L)                                            equation 4, here of all tokens

DeiT (Touvron et al. 2021, arXiv:2012.12877) is the same network, trained in another way. A *hybrid* (section 3.1) cuts
the map of a convolution network into patches instead of the image.

A block reads its tokens (`read`: queries, keys and values of each head) and then advances them. Between the two the
queries may be fewer than the tokens, and keys may come from elsewhere:

    x_blc = block(x_blc)                                       # all tokens, by what they read themselves
    x_brc = block(x_brc, block.read(x_blc, x_brc))             # R of the tokens look at all
    x_blc = block(x_blc, block.read(x_blc).beside(other))      # and at the keys and values of another image

Shapes: B batch, C channels of the image, H height, W width, P tokens in y, Q in x, N = P·Q patches, L = 1 + N tokens,
R queries, M keys, D = width / heads.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core import mixers
from attn.core.attention.attend import attend, merge_heads, split_heads
from attn.core.attention.watch import Geometry
from attn.core.blocks.convolution import StochasticDepth
from attn.core.errors import UsageError
from attn.core.mixers import Mixer
from attn.core.mixers.projections import require_heads

NORM_EPS = 1e-6  # that of the published weights of ViT and DeiT
STD = 0.02  # of the truncated normal that layers, class token and positions begin with
Grid = tuple[int, int]


class Heads(NamedTuple):
    """Queries of R tokens, and the keys and values of the M tokens that they look at, head by head."""

    q_bhrd: Float[Tensor, "B heads R D"]
    k_bhmd: Float[Tensor, "B heads M D"]
    v_bhmd: Float[Tensor, "B heads M D"]

    def beside(self, other: "Heads") -> "Heads":
        """The same queries, with the keys and values of `other` behind their own."""
        return Heads(
            self.q_bhrd,
            torch.cat([self.k_bhmd, other.k_bhmd], dim=2),
            torch.cat([self.v_bhmd, other.v_bhmd], dim=2),
        )


class HeadAttention(nn.Module):
    """Softmax attention in two halves, `read` and `forward`. The rows of `qkv` are q, k, v, each head by head."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        require_heads(width, heads)
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def read(self, x_blc: Float[Tensor, "B L C"], asking_brc: Float[Tensor, "B R C"] | None = None) -> Heads:
        """Keys and values of all tokens, and the queries of those that ask, which are all if None."""
        if asking_brc is None:
            return Heads(*(split_heads(part, self.heads) for part in self.qkv(x_blc).chunk(3, -1)))
        width = x_blc.shape[-1]
        q_brc = F.linear(asking_brc, self.qkv.weight[:width], self.qkv.bias[:width])
        kv_bl2c = F.linear(x_blc, self.qkv.weight[width:], self.qkv.bias[width:])
        return Heads(*(split_heads(part, self.heads) for part in (q_brc, *kv_bl2c.chunk(2, -1))))

    def forward(self, heads: Heads, geometry: Geometry | None = None) -> Float[Tensor, "B R C"]:
        """What the queries find, through the last layer. `geometry`: which token each is; both count from 0 if None."""
        out: Tensor = self.out(merge_heads(attend(*heads, site=self, geometry=geometry)))
        return out


class VisionBlock(nn.Module):
    """One pre-norm block: attention, then an MLP of 4 times the width with GELU.

    `drop_path` is the stochastic depth of both residual branches, in training.
    """

    def __init__(self, width: int, heads: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mixer = HeadAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop_path = StochasticDepth(drop_path)

    def read(self, x_blc: Float[Tensor, "B L C"], asking_brc: Float[Tensor, "B R C"] | None = None) -> Heads:
        """See `HeadAttention.read`; the tokens are normalised here."""
        return self.mixer.read(self.norm1(x_blc), None if asking_brc is None else self.norm1(asking_brc))

    def forward(
        self, x_brc: Float[Tensor, "B R C"], heads: Heads | None = None, geometry: Geometry | None = None
    ) -> Float[Tensor, "B R C"]:
        """The tokens whose queries `heads` has, one block further; by what they read themselves if None."""
        heads = self.read(x_brc) if heads is None else heads
        x_brc = x_brc + self.drop_path(self.mixer(heads, geometry))
        out: Tensor = x_brc + self.drop_path(self.mlp(self.norm2(x_brc)))
        return out


class MapBlock(nn.Module):
    """The same block around any two-dimensional mixer: the patches are a map again, and the class token stays apart.

    What the mixer says is scaled by `scale`, which starts at 0 (Touvron et al. 2021, arXiv:2103.17239, section 2), so
    that a block begins as if it were not there.
    """

    def __init__(self, mixer: Mixer, width: int, grid: Grid, drop_path: float = 0.0) -> None:
        super().__init__()
        self.grid = grid
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mixer = mixer
        self.scale = nn.Parameter(torch.zeros(width))
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, x_blc: Float[Tensor, "B L C"]) -> Float[Tensor, "B L C"]:
        """The tokens one block further. Raises UsageError where the patches do not fill the block's grid."""
        if x_blc.shape[1] != 1 + self.grid[0] * self.grid[1]:
            raise UsageError(f"{x_blc.shape[1] - 1} patches are not {self.grid[0]} x {self.grid[1]}")
        x_bnc = x_blc[:, 1:]
        y_bnc = self.mixer(self.norm1(x_bnc).unflatten(1, self.grid)).flatten(1, 2)
        x_bnc = x_bnc + self.drop_path(self.scale * y_bnc)
        x_bnc = x_bnc + self.drop_path(self.mlp(self.norm2(x_bnc)))
        return torch.cat([x_blc[:, :1], x_bnc], 1)


class PatchEmbedding(nn.Module):
    """Patches of `patch` x `patch` cells through one linear layer; with a `body`, patches of its map (a hybrid)."""

    def __init__(self, channels: int, width: int, patch: int, body: nn.Module | None = None) -> None:
        super().__init__()
        self.body = nn.Identity() if body is None else body
        self.project = nn.Conv2d(channels, width, patch, stride=patch)

    def forward(self, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 P Q"]:
        """Cells that fill no patch, on the right and below, are left out."""
        out: Tensor = self.project(self.body(x_bchw))
        return out


class VisionTransformer(nn.Module):
    """Class token, positions and blocks over the patches that `patches` makes of an image.

    `grid` is (P, Q) of the images that the positions are for; those of other images are resampled from it.
    Stochastic depth grows from 0 to `drop_path` along the blocks. `mixer`: the mechanism of the blocks, or one for
    each, as `attn.core.mixers.choice` reads it; then all images fill the grid, and the class token learns nothing.
    """

    def __init__(
        self,
        patches: PatchEmbedding,
        grid: Grid,
        width: int,
        depth: int,
        heads: int,
        drop_path: float = 0.0,
        mixer: str | None = None,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.patches = patches
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, 1 + grid[0] * grid[1], width))
        drops = torch.linspace(0, drop_path, depth, device="cpu").tolist()
        if mixer is None:
            self.blocks = nn.ModuleList(VisionBlock(width, heads, drop) for drop in drops)
        else:
            self.class_token.requires_grad_(False)
            made = [
                mixers.create(choice, dims=2, channels=width, heads=heads, size=grid)
                for choice in mixers.per_layer(mixer, depth)
            ]
            self.blocks = nn.ModuleList(
                MapBlock(each, width, grid, drop) for each, drop in zip(made, drops, strict=True)
            )
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        for parameter in (self.class_token, self.positions):
            nn.init.trunc_normal_(parameter, std=STD)
        initialise(self.blocks)
        for block in self.blocks:
            if isinstance(block, MapBlock):
                block.mixer.initialise()

    def tokens(self, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B L C2"]:
        """What the first block sees: the class token in front of the patches in raster order, positions added."""
        map_bcpq = self.patches(x_bchw)
        x_bnc = map_bcpq.flatten(2).transpose(1, 2)
        x_blc = torch.cat([self.class_token.expand(x_bnc.shape[0], -1, -1), x_bnc], dim=1)
        return x_blc + resample_positions(self.positions, self.grid, (map_bcpq.shape[2], map_bcpq.shape[3]))

    def forward(self, x_bchw: Float[Tensor, "B C H W"]) -> Float[Tensor, "B L C2"]:
        """All tokens after the last norm, the class token first."""
        x_blc = self.tokens(x_bchw)
        for block in self.blocks:
            x_blc = block(x_blc)
        out: Tensor = self.norm(x_blc)
        return out


def resample_positions(positions_1lc: Float[Tensor, "1 L C"], old: Grid, new: Grid) -> Float[Tensor, "1 L2 C"]:
    """The positions of a grid `old` (P, Q) for a grid `new`: bicubic, antialiased; the class token's stays.

    The old grid is given and not guessed: 2 x 8 and 4 x 4 patches are as many, and not the same.
    """
    if old == new:
        return positions_1lc
    first_11c, grid_1nc = positions_1lc[:, :1], positions_1lc[:, 1:]
    map_1cpq = grid_1nc.float().reshape(1, *old, -1).permute(0, 3, 1, 2)
    map_1cpq = F.interpolate(map_1cpq, new, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([first_11c, map_1cpq.flatten(2).transpose(1, 2).to(first_11c.dtype)], dim=1)


def initialise(model: nn.Module) -> None:
    """Linear layers as in the published ViT: truncated normal of deviation 0.02, biases zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


_TIMM = {
    "cls_token": "class_token",
    "pos_embed": "positions",
    "patch_embed.proj.": "patches.project.",
    ".attn.qkv.": ".mixer.qkv.",
    ".attn.proj.": ".mixer.out.",
    ".mlp.fc1.": ".mlp.0.",
    ".mlp.fc2.": ".mlp.2.",
}


def load_timm(model: VisionTransformer, state: dict[str, Tensor], grid: Grid | None = None) -> None:
    """Copy the weights of a ViT or DeiT of timm, whose classifier is left out, into `model`.

    grid: (P, Q) of the network that `state` is of; a square if None. Positions are resampled from it to the model's.
    Raises UsageError where the weights are of another network: distilled, with registers, or of other widths.
    """
    renamed = {}
    for name, value in state.items():
        if not name.startswith("head."):
            for theirs, ours in _TIMM.items():
                name = name.replace(theirs, ours)
            renamed[name] = value
    if "positions" in renamed:
        patches = renamed["positions"].shape[1] - 1
        old = grid or (int(patches**0.5), int(patches**0.5))
        if old[0] * old[1] != patches:
            raise UsageError(f"these weights have {patches} positions of patches, not {old[0]} x {old[1]}")
        renamed["positions"] = resample_positions(renamed["positions"], old, model.grid)
    own = model.state_dict()
    for name in [*own, *renamed]:
        here, there = (tuple(each[name].shape) if name in each else "absent" for each in (own, renamed))
        if here != there:
            raise UsageError(f"these are weights of another network: {name[:80]} is {there} there and {here} here")
    model.load_state_dict(renamed)
