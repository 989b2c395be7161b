"""A linear map under which pictures of one class lie close: where a training from frozen features begins.

    maximise w' T w  with  w' S w = 1,   S = (1 - s) W + s tr(W) / C,   W the scatter within classes, T that of all

With T in the place of the scatter between classes this is linear discriminant analysis (Fisher 1936) that still has an
order where there are fewer classes than directions; the shrinkage s is that of Friedman 1989.

Shapes: N pictures, C features, D directions, K classes.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.linalg import eigh
from torch import Tensor

SHRINKAGE = 0.7


def discriminant(
    x_nc: Float[Tensor, "N C"], class_n: Int[Tensor, " N"], directions: int
) -> tuple[Float[Tensor, "D C"], Float[Tensor, " C"]]:
    """The directions, the most telling first, and the mean of all; the images of `x_nc` have a mean square of 1.

    Raises ValueError where all pictures are alike.
    """
    x = x_nc.double().cpu().numpy()
    mean_c = x.mean(axis=0)
    x = x - mean_c
    _, code_n = np.unique(class_n.cpu().numpy(), return_inverse=True)
    centre_kc = np.zeros((code_n.max() + 1, x.shape[1]))
    np.add.at(centre_kc, code_n, x)
    residual = x - (centre_kc / np.bincount(code_n)[:, None])[code_n]
    within, total = residual.T @ residual / len(x), x.T @ x / len(x)
    size = np.trace(within) or np.trace(total)  # of single pictures the scatter within is 0
    if not size > 0:
        raise ValueError("all pictures are alike")
    shrunk = (1 - SHRINKAGE) * within + SHRINKAGE * size / len(within) * np.eye(len(within))
    _, w_cd = eigh(total, shrunk, subset_by_index=(len(within) - directions, len(within) - 1))
    w_cd = w_cd[:, ::-1] / np.sqrt(np.square(x @ w_cd).mean())
    return torch.from_numpy(w_cd.T.copy()).float(), torch.from_numpy(mean_c).float()
