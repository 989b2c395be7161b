"""Frozen backbones probed in four ways: a linear layer on the mean of the tokens, and on what learned queries pool.

uv run python benchmarks/mixers_probing.py DATA

The rows of EFIGI that the bundled galaxy model never saw, the first two thirds to learn from. The backbones are that
model's, at its own size, EfficientNet-Lite0 from ImageNet at 160 px, as the start of all image apps has it, and the
bundled re-ID model at its own size. None of them has a class token that says anything: the re-ID model has no blocks.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rows import keep
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor, nn
from torch.nn import functional as F

from attn.apps.galaxy.predict import GalaxyPredictor
from attn.apps.galaxy.read import read_cutout
from attn.apps.reid.predict import ReIDPredictor
from attn.core import starts
from attn.core.blocks.lite0 import Lite0
from attn.core.blocks.pooling import EfficientProbing
from attn.data_adapters.sky.labelled import open_galaxies

SEEDS, EPOCHS, BATCH, QUERIES, HEADS = 3, 60, 64, 16, 8
LITE0_STAGES, LITE0_SIDE = 7, 160


class Mean(nn.Module):
    """Tokens (B, N, C) to their mean."""

    def forward(self, x_bnc: Tensor) -> Tensor:
        """See above."""
        return x_bnc.mean(1)


class MultiHead(nn.Module):
    """Multi-head attention of one learned query (Chen et al. 2024, arXiv:2202.03026, the attentive probe)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Parameter(0.02 * torch.randn(1, 1, channels))
        self.attention = nn.MultiheadAttention(channels, HEADS, batch_first=True)

    def forward(self, x_bnc: Tensor) -> Tensor:
        """See above."""
        query_b1c = self.query.expand(len(x_bnc), -1, -1)
        pooled_b1c: Tensor = self.attention(query_b1c, x_bnc, x_bnc, need_weights=False)[0]
        return pooled_b1c[:, 0]


PROBES: dict[str, Callable[[int], nn.Module]] = {
    "linear on the mean": lambda _: Mean(),
    "multi-head probing": MultiHead,
    "efficient probing, 1 query": lambda channels: EfficientProbing(channels, 1),
    f"efficient probing, {QUERIES} queries": lambda channels: EfficientProbing(channels, QUERIES),
}


def probe(pool: nn.Module, x_bnc: Tensor, y_b: Tensor, learn: int, seed: int) -> tuple[float, int]:
    """Balanced accuracy on the rows after the first `learn`, and the parameters that learn."""
    classes, channels = int(y_b.max()) + 1, x_bnc.shape[-1]
    model = nn.Sequential(pool, nn.Linear(channels, classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    draw = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for rows in torch.randperm(learn, generator=draw).split(BATCH):
            loss = F.cross_entropy(model(x_bnc[rows]), y_b[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    with torch.inference_mode():
        found = model.eval()(x_bnc[learn:]).argmax(1)
    counted = sum(parameter.numel() for parameter in model.parameters())
    return float(balanced_accuracy_score(y_b[learn:], found)), counted


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    table = parser.parse_args().data / "galaxy" / "efigi" / "labels.csv"
    torch.set_num_threads(1)
    predictor = GalaxyPredictor.load(device="cpu")
    source = open_galaxies(table, image="path", label="coarse")
    held_out = set(predictor.record.data["held_out"])
    rows = [row for row, id in enumerate(source.ids) if id in held_out]
    paths = [table.parent / source.ids[row] for row in rows]
    y_b = torch.tensor([source.classes.index(source.labels[row]) for row in rows])
    learn = 2 * len(rows) // 3
    lite0 = Lite0(LITE0_STAGES).eval()
    starts.begin(lite0, "lite0")
    individuals = ReIDPredictor.load(device="cpu")
    tokens: list[Tensor] = []
    individuals.model.vit.norm.register_forward_hook(lambda module, given, out: tokens.append(out[:, 1:]))
    maps: dict[str, list[Tensor]] = {"galaxy, bundled": [], "Lite0, ImageNet": []}
    for path in paths:
        cutout = read_cutout(path, predictor.preprocessing.stretch)
        x_b3ss = predictor.preprocessing.normalise(predictor.tensor([cutout]))
        maps["galaxy, bundled"].append(predictor.model.features(x_b3ss))
        individuals.embed(path)
        pixels = np.asarray(Image.open(path).convert("RGB").resize((LITE0_SIDE, LITE0_SIDE)), np.float32)
        maps["Lite0, ImageNet"].append(lite0(torch.from_numpy((pixels - 127) / 128).permute(2, 0, 1)[None]))
    sequences = {name: torch.cat(each).flatten(2).transpose(1, 2) for name, each in maps.items()}
    for backbone, x_bnc in (sequences | {"re-ID, bundled": torch.cat(tokens)}).items():
        deviation_c, mean_c = torch.std_mean(x_bnc[:learn], (0, 1))
        x_bnc = ((x_bnc - mean_c) / deviation_c.clamp(min=1e-6)).clone()
        for name, made in PROBES.items():
            found = []
            for seed in range(SEEDS):
                torch.manual_seed(seed)
                with torch.inference_mode(mode=False), torch.enable_grad():
                    found.append(probe(made(x_bnc.shape[-1]), x_bnc.clone(), y_b.clone(), learn, seed))
            accuracies = [accuracy for accuracy, _ in found]
            keep(
                "mixers_probing",
                {
                    "what": f"{backbone}: {name}",
                    "backbone": backbone,
                    "probe": name,
                    "tokens": x_bnc.shape[1],
                    "channels": x_bnc.shape[2],
                    "rows": f"{learn} / {len(rows) - learn}",
                    "balanced_accuracy": statistics.fmean(accuracies),
                    "deviation": statistics.stdev(accuracies),
                    "parameters": found[0][1],
                },
            )


if __name__ == "__main__":
    main()
