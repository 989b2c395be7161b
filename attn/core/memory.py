"""How memory of a CPU is taken and given back.

`keep_freed_memory`: glibc returns large freed blocks to the system at once, and the next step gets them back page by
page, zeroed. In training, whose steps all ask for the same blocks, that costs a small network a fifth of its time.

`empty`: keys and values of the past are read from end to end for every token. In pages of 4 kB the processor stops at
every border to ask for the next; in those of 2 MB it does not.
"""

import ctypes
import math
import mmap
import sys

import torch
from torch import Tensor

# From malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_LARGEST = 2**31 - 1

_HUGE_PAGE = 2 * 2**20


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed, for the rest of the process; whether there is a glibc to tell."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another libc
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _LARGEST), (_M_TOP_PAD, 64 * 2**20))
    return all(mallopt(name, value) == 1 for name, value in settings)


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
