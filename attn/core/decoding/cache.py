"""Keys and values of the past, for decoding token by token.

    cache = KVCache(batch, heads, length, dim)
    k_bhnd, v_bhnd = cache.append(k_bhld, v_bhld)    # L new tokens; all n so far come back

The memory is taken once, and what comes back are views: a step copies its own token and nothing else. In memory a
head's tokens are rows of channels: the products of one query with all keys, and of its weights with all values, then
read a few long stretches.

Shapes: B batch, H heads, L new tokens, n tokens that come back, D head dimension.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from attn.core.decoding.pages import empty
from attn.core.errors import AttnError


@runtime_checkable
class Cache(Protocol):
    """What mixers ask of a cache, whatever memory is behind it."""

    @property
    def length(self) -> int:
        """Tokens appended so far."""

    def append(
        self, k_bhld: Float[Tensor, "B H L D"], v_bhld: Float[Tensor, "B H L D"]
    ) -> tuple[Float[Tensor, "B H n D"], Float[Tensor, "B H n D"]]:
        """Take in L tokens; returns the keys and values that they may see."""


class KVCache:
    """Keys and values of up to `length` tokens.

    `length` afterwards is the number of tokens appended so far.
    """

    def __init__(
        self,
        batch: int,
        heads: int,
        length: int,
        dim: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        shape = (batch, heads, length, dim)
        self._k_bhnd, self._v_bhnd = (empty(shape, device=device, dtype=dtype) for _ in range(2))
        self.length = 0

    def append(
        self, k_bhld: Float[Tensor, "B H L D"], v_bhld: Float[Tensor, "B H L D"]
    ) -> tuple[Float[Tensor, "B H n D"], Float[Tensor, "B H n D"]]:
        """Take in L tokens; returns views of the keys and values of all n = `length` so far.

        Raises AttnError if there is no room for them.
        """
        start, end = self.length, self.length + k_bhld.shape[2]
        if end > self._k_bhnd.shape[2]:
            room = self._k_bhnd.shape[2]
            raise AttnError(f"the cache has room for {room} tokens, not for {end}", hint="start a longer one")
        self._k_bhnd[:, :, start:end] = k_bhld
        self._v_bhnd[:, :, start:end] = v_bhld
        self.length = end
        return self._k_bhnd[:, :, :end], self._v_bhnd[:, :, :end]


class RingCache:
    """Keys and values of the last `window` tokens of a sequence without end, in constant memory.

    `length` is the number of tokens appended so far. Each token is written twice, `window` places apart, so
    that the last `window` tokens always lie in order in one piece.
    """

    def __init__(
        self,
        batch: int,
        heads: int,
        window: int,
        dim: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.window = window
        self.length = 0
        shape = (batch, heads, 2 * window, dim)
        self._k_bhnd, self._v_bhnd = (empty(shape, device=device, dtype=dtype) for _ in range(2))

    def append(
        self, k_bhld: Float[Tensor, "B H L D"], v_bhld: Float[Tensor, "B H L D"]
    ) -> tuple[Float[Tensor, "B H n D"], Float[Tensor, "B H n D"]]:
        """Take in L <= `window` tokens; returns views of the last n = min(length, window), the oldest first.

        Raises AttnError if L is larger: the first of them would be gone before they were seen.
        """
        new = k_bhld.shape[2]
        if new > self.window:
            raise AttnError(f"{new} tokens at once do not fit into a window of {self.window}")
        for kept, fresh in ((self._k_bhnd, k_bhld), (self._v_bhnd, v_bhld)):
            place = self.length % self.window
            first = min(new, self.window - place)
            for start in (place, place + self.window):
                kept[:, :, start : start + first] = fresh[:, :, :first]
            if first < new:
                for start in (0, self.window):
                    kept[:, :, start : start + new - first] = fresh[:, :, first:]
        self.length += new
        end = (self.length - 1) % self.window + 1 + self.window
        begin = end - min(self.length, self.window)
        return self._k_bhnd[:, :, begin:end], self._v_bhnd[:, :, begin:end]
