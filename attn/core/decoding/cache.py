"""Keys and values of the past, for decoding token by token.

    cache = KVCache(batch, heads, capacity, dim)
    past = cache.append(k_bhld, v_bhld)    # L new tokens; past.k_bhnd holds the keys that they see

The memory is taken once, and what comes back are views: a step copies its own token and nothing else. In memory a
head's tokens are rows of channels: the products of one query with all keys, and of its weights with all values, then
read a few long stretches.

Shapes: B batch, H heads, L new tokens, n tokens that come back, D head dimension.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from attn.core.attention.watch import Geometry
from attn.core.decoding.pages import empty
from attn.core.errors import AttnError


class Past(NamedTuple):
    """What the newest tokens may attend to.

    positions: the token of each key, (n,); None when the keys are all tokens from 0 on. Neighbours are a range, because
    a tensor of them would be made in every step and read in few.
    """

    k_bhnd: Tensor
    v_bhnd: Tensor
    positions: Tensor | range | None = None

    def neighbours(self) -> "Past":
        """The same, for a mechanism that counts distances in keys. Raises AttnError where others may be gone."""
        if isinstance(self.positions, Tensor):
            raise AttnError(
                "relative attention counts distances in neighbouring tokens, and this cache may have dropped some",
                hint="use a cache that keeps a stretch of tokens, as KVCache and RingCache do",
            )
        return self

    def geometry(self, queries: int | torch.SymInt) -> Geometry | None:
        """For `attend(geometry=)`, the newest `queries` tokens being the queries."""
        where = self.positions
        if isinstance(where, range):
            where = torch.arange(where.start, where.stop, device=self.k_bhnd.device)
        return None if where is None else Geometry(where[-queries:], where)


@dataclass(frozen=True, slots=True)
class Reach:
    """How many tokens a token sees, itself included.

    block: its own block of this many tokens up to itself, and the whole block before; all tokens so far if None.
    """

    block: int | None = None

    def __call__(self, position: int) -> int:
        """Of the token at `position`, which counts from 0."""
        if self.block is None:
            return position + 1
        return min(position, self.block + position % self.block) + 1


@runtime_checkable
class Cache(Protocol):
    """What mixers ask of a cache, whatever memory is behind it.

    endless: takes in any number of tokens in constant memory.
    """

    endless: bool

    @property
    def length(self) -> int:
        """Tokens appended so far."""

    def append(self, k_bhld: Float[Tensor, "B H L D"], v_bhld: Float[Tensor, "B H L D"]) -> Past:
        """Take in L tokens; returns the keys and values that they may see."""


class KVCache:
    """Keys and values of up to `capacity` tokens; `length` counts the tokens appended so far."""

    endless = False

    def __init__(
        self,
        batch: int,
        heads: int,
        capacity: int,
        dim: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        shape = (batch, heads, capacity, dim)
        self._k_bhnd, self._v_bhnd = (empty(shape, device=device, dtype=dtype) for _ in range(2))
        self.capacity = capacity
        self.length = 0

    def reach(self, position: int) -> int:
        """How many tokens the token at `position` sees, itself included."""
        return position + 1

    def append(self, k_bhld: Float[Tensor, "B H L D"], v_bhld: Float[Tensor, "B H L D"]) -> Past:
        """Take in L tokens; returns views of the keys and values of all n = `length` so far.

        Raises AttnError if there is no room for them.
        """
        start, end = self.length, self.length + k_bhld.shape[2]
        if end > self.capacity:
            raise AttnError(f"the cache has room for {self.capacity} tokens, not for {end}", hint="start a longer one")
        self._k_bhnd[:, :, start:end] = k_bhld
        self._v_bhnd[:, :, start:end] = v_bhld
        self.length = end
        return Past(self._k_bhnd[:, :, :end], self._v_bhnd[:, :, :end])


class RingCache:
    """Keys and values of the last `capacity` tokens of a sequence without end, in constant memory.

    `length` counts the tokens appended so far. Each token is written twice, `capacity` places apart, so that the last
    `capacity` tokens always lie in order in one piece.
    """

    endless = True

    def __init__(
        self,
        batch: int,
        heads: int,
        capacity: int,
        dim: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.capacity = capacity
        self.length = 0
        shape = (batch, heads, 2 * capacity, dim)
        self._k_bhnd, self._v_bhnd = (empty(shape, device=device, dtype=dtype) for _ in range(2))

    def reach(self, position: int) -> int:
        """How many tokens the token at `position` sees, itself included."""
        return min(position + 1, self.capacity)

    def append(self, k_bhld: Float[Tensor, "B H L D"], v_bhld: Float[Tensor, "B H L D"]) -> Past:
        """Take in L <= `capacity` tokens; returns views of what the last of them sees, the oldest first.

        Raises AttnError if L is larger: the first of them would be gone before they were seen.
        """
        new = k_bhld.shape[2]
        if new > self.capacity:
            raise AttnError(f"{new} tokens at once do not fit into a window of {self.capacity}")
        place = self.length % self.capacity
        first = min(new, self.capacity - place)
        for kept, fresh in ((self._k_bhnd, k_bhld), (self._v_bhnd, v_bhld)):
            for start in (place, place + self.capacity):
                kept[:, :, start : start + first] = fresh[:, :, :first]
            if first < new:
                for start in (0, self.capacity):
                    kept[:, :, start : start + new - first] = fresh[:, :, first:]
        self.length += new
        seen = self.reach(self.length - 1)
        end = (self.length - 1) % self.capacity + 1 + self.capacity
        return Past(
            self._k_bhnd[:, :, end - seen : end],
            self._v_bhnd[:, :, end - seen : end],
            range(self.length - seen, self.length),
        )
