"""What a map over an image says about a model's answer: occlusion, deletion and insertion, the border's share.

A map that looks sensible may have nothing to do with the answer. Deletion takes the places away that a map ranks
highest, insertion gives them first: of a map that says something, the answer falls and rises faster than of random ones
(Petsiuk et al. 2018, RISE, arXiv:1806.07421, section 4.3). A map that stays when the weights are shuffled shows the
image and not what was learned (Adebayo et al. 2018, arXiv:1810.03292, section 3).

Shapes: B batch, C channels, S side, G cells along a side, M random maps, T shares of the image, 0 to 1.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

Network = TypeVar("Network", bound=nn.Module)
Answer = Callable[[Float[Tensor, "B C S S"]], Float[Tensor, " B"]]
"""The probability that is explained, for a batch of images."""

PATCH = 0.2  # side of the occluding patch, as a share of the image's
STEPS = 12  # positions of the patch along each axis
CELLS = 14  # along each axis: what deletion and insertion take away and give at once
# Of the image, what is taken away or given. The first are small: a tenth of all smooth random maps reach a
# place of a few cells within their first tenth, and would count as good as the map of that very place.
SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)
RANDOM = 39  # random maps
CHANCE = 0.05  # that a random map beats the others: of 39, one may be as good
COARSE = 5  # random maps are this coarse, so that they are as smooth as those of models
BATCH = 32


def occlusion_map(
    answer: Answer, x_1css: Float[Tensor, "1 C S S"], fill: Float[Tensor, "C #S #S"]
) -> Float[Tensor, "S S"]:
    """What the answer loses when a patch of `fill` covers a pixel, a mean over the patches that cover it.

    Zeiler and Fergus 2014, arXiv:1311.2901, section 4.2.
    """
    side = x_1css.shape[-1]
    patch = max(1, round(PATCH * side))
    starts = sorted({round(start) for start in np.linspace(0, side - patch, STEPS)})
    corners = [(top, left) for top in starts for left in starts]
    covered = x_1css.repeat(len(corners), 1, 1, 1)
    fill_css = fill.expand(x_1css.shape[1:])
    for image, (top, left) in zip(covered, corners, strict=True):
        here = (slice(None), slice(top, top + patch), slice(left, left + patch))
        image[here] = fill_css[here]
    lost = answer(x_1css)[0] - torch.cat([answer(part) for part in torch.split(covered, BATCH)])
    total, count = x_1css.new_zeros(side, side), x_1css.new_zeros(side, side)
    for value, (top, left) in zip(lost, corners, strict=True):
        total[top : top + patch, left : left + patch] += value
        count[top : top + patch, left : left + patch] += 1
    return total / count


def outside_centre(map_ss: Float[Tensor, "S S"], central: float = 0.8) -> float:
    """The share of a map, less its minimum, outside the square of `central` of the side; an even map has 1 - central².

    An even map has no share: NaN.
    """
    weight_ss = map_ss.double() - map_ss.min()
    border = round(map_ss.shape[-1] * (1 - central) / 2)
    inner = weight_ss[border : map_ss.shape[0] - border, border : map_ss.shape[1] - border]
    return float(1 - inner.sum() / weight_ss.sum()) if weight_ss.sum() > 0 else float("nan")


@dataclass(frozen=True)
class Curves:
    """The answer by the share of the image (SHARES) that was taken away (`deletion`) and given (`insertion`)."""

    deletion: Float[np.ndarray, "*M T"]
    insertion: Float[np.ndarray, "*M T"]

    @property
    def areas(self) -> tuple[Float[np.ndarray, "*M"], Float[np.ndarray, "*M"]]:
        """Area under deletion (low is good) and under insertion (high is good)."""
        return _area(self.deletion), _area(self.insertion)

    @property
    def score(self) -> Float[np.ndarray, "*M"]:
        """Area under insertion minus area under deletion, from -1 to 1: the larger, the more the map says."""
        deletion, insertion = self.areas
        return np.asarray(insertion - deletion)

    def beats(self, random: "Curves") -> bool:
        """Whether this map says more than random ones, of which it would be one with a chance of at most CHANCE.

        It is the rank test of Monte Carlo (Davison and Hinkley 1997, section 4.2): 1 + the random maps that are at
        least as good, of 1 + all of them. A map that says nothing fails, whatever the shape of the scores.
        """
        as_good = int((~(self.score > random.score)).sum())
        return bool(1 + as_good <= CHANCE * (1 + len(random.score)))


def deletion_insertion(
    answer: Answer,
    x_1css: Float[Tensor, "1 C S S"],
    blank: Float[Tensor, "C #S #S"],
    map_ss: Float[Tensor, "S S"],
) -> Curves:
    """The curves of one map. What is taken away, or not yet given, shows `blank`.

    Cells of the image go in the order of the map's mean over them, the highest first.
    """
    cells = F.adaptive_avg_pool2d(map_ss[None, None].float(), CELLS).flatten()
    # Equal cells go in an order that means nothing: row by row, a map of one place would go on at the top.
    order = torch.randperm(len(cells), generator=torch.Generator().manual_seed(0)).to(cells.device)
    rank = order[cells[order].argsort(descending=True, stable=True)]
    return _curves(answer, x_1css, blank, rank[None])[0]


def random_curves(
    answer: Answer, x_1css: Float[Tensor, "1 C S S"], blank: Float[Tensor, "C #S #S"], seed: int = 0
) -> Curves:
    """The curves of RANDOM smooth random maps, (M, T) each."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(RANDOM, 1, COARSE, COARSE, generator=generator)
    maps = F.interpolate(coarse, size=(CELLS, CELLS), mode="bilinear", align_corners=True)
    ranks = maps.flatten(1).argsort(dim=1, descending=True, stable=True).to(x_1css.device)
    each = _curves(answer, x_1css, blank, ranks)
    return Curves(np.stack([curves.deletion for curves in each]), np.stack([curves.insertion for curves in each]))


def blurred(x_bcss: Float[Tensor, "B C S S"], share: float = 0.1) -> Float[Tensor, "B C S S"]:
    """A Gaussian blur with a deviation of `share` of the side: the picture without what a model could find in it."""
    side = x_bcss.shape[-1]
    reach = min(round(3 * share * side), side - 1)
    offset = torch.arange(-reach, reach + 1, device=x_bcss.device, dtype=x_bcss.dtype)
    kernel = torch.exp(-((offset / (share * side)) ** 2) / 2)
    kernel = (kernel / kernel.sum()).expand(x_bcss.shape[1], 1, -1)
    rows = F.pad(x_bcss, (reach, reach, 0, 0), mode="reflect")
    rows = F.conv2d(rows, kernel[:, :, None, :], groups=x_bcss.shape[1])
    columns = F.pad(rows, (0, 0, reach, reach), mode="reflect")
    return F.conv2d(columns, kernel[:, :, :, None], groups=x_bcss.shape[1])


def shuffled(model: Network, seed: int = 0) -> Network:
    """A copy of `model` in which the entries of every parameter are in another order: what was learned is gone."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return other


def _curves(
    answer: Answer, x_1css: Float[Tensor, "1 C S S"], blank: Float[Tensor, "C #S #S"], ranks: Int[Tensor, "M G2"]
) -> list[Curves]:
    """The curves of each order of the cells."""
    side, cells = x_1css.shape[-1], ranks.shape[1]
    blank_1css = blank.expand_as(x_1css)
    # All curves have the same ends: the image, and the blank.
    whole, nothing = np.split(_answers(answer, torch.cat([x_1css, blank_1css])), 2)
    reached = cells * torch.tensor(SHARES[1:-1], device=ranks.device).view(-1, 1, 1, 1)
    found = []
    for rank in ranks:
        place = torch.empty_like(rank)
        place[rank] = torch.arange(cells, device=rank.device)  # when the turn of each cell is
        place_ss = F.interpolate(place.view(1, 1, CELLS, CELLS).float(), size=(side, side), mode="nearest")
        gone = place_ss < reached  # (T - 2, 1, S, S)
        pictures = torch.cat([torch.where(gone, blank_1css, x_1css), torch.where(gone, x_1css, blank_1css)])
        taken, given = np.split(_answers(answer, pictures), 2)
        found.append(Curves(np.concatenate([whole, taken, nothing]), np.concatenate([nothing, given, whole])))
    return found


def _answers(answer: Answer, x_bcss: Float[Tensor, "B C S S"]) -> Float[np.ndarray, " B"]:
    parts = torch.cat([answer(part) for part in torch.split(x_bcss, BATCH)])
    return np.asarray(parts.double().cpu().numpy())


def _area(curve: Float[np.ndarray, "*M T"]) -> Float[np.ndarray, "*M"]:
    return np.asarray(np.trapezoid(curve, SHARES, axis=-1))
