"""What a pass costs, counted and not timed: its products, and the most bytes of tensors alive at once.

Products are those of torch's own counter. Both are the same on every machine, also where nothing is computed.
"""

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode


class Count(NamedTuple):
    """operations: multiplications and additions of matrix products and convolutions; peak: bytes."""

    operations: int
    peak: int


def count(call: Callable[[], Any]) -> Count:
    """What `call` costs beyond the tensors that exist before it; what a fused kernel keeps inside is not seen."""
    with FlopCounterMode(display=False) as products, LiveBytes() as live:
        kept = call()
    del kept
    return Count(int(products.get_total_flops()), live.peak)


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches the memory behind the results of operations for as long as somebody holds it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive = self.peak = 0
        self._seen: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and note the memory that is new."""
        before = {id(value.untyped_storage()) for value in tree_iter((args, kwargs)) if isinstance(value, Tensor)}
        result = func(*args, **kwargs or {})
        for value in tree_iter(result):
            if isinstance(value, Tensor):
                self._note(value.untyped_storage(), before)
        return result

    def _note(self, storage: Any, before: set[int]) -> None:
        if id(storage) in before or id(storage) in self._seen:
            return
        self._seen[id(storage)] = storage.nbytes()
        self.alive += storage.nbytes()
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._gone, id(storage))

    def _gone(self, key: int) -> None:
        self.alive -= self._seen.pop(key)
