"""A model of radiographs as one ONNX file: probabilities, and how little an image looks like a frontal chest.

Research use, not a medical device.

Shapes: B batch, S model side, K classes, G scores of the gate.
"""

import json
from pathlib import Path

import onnxruntime
import torch
from jaxtyping import Float
from torch import Tensor, nn

from attn.apps.chest.gate import SCORES
from attn.apps.chest.predict import ChestPredictor
from attn.core.models.onnx import write_onnx

INPUT, PROBABILITIES, SCORE = "image", "probabilities", "gate"
BATCHES = (1, 3, 16)


class Deployed(nn.Module):
    """Pixels (B, 1, S, S) in 0..1 to calibrated probabilities (B, K), and scores (B, G) where there is a gate.

    A score above 0 is the flag of `gate.SCORES`. The two inputs of the network, the temperature and the shift are
    inside.
    """

    def __init__(self, predictor: ChestPredictor) -> None:
        super().__init__()
        self.model, self.gate = predictor.model, predictor.gate
        self.calibration, self.exclusive = predictor.calibration, predictor.exclusive

    def forward(self, x_b1ss: Float[Tensor, "B 1 S S"]) -> tuple[Tensor, ...]:
        """Probabilities, and the gate's scores if there is a gate."""
        map_bchw = self.model.features(x_b1ss)
        logits_bk = self.model.classify(self.model.head.embed(map_bchw))
        p_bk = self.calibration.probabilities(logits_bk, exclusive=self.exclusive)
        return (p_bk,) if self.gate is None else (p_bk, self.gate(map_bchw, x_b1ss))


def export(predictor: ChestPredictor, path: Path) -> float:
    """Write `path`; the largest absolute difference of a probability to PyTorch over batches of 1, 3 and 16.

    The file's metadata names the app, the labels, the preprocessing, the flag of each score, the operating points, and
    the use (JSON where it is no plain text).
    """
    side = predictor.preprocessing.side
    deployed = Deployed(predictor).eval()
    device = next(predictor.model.parameters()).device

    def difference(session: onnxruntime.InferenceSession) -> float:
        generator = torch.Generator().manual_seed(0)
        largest = 0.0
        for batch in BATCHES:
            x_b1ss = torch.rand(batch, 1, side, side, generator=generator)
            theirs, *_ = session.run(None, {INPUT: x_b1ss.numpy()})
            ours_bk = deployed(x_b1ss.to(device))[0].cpu()
            largest = max(largest, float((torch.from_numpy(theirs) - ours_bk).abs().max()))
        return largest

    points = {label: point.model_dump() for label, point in predictor.calibration.operating_points.items()}
    metadata = {
        "app": "chest",
        "model": predictor.record.name,
        "use": "research use, not a medical device",
        "labels": json.dumps(predictor.labels),
        "preprocessing": predictor.preprocessing.model_dump_json(),
        "operating_points": json.dumps(points),
        "gate": json.dumps([] if predictor.gate is None else SCORES),
    }
    return write_onnx(
        deployed,
        {INPUT: torch.rand(2, 1, side, side, device=device)},
        [PROBABILITIES] if predictor.gate is None else [PROBABILITIES, SCORE],
        path,
        difference,
        free={INPUT: {0: "batch"}},
        metadata=metadata,
    )
