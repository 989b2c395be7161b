"""The galaxy classifier as an ONNX file that answers in probabilities, or as a folder that reads files without attn.

Shapes: B batch, S model side, K classes.
"""

import json
import shutil
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attn.apps.galaxy.predict import GalaxyPredictor
from attn.core.errors import UsageError
from attn.core.files import claim, replacing
from attn.core.models.onnx import to_onnx
from attn.data_adapters.sky import background, framing

MODEL = "model.onnx"
SERVING = Path(__file__).with_name("serving")
BESIDE = (SERVING / "score.py", Path(framing.__file__), Path(background.__file__))
"""What a folder has besides the model: the script, and the files of attn that it uses."""


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


def export(predictor: GalaxyPredictor, out: Path) -> float:
    """Write an .onnx file, or a folder with this file and a script that reads, stretches and frames what it is given.

    The largest absolute difference to PyTorch over batches of 1, 3 and 16. The file's metadata names the app, the
    labels and the preprocessing (JSON). Raises UsageError where `out` is a file that does not end in .onnx, and
    for a model that answers with a number.
    """
    predictor.require_classes("export")
    if out.suffix == ".onnx":
        return _write_model(predictor, out)
    if out.is_file():
        raise UsageError("is a file", where=out, hint="give a folder, or a name that ends in .onnx")
    claim(out)
    difference = _write_model(predictor, out / MODEL)
    for source in BESIDE:
        with replacing(out / source.name) as part:
            shutil.copyfile(source, part)
    return difference


def _write_model(predictor: GalaxyPredictor, path: Path) -> float:
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
