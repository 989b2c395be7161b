"""The speed of our mechanisms beside public ones: a pass, and a pass with its gradients.

uv run --group mixers-peers python benchmarks/mixers.py

One process and one thread; ours and theirs take turns; a ratio is that of the median processor seconds, theirs over
ours. What is not installed is left out. `--costs` measures instead all mechanisms beside plain attention, as `attn
mixers bench --tokens 256,1024,4096` does. `--sampling` measures axial decoding row by row (semi-parallel) beside a
whole pass for each token.
"""

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import torch
from rows import keep
from timm.layers.halo_attn import HaloAttn
from timm.models.convit import GPSA
from timm.models.davit import ChannelAttention, WindowAttention, window_partition, window_reverse
from torch import Tensor, nn

from attn.core import mixers
from attn.mixers.bench import layers, medians, rows_of

WIDTH, HEADS, SIDE, BATCH = 64, 4, 32, 4
TOKENS = SIDE * SIDE
Pair = tuple[nn.Module, Tensor, Callable[[Tensor], Any], Tensor, list[Tensor]]


def ours(name: str, dims: int = 2, **options: Any) -> tuple[nn.Module, Tensor]:
    """A layer of ours, and an input."""
    size = (TOKENS,) if dims == 1 else (SIDE, SIDE)
    torch.manual_seed(0)
    made = mixers.create(name, dims=dims, channels=WIDTH, heads=HEADS, size=size, **options).eval()
    return made, torch.randn(BATCH, *size, WIDTH)


def pair(mine: tuple[nn.Module, Tensor], theirs: nn.Module, x: Tensor) -> Pair:
    """Ours beside a module of theirs."""
    return (*mine, theirs.eval(), x, list(theirs.parameters()))


def halo() -> Pair:
    """timm's, which has no output layer and no mask."""
    theirs = HaloAttn(WIDTH, num_heads=HEADS, block_size=8, halo_size=2)
    return pair(ours("halo:block=8,halo=2,masked=false"), theirs, torch.randn(BATCH, WIDTH, SIDE, SIDE))


def gated_positional() -> Pair:
    """timm's GPSA."""
    return pair(ours("gated_positional"), GPSA(WIDTH, num_heads=HEADS), torch.randn(BATCH, TOKENS, WIDTH))


def windows() -> Pair:
    """timm's window attention of DaViT, with its cutting and joining of windows."""
    inner = WindowAttention(WIDTH, (8, 8), HEADS)

    class Theirs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            parts = window_partition(x, (8, 8)).view(-1, 64, WIDTH)
            return window_reverse(self.inner(parts).view(-1, 8, 8, WIDTH), (8, 8), SIDE, SIDE)

    return pair(ours("dual:part=window,window=8"), Theirs(), torch.randn(BATCH, SIDE, SIDE, WIDTH))


def channels() -> Pair:
    """timm's channel attention of DaViT."""
    return pair(ours("dual:part=channel"), ChannelAttention(WIDTH, HEADS), torch.randn(BATCH, TOKENS, WIDTH))


def axial() -> Pair:
    """The package axial-attention, which sums the two axes."""
    package = import_module("axial_attention")
    theirs = package.AxialAttention(dim=WIDTH, dim_index=1, heads=HEADS, num_dimensions=2, sum_axial_out=True)
    return pair(ours("axial"), theirs, torch.randn(BATCH, WIDTH, SIDE, SIDE))


def routing() -> Pair:
    """The package routing-transformer: attention in clusters, without layers around it."""
    package = import_module("routing_transformer.routing_transformer")
    inner = package.KmeansAttention(SIDE, TOKENS // SIDE, HEADS, WIDTH // HEADS)

    class Theirs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.qkv, self.out = inner, nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = (
                part.unflatten(-1, (HEADS, -1)).transpose(1, 2).contiguous() for part in self.qkv(x).chunk(3, -1)
            )
            return self.out(inner(q, k, v)[0].transpose(1, 2).flatten(2))

    return pair(ours(f"routing:clusters={SIDE}", 1), Theirs(), torch.randn(BATCH, TOKENS, WIDTH))


def neighborhood() -> Pair:
    """PyTorch's flex_attention, compiled, with the same window; on a CPU it has no gradients."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    kernel = 64
    mask = create_block_mask(
        lambda b, h, q, k: (q >= k) & (q - k < kernel), None, None, TOKENS, TOKENS, device="cpu", BLOCK_SIZE=128
    )
    compiled = torch.compile(flex_attention)

    class Theirs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
            return self.out(compiled(q, k, v, block_mask=mask).transpose(1, 2).flatten(2))

    mine = ours(f"neighborhood:kernel={kernel}", 1, causal=True)
    return pair(mine, Theirs(), torch.randn(BATCH, TOKENS, WIDTH))


PEERS = {
    "halo": (halo, "timm HaloAttn"),
    "gated_positional": (gated_positional, "timm GPSA"),
    "dual, windows": (windows, "timm DaViT window attention"),
    "dual, channels": (channels, "timm DaViT channel attention"),
    "axial": (axial, "axial-attention"),
    "routing": (routing, "routing-transformer"),
    "neighborhood, causal": (neighborhood, "flex_attention, compiled"),
}


@torch.inference_mode()
def pass_of(module: Any, given: Tensor) -> Any:
    return module(given)


def step_of(module: Any, given: Tensor, learned: list[Tensor]) -> Any:
    return torch.autograd.grad(module(given).square().mean(), learned, allow_unused=True)


@torch.inference_mode()
def by_steps(mixer: Any, x_blc: Tensor) -> None:
    """Each token once, with a cache."""
    cache = mixer.start(1, x_blc.shape[1])
    for place in range(x_blc.shape[1]):
        mixer(x_blc[:, place : place + 1], cache)


@torch.inference_mode()
def by_passes(mixer: Any, x_blc: Tensor) -> None:
    """A whole pass for each token."""
    for place in range(x_blc.shape[1]):
        mixer(x_blc[:, : place + 1])


def sampling() -> None:
    """Tokens of causal axial attention, 16 a row: steps with a cache, and slow sampling by a pass for each token."""
    for tokens in (64, 256, 1024):
        mixer = mixers.create("axial", dims=1, channels=WIDTH, heads=HEADS, size=(tokens,), causal=True).eval()
        x_blc = torch.randn(1, tokens, WIDTH)
        steps, slow = medians([partial(by_steps, mixer, x_blc), partial(by_passes, mixer, x_blc)])
        keep("mixers_sampling", {"tokens": tokens, "steps": steps, "slow": slow})


def main() -> None:
    torch.set_num_threads(1)
    if "--sampling" in sys.argv:
        sampling()
        return
    if "--costs" in sys.argv:
        for layer in layers([], WIDTH, HEADS):
            found = rows_of(layer, [256, 1024, 4096])
            names = ("cost", "claimed", "fitted", "fitted_time")
            lists = {name: [row[name] for row in found] for name in ("forward_ms", "times", "step_ms", "memory_mib")}
            form = f"{layer.info.name}, {layer.dims}-D" + ", causal" * layer.causal
            keep("mixers_costs", {"mechanism": form, **{name: found[0][name] for name in names}, **lists})
        return
    for name, (made, peer) in PEERS.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        try:
            mine, x, theirs, y, parameters = made()
        except ImportError as error:
            print(f"{name}: left out, {error}")
            continue
        calls = [partial(pass_of, mine, x), partial(pass_of, theirs, y)]
        row = dict(zip(("ours", "theirs"), medians(calls), strict=True))
        steps: dict[str, float | None] = {"ours_step": None, "theirs_step": None}
        if "flex" not in peer:
            own = list(mine.parameters())
            both = [partial(step_of, mine, x, own), partial(step_of, theirs, y, parameters)]
            steps = dict(zip(steps, medians(both), strict=True))
        keep("mixers_peers", {"mechanism": name, "peer": peer, **row, **steps})


if __name__ == "__main__":
    main()
