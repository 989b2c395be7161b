"""Memory in huge pages.

Keys and values of the past are read from end to end for every token. In pages of 4 kB the processor stops at every
border to ask for the next page; in pages of 2 MB it does not.
"""

import ctypes
import math
import mmap

import torch
from torch import Tensor

_HUGE_PAGE = 2 * 2**20


def empty(shape: tuple[int, ...], *, device: torch.device | str | None, dtype: torch.dtype | None) -> Tensor:
    """`torch.empty`, in huge pages where it is large, on a CPU, and the system (Linux) has them to give."""
    like = torch.empty(0, device=device, dtype=dtype)
    size = math.prod(shape) * like.element_size()
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    if not like.is_cpu or advice is None or size < _HUGE_PAGE:
        return like.new_empty(shape)
    room = torch.empty(size + _HUGE_PAGE, dtype=torch.uint8, device=like.device)
    first = -room.data_ptr() % _HUGE_PAGE
    whole = ctypes.c_size_t(size // _HUGE_PAGE * _HUGE_PAGE)
    ctypes.CDLL(None).madvise(ctypes.c_void_p(room.data_ptr() + first), whole, advice)  # may be refused: no harm
    return room[first : first + size].view(like.dtype).view(shape)
