"""The galaxy classifier as an ONNX file that answers in probabilities.

Shapes: B batch, S model side, K classes.
"""

import json
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attn.apps.galaxy.predict import GalaxyPredictor
from attn.core.models.onnx import to_onnx


class Deployed(nn.Module):
    """Display pixels (B, 3, S, S) in 0..1 to calibrated probabilities (B, K): normalisation and temperature inside."""

    def __init__(self, predictor: GalaxyPredictor) -> None:
        super().__init__()
        self.model = predictor.model
        self.preprocessing = predictor.preprocessing
        self.temperature = predictor.temperature

    def forward(self, x_bcss: Float[Tensor, "B C S S"]) -> Float[Tensor, "B K"]:
        """Probabilities (B, K)."""
        logits_bk: Tensor = self.model(self.preprocessing.normalise(x_bcss))
        return (logits_bk / self.temperature).softmax(-1)


def export(predictor: GalaxyPredictor, path: Path) -> float:
    """Write `path`; the largest absolute difference to PyTorch over batches of 1, 3 and 16.

    The file's metadata names the app, the labels and the preprocessing (JSON). Raises UsageError for a model that
    answers with a number.
    """
    predictor.require_classes("export")
    side = predictor.preprocessing.side
    device = next(predictor.model.parameters()).device
    example = torch.rand(2, predictor.model.config.bands, side, side, device=device)
    metadata = {
        "app": "galaxy",
        "model": predictor.record.name,
        "labels": json.dumps(predictor.labels),
        "preprocessing": predictor.preprocessing.model_dump_json(),
    }
    return to_onnx(Deployed(predictor).eval(), example, path, input_name="image", metadata=metadata)
