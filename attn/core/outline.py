"""A network without memory: its parameters have shapes and no values, so that a look at it costs nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_DRAWS = frozenset([Tensor.normal_, Tensor.uniform_])


@contextmanager
def outline() -> Iterator[None]:
    """Networks that are built in this block are outlines, on the meta device."""
    with torch.device("meta"), _NothingDrawn():
        yield


class _NothingDrawn(TorchFunctionMode):
    """Initial weights are not drawn. On the meta device torch would import its compiler for that, a second or more."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func`, unless it fills a tensor with initial numbers."""
        if getattr(func, "__module__", "") == "torch.nn.init" or func in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))
