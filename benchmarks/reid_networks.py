"""What DCAL is compared with: floors that learn nothing of individuals, and networks without attention.

Shapes: B batch, S and T the sides of an image, F features, K classes.
"""

from collections.abc import Callable

import numpy as np
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attn.apps.reid.model import DCAL, PIXELS, Branches, Head
from attn.apps.reid.preprocess import to_unit
from attn.apps.reid.start import begin
from attn.apps.reid.variants import DCALConfig, variant
from attn.core import starts
from attn.core.blocks.lite0 import Lite0

Size = tuple[int, int]
HYBRIDS = {
    "hybrid, self-attention": {"local": None, "pairs": False},
    "hybrid, DCAL (both)": {},
    "hybrid, + GLCA": {"pairs": False},
    "hybrid, + PWCA": {"local": None},
}
PROJECTED, FINE_TUNED, SCRATCH = "Lite0 projected", "Lite0 fine-tuned", "ResNet-18 from scratch"


class Plain(nn.Module):
    """A convolution network, the mean of its last map, and the head of DCAL: the same losses, no attention."""

    def __init__(self, body: nn.Module, width: int, pixels: str, config: DCALConfig) -> None:
        super().__init__()
        self.config, self.pixels = config, pixels
        self.body = body
        self.head = Head(width, config.classes, neck=True)

    def branches(self, x_b3st: Tensor, partners: Tensor | None = None) -> Branches:
        assert partners is None
        return Branches(self.head(features(self.body, x_b3st, self.pixels)), None, None)

    def embed(self, x_b3st: Tensor) -> Tensor:
        return F.normalize(self.branches(x_b3st).sa.necked_bc, dim=1)


def features(body: nn.Module, x_b3st: Tensor, pixels: str) -> Tensor:
    mean, deviation = (x_b3st.new_tensor(each)[:, None, None] for each in PIXELS[pixels])
    x_b3st = ((x_b3st - mean) / deviation).contiguous(memory_format=torch.channels_last)
    out: Tensor = body(x_b3st).mean((2, 3))
    return out


def network(name: str, size: Size, classes: int, **changes: object) -> tuple[nn.Module, list[str]]:
    """A network of a row, begun where there is a start, and the names of its parameters that were."""
    if name == SCRATCH:
        body = timm.create_model("resnet18", num_classes=0, global_pool="")
        lone = DCALConfig(image_size=size, local=None, pairs=False, classes=classes)
        return Plain(body, 512, "patches", lone).to(memory_format=torch.channels_last), []
    family, own = ("hybrid", HYBRIDS[name]) if name in HYBRIDS else ("lite0", {})
    model = DCAL(variant(family, image_size=size, classes=classes, **own, **changes))
    return model.to(memory_format=torch.channels_last), begin(model, "lite0")


def hog(pixels_n3st: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients (Dalal and Triggs 2005): cells of 16 px, 9 directions, blocks of 2 x 2."""
    found = []
    for picture in pixels_n3st:
        grey = picture.astype(np.float32).mean(0)
        down, across = np.gradient(grey)
        strength, angle = np.hypot(across, down), np.mod(np.arctan2(down, across), np.pi) / np.pi * 9
        low = np.floor(angle).astype(int)
        share = angle - low
        rows, columns = grey.shape[0] // 16, grey.shape[1] // 16
        cells = np.zeros((rows, columns, 9), np.float32)
        place = np.indices(grey.shape) // 16
        for bins, weight in ((low % 9, 1 - share), ((low + 1) % 9, share)):
            np.add.at(cells, (place[0], place[1], bins), strength * weight)
        blocks = np.concatenate([cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]], axis=2)
        blocks /= np.linalg.norm(blocks, axis=2, keepdims=True) + 1e-3
        blocks = np.minimum(blocks, 0.2)
        blocks /= np.linalg.norm(blocks, axis=2, keepdims=True) + 1e-3
        found.append(blocks.ravel())
    return np.stack(found)


@torch.inference_mode()
def frozen_lite0(pixels_n3st: np.ndarray) -> np.ndarray:
    """The mean of the last map of EfficientNet-Lite0 as ImageNet left it."""
    body = Lite0()
    starts.begin(body, "lite0")
    body = body.eval().to(memory_format=torch.channels_last)
    parts = np.array_split(pixels_n3st, max(1, len(pixels_n3st) // 32))
    return torch.cat([features(body, to_unit(torch.from_numpy(part)), "lite0") for part in parts]).numpy()


FLOORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"HOG": hog, "frozen Lite0": frozen_lite0}
