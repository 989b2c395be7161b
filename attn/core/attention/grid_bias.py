"""Relative position tables on a grid.

    bias[h, i, j] = table[h, y_i - y_j + H - 1, x_i - x_j + W - 1]

for tokens i, j of an H x W grid in raster order: one learned number per head and offset, as in CoAtNet (Dai
et al. 2021, section 2.1) and Swin (Liu et al. 2021, equation 4).

Shapes: heads, grid height H and width W, L = H·W tokens, table (heads, 2H-1, 2W-1).
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def grid_bias(table_hyx: Float[Tensor, "heads Y X"], size: tuple[int, int]) -> Float[Tensor, "heads L L"]:
    """The bias of a grid of `size` (H, W) from a table; exact when the table was made for that size.

    For another size the table is resized first (`resize_table`).
    """
    height, width = size
    table_hyx = resize_table(table_hyx, size)
    # Window (y, x) of the table holds the biases of query (y, x), its keys in reverse raster order.
    windows = table_hyx.unfold(1, height, 1).unfold(2, width, 1).flip(-2, -1)
    return windows.reshape(-1, height * width, height * width)


def resize_table(table_hyx: Float[Tensor, "heads Y X"], size: tuple[int, int]) -> Float[Tensor, "heads Y2 X2"]:
    """A table for a grid of `size`, bicubic with corners not aligned; the table itself if it fits already.

    Offsets scale by (2·new - 1) / (2·old - 1), close to the ratio of the sizes: the same scene seen with more
    or fewer tokens. Offset 0 stays offset 0.
    """
    target = (2 * size[0] - 1, 2 * size[1] - 1)
    if tuple(table_hyx.shape[1:]) == target:
        return table_hyx
    return F.interpolate(table_hyx[None], target, mode="bicubic", align_corners=False)[0]
