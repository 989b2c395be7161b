"""The encoder as an ONNX file: pixels in, vectors whose products are cosines out; or class probabilities.

Shapes: B batch, S model height, T model width, F embedding width, K classes.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attn.apps.reid.predict import ReIDPredictor
from attn.core.models.onnx import to_onnx

BATCHES = (1, 3, 16)


class Deployed(nn.Module):
    """Display pixels (B, 3, S, T) in 0..1 to vectors (B, F) of length 1, or to probabilities (B, K)."""

    def __init__(self, predictor: ReIDPredictor) -> None:
        super().__init__()
        self.model, self.sa_only = predictor.model, predictor.sa_only

    def forward(self, x_b3st: Float[Tensor, "B 3 S T"]) -> Float[Tensor, "B _"]:
        """The answer of the model's task."""
        if self.model.config.task == "classify":
            return self.model.probabilities(x_b3st, sa_only=self.sa_only)
        return self.model.embed(x_b3st, sa_only=self.sa_only)


def export(predictor: ReIDPredictor, path: Path) -> float:
    """Write `path`; the largest absolute difference to PyTorch over BATCHES.

    The file's metadata names the app, the model, its fingerprint and the preprocessing (JSON).
    """
    height, width = predictor.preprocessing.size
    example = torch.rand(2, 3, height, width, device=predictor.model.vit.positions.device)
    metadata = {
        "app": "reid",
        "model": predictor.record.name,
        "fingerprint": predictor.id.fingerprint,
        "preprocessing": predictor.preprocessing.model_dump_json(),
    }
    return to_onnx(Deployed(predictor).eval(), example, path, BATCHES, input_name="image", metadata=metadata)
