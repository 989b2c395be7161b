"""What mechanisms cost at sizes of a user's own: time, memory and products of a layer, beside plain attention.

Shapes: B batch of 1, L tokens, a map of S x S tokens in two dimensions.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attn.core import mixers
from attn.core.errors import UsageError
from attn.core.measures.counting import Count, count
from attn.core.mixers import MixerInfo

PLAIN = "softmax"
REPEATS = 5  # of which the median counts
BUDGET = 1.0  # seconds; what takes longer is not repeated


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A mechanism in one form, and the size of the layer around it."""

    info: MixerInfo
    dims: int
    width: int
    heads: int
    device: str

    @property
    def causal(self) -> bool:
        """Its own form, where it has one alone; plain attention is measured in the same."""
        return self.info.causal == "always"

    def make(self, tokens: int, name: str | None = None) -> tuple[torch.nn.Module, Tensor]:
        """A layer for about `tokens` tokens, and such an input."""
        size = (tokens,) if self.dims == 1 else (side_of(tokens),) * 2
        torch.manual_seed(0)
        layer = mixers.create(
            name or self.info.name,
            dims=self.dims,
            channels=self.width,
            heads=self.heads,
            size=size,
            causal=self.causal if self.dims == 1 else None,
        )
        return layer.to(self.device), torch.randn(1, *size, self.width, device=self.device)


def side_of(tokens: int) -> int:
    """The side of the square map with about so many tokens."""
    return max(1, round(math.sqrt(tokens)))


def layers(names: Sequence[str], width: int, heads: int, device: str = "cpu") -> list[Layer]:
    """The mechanisms of these names, or all, once for each of their dimensions. Raises UsageError for another name."""
    every = [(info, dims) for info in mixers.available() for dims in info.dims]
    known = {info.name for info, _ in every}
    if wrong := sorted(set(names) - known):
        raise UsageError(f"there is no mixer {wrong[0]!r}", hint=f"there are {', '.join(sorted(known))}")
    if width % heads:
        raise UsageError(f"a width of {width} cannot be split into {heads} heads")
    return [
        Layer(info=info, dims=dims, width=width, heads=heads, device=device)
        for info, dims in every
        if not names or info.name in names
    ]


def rows_of(layer: Layer, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each size, the exponents of growth in each.

    forward_ms, step_ms: a pass, and one with its gradients, as `medians` times them; times: the pass over plain
    attention's. memory_mib: the most that a pass and its gradients hold beyond parameters and input. products_m:
    millions of multiplications and additions of a pass. fitted: the exponent of the products, fitted_time: that of the
    time, where there are two sizes.
    """
    found = [_row(layer, tokens) for tokens in sizes]
    tokens = [row["tokens"] for row in found]
    fitted = exponent(tokens, [row["products_m"] for row in found])
    fitted_time = exponent(tokens, [row["forward_ms"] for row in found])
    return [row | {"fitted": fitted, "fitted_time": fitted_time} for row in found]


def exponent(tokens: Sequence[int], costs: Sequence[float]) -> float | None:
    """p of the least-squares fit of cost = c · tokens^p in logarithms; None for a single size."""
    if len(set(tokens)) < 2 or not all(cost > 0 for cost in costs):
        return None
    return statistics.linear_regression(*([math.log(value) for value in values] for values in (tokens, costs))).slope


def _row(layer: Layer, tokens: int) -> dict[str, Any]:
    made, x = layer.make(tokens)
    plain, _ = layer.make(tokens, PLAIN)

    def step() -> Any:
        return torch.autograd.grad(made(x).square().sum(), tuple(made.parameters()), allow_unused=True)

    def forward(module: torch.nn.Module) -> Callable[[], Any]:
        @torch.inference_mode()
        def call() -> Any:
            return module(x)

        return call

    made.eval(), plain.eval()
    products: Count = count(forward(made))
    memory: Count = count(step)
    # The two passes take turns alone: a pass after one with gradients would find its memory cold.
    seconds = [*medians([forward(made), forward(plain)], x.device.type), *medians([step], x.device.type)]
    return {
        "name": layer.info.name,
        "dims": layer.dims,
        "causal": layer.causal,
        "tokens": x.shape[1:-1].numel(),
        "forward_ms": 1e3 * seconds[0],
        "times": seconds[0] / seconds[1],
        "step_ms": 1e3 * seconds[2],
        "memory_mib": memory.peak / 2**20,
        "products_m": products.operations / 1e6,
        "cost": layer.info.cost,
        "claimed": layer.info.exponent,
    }


def medians(calls: Iterable[Callable[[], Any]], device: str = "cpu") -> Iterator[float]:
    """Median seconds of each call; they take turns.

    On a CPU it is the processor's time, all threads together, which what else the machine does changes least.
    """
    clock = time.process_time if device == "cpu" else time.perf_counter
    calls = list(calls)
    taken: list[list[float]] = [[] for _ in calls]
    for turn in range(1 + REPEATS):  # the first one warms up
        for call, times in zip(calls, taken, strict=True):
            if turn > 1 and sum(times) > BUDGET:
                continue
            began = clock()
            call()
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(clock() - began)
    yield from (statistics.median(times[1:] or times) for times in taken)
