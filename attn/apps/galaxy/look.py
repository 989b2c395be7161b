"""What `attn look` sees of a galaxy classifier: cut-outs as batches, the class as answer, the last map as a grid."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch

from attn.apps.galaxy.predict import GalaxyPredictor
from attn.apps.galaxy.read import list_sources, read_cutout
from attn.look.layout import on_grid
from attn.look.probe import MOST_EXAMPLES, Batch, Probe


def probe(folder: Path, device: str | None = None) -> Probe:
    """A galaxy model to look into. Raises ModelError, and UsageError for a model that answers with a number."""
    predictor = GalaxyPredictor.load(folder, device)
    predictor.require_classes("look")
    normalise = predictor.preprocessing.normalise

    def read(inputs: Sequence[str]) -> list[Batch]:
        sources, _ = list_sources(inputs, predictor.preprocessing.stretch)
        cutouts = [read_cutout(each, predictor.preprocessing.stretch) for each in islice(sources, MOST_EXAMPLES)]
        if not cutouts:
            return []
        x_bcss = predictor.tensor(cutouts)
        with torch.inference_mode():
            grid = predictor.model.features(normalise(x_bcss[:1])).shape[2:]
        shown = (x_bcss * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        layouts = {"stages.*": on_grid(grid[0], grid[1])}
        return [Batch(tuple(each.id for each in cutouts), (x_bcss,), layouts, pictures=tuple(shown))]

    return Probe(
        "galaxy",
        predictor.record.name,
        predictor.model,
        read,
        lambda x_bcss: predictor.model(normalise(x_bcss)).log_softmax(-1)[:, None],
        "the class of a galaxy; the true class is the one that the model says",
        tuple(predictor.labels),
    )
