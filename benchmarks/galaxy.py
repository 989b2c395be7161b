"""Speed of the galaxy app, side by side with timm's CoAtNet of the same configuration, in one run.

    uv run python benchmarks/galaxy.py

Three questions, each a ratio of medians over runs that alternate between the two sides:
forward images/s at batch 1 and 16 (this package folds batch norms and keeps channels last; timm as it is built);
prediction from FITS files on disk against the forward pass alone; training images/s.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from astropy.io import fits
from rows import keep
from timm.models.maxxvit import MaxxVit, MaxxVitCfg
from torch import nn
from torch.nn import functional as F

from attn.apps.galaxy.model import Astroformer, AstroformerConfig, variant
from attn.apps.galaxy.predict import GalaxyPredictor
from attn.core.blocks.convolution import fold_batch_norms
from attn.core.models.folder import ModelRecord

SIDES = {"nano": 64, "A-0": 256}


def coatnet(config: AstroformerConfig) -> nn.Module:
    """timm's CoAtNet with the widths, depths, layout and head of `config`."""
    cfg = MaxxVitCfg(
        embed_dim=config.widths,
        depths=config.depths,
        block_type=tuple(config.layout),
        stem_width=config.stem,
        head_hidden_size=config.head,
    )
    return MaxxVit(cfg, img_size=config.image_size, num_classes=config.classes, drop_rate=config.dropout)


def alternate(ours: Callable[[], None], theirs: Callable[[], None], turns: int) -> tuple[float, float]:
    """Median seconds of each, measured in turns after one warm-up."""
    times: list[tuple[float, float]] = []
    for _ in range(turns + 1):
        pair = []
        for side in (ours, theirs):
            began = time.perf_counter()
            side()
            pair.append(time.perf_counter() - began)
        times.append((pair[0], pair[1]))
    return statistics.median(t[0] for t in times[1:]), statistics.median(t[1] for t in times[1:])


def row(what: str, images: int, ours: float, theirs: float, peer: str, aim: str) -> None:
    rates = {"ours": images / ours, "theirs": images / theirs}
    keep("galaxy_speed", {"what": what, **rates, "peer": peer, "ratio": theirs / ours, "aim": aim})


def forward(name: str, turns: int) -> None:
    # timm has no stage without a stride, so the small variant is measured with the family's strides.
    config = variant(name, strides=(2, 2, 2, 2), image_size=SIDES[name])
    ours = fold_batch_norms(Astroformer(config).eval()).to(memory_format=torch.channels_last)
    theirs = coatnet(config).eval()
    for batch in (1, 16):
        x = torch.randn(batch, 3, config.image_size, config.image_size)
        with torch.inference_mode():
            a, b = alternate(lambda x=x: ours(x), lambda x=x: theirs(x), turns)
        row(f"forward, {name}, {config.image_size} px, batch {batch}", batch, a, b, "timm", "1.2")


def training(name: str, turns: int, batch: int) -> None:
    config = variant(name, strides=(2, 2, 2, 2), image_size=SIDES[name])
    x = torch.randn(batch, 3, config.image_size, config.image_size)
    y = torch.randint(config.classes, (batch,))

    def stepper(model: nn.Module) -> Callable[[], None]:
        optimizer = torch.optim.AdamW(model.parameters())

        def step() -> None:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

        return step

    ours = stepper(Astroformer(config).to(memory_format=torch.channels_last))
    a, b = alternate(ours, stepper(coatnet(config)), turns)
    row(f"training step, {name}, {config.image_size} px, batch {batch}", batch, a, b, "timm", "report")


def untrained(name: str) -> GalaxyPredictor:
    """A member of the family with random weights, which are as fast as trained ones."""
    config = variant(name)
    labels = [f"class {index}" for index in range(config.classes)]
    preprocessing = {"side": config.image_size, "mean": (0.2,) * 3, "std": (0.2,) * 3}
    record = ModelRecord(app="galaxy", name=name, architecture={}, labels=labels, preprocessing=preprocessing)
    model = fold_batch_norms(Astroformer(config).eval()).to(memory_format=torch.channels_last)
    return GalaxyPredictor(model, record)


def end_to_end(predictor: GalaxyPredictor, turns: int, files: int, tta: bool) -> None:
    """A model over FITS files on disk, against its forward pass over as many images in memory."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write_files(Path(folder), files)
        x = torch.rand(16, 3, predictor.preprocessing.side, predictor.preprocessing.side)

        def from_disk() -> None:
            assert sum(answer.error is None for answer in predictor.predict_many(paths, tta=tta)) == files

        def pure() -> None:
            for _ in range(files // 16):
                predictor.log_probabilities(x, tta=tta)

        a, b = alternate(from_disk, pure, turns)
    views = "8 views" if tta else "1 view"
    row(f"from FITS files, {predictor.record.name}, {views}", files, a, b, "forward alone", "0.8")


def write_files(folder: Path, files: int, side: int = 128) -> list[Path]:
    """Discs with noise, three bands of float32 as survey cut-outs are."""
    rng = np.random.default_rng(0)
    y, x = np.indices((side, side)) - side / 2
    paths = []
    for index in range(files):
        disc = 100 * np.exp(-np.hypot(x, y * rng.uniform(1, 3)) / rng.uniform(5, 15))
        cube = (disc + rng.normal(0, 1, (3, side, side))).astype(np.float32)
        paths.append(folder / f"{index:04}.fits")
        fits.writeto(paths[-1], cube)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--files", type=int, default=256)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name in SIDES:
        forward(name, options.turns)
    for tta in (False, True):
        end_to_end(GalaxyPredictor.load(), max(3, options.turns // 2), options.files, tta)
    end_to_end(untrained("A-0"), 3, 48, tta=False)
    training("nano", options.turns, batch=64)
    training("A-0", max(3, options.turns // 3), batch=8)


if __name__ == "__main__":
    main()
