"""Write a click model as ONNX, from ids to the calibrated probability, or as a folder that scores rows without attn.

Shapes: B rows, C columns of ids, M numbers.
"""

import json
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from attn.apps.ctr.model import AutoInt
from attn.apps.ctr.predict import CTRPredictor
from attn.apps.ctr.serving.vocabulary import field_tables
from attn.core.errors import UsageError
from attn.core.files import claim, replacing
from attn.core.models.onnx import write_onnx

BATCHES = (1, 3, 16)
MODEL, VOCABULARY, SCRIPT, GUIDE = "model.onnx", "vocabulary.json", "score.py", "README.md"
SERVING = Path(__file__).with_name("serving")


class Scorer(nn.Module):
    """Ids and numbers to the calibrated probability of a click. A model may lack one of the two inputs."""

    def __init__(self, model: AutoInt, slope: float, intercept: float, *, ids: bool, numbers: bool) -> None:
        super().__init__()
        self.model, self.slope, self.intercept = model, slope, intercept
        self.ids, self.numbers = ids, numbers

    def forward(self, first: Tensor, second: Tensor | None = None) -> Tensor:
        """Probabilities (B,). If the model has both inputs, `first` are the ids and `second` the numbers."""
        numbers = first if second is None else second
        ids_bc = first if self.ids else first.new_zeros((first.shape[0], 0), dtype=torch.int64)
        numbers_bm = numbers if self.numbers else self.model.out.weight.new_zeros((first.shape[0], 0))
        return cast(Tensor, (self.slope * self.model(ids_bc, numbers_bm) + self.intercept).sigmoid())


def export(predictor: CTRPredictor, out: Path) -> float:
    """Write an .onnx file, or a folder with this file, the vocabulary and a script.

    The inputs of the file are `ids` int64 (B, C) and `numbers` float32 (B, M). Its output is `probability` (B,).
    Returns the largest difference between the file's answers and the model's at batch 1, 3 and 16, with missing numbers
    among the inputs. Raises UsageError when `out` is a file that does not end in .onnx, ModelError when the model
    cannot be exported.
    """
    if out.suffix == ".onnx":
        return _write_model(predictor, out)
    if out.is_file():
        raise UsageError("is a file", where=out, hint="give a folder, or a name that ends in .onnx")
    claim(out)
    difference = _write_model(predictor, out / MODEL)
    with replacing(out / VOCABULARY) as part:
        part.write_text(json.dumps(vocabulary(predictor), ensure_ascii=False) + "\n", encoding="utf-8")
    for name in (SCRIPT, GUIDE):
        with replacing(out / name) as part:
            shutil.copyfile(SERVING / name, part)
    return difference


def vocabulary(predictor: CTRPredictor) -> dict[str, Any]:
    """The tables that turn a row into ids and numbers. The README.md of the folder explains them."""
    return {"label": predictor.label, "fields": field_tables(predictor.codebook)}


def _write_model(predictor: CTRPredictor, path: Path) -> float:
    ids, numbers = _widths(predictor)
    scorer = Scorer(predictor.model, predictor.slope, predictor.intercept, ids=ids > 0, numbers=numbers > 0)

    def inputs(batch: int, generator: torch.Generator) -> dict[str, Tensor]:
        rows = predictor.model.config.rows
        numbers_bm = 3 * torch.randn(batch, numbers, generator=generator)
        numbers_bm[torch.rand(batch, numbers, generator=generator) < 0.2] = torch.nan
        device = predictor.model.out.weight.device
        made = {"ids": torch.randint(rows, (batch, ids), generator=generator), "numbers": numbers_bm}
        return {name: tensor.to(device) for name, tensor in made.items() if tensor.shape[1]}

    def difference(session: onnxruntime.InferenceSession) -> float:
        generator, largest = torch.Generator().manual_seed(0), 0.0
        for batch in BATCHES:
            given = inputs(batch, generator)
            (theirs,) = session.run(None, {name: tensor.cpu().numpy() for name, tensor in given.items()})
            ours = cast(Tensor, scorer(*given.values())).cpu().numpy()
            largest = max(largest, float(np.abs(theirs - ours).max()))
        return largest

    example = inputs(2, torch.Generator().manual_seed(1))
    free = {name: {0: "batch"} for name in example}
    metadata = {"label": predictor.label, "model": predictor.record.name}
    return write_onnx(scorer, example, ["probability"], path, difference, free=free, metadata=metadata)


def _widths(predictor: CTRPredictor) -> tuple[int, int]:
    places = predictor.codebook.places
    ids = sum(place.width for place in places if place.field.kind != "number")
    return ids, sum(place.field.kind == "number" for place in places)
