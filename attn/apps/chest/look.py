"""What `attn look` sees of a classifier of radiographs: images as batches, classes as answers, the body's smallest map.

Research use, not a medical device.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from attn.apps.chest.predict import ChestPredictor
from attn.apps.chest.read import Reading
from attn.core.attention.watch import record
from attn.data_adapters.dicom.studies import list_entries
from attn.look.layout import on_grid
from attn.look.probe import MOST_EXAMPLES, Batch, Probe


def probe(folder: Path, device: str | None = None) -> Probe:
    """A chest model to look into. Raises ModelError."""
    predictor = ChestPredictor.load(folder, device)
    model, reading = predictor.model, Reading()

    def read(inputs: Sequence[str]) -> list[Batch]:
        frames = (frame for entry in list_entries(inputs) for frame in reading.frames(entry))
        radiographs = list(islice(frames, MOST_EXAMPLES))
        if not radiographs:
            return []
        x_b1ss = predictor.tensor(radiographs)
        with torch.inference_mode(), record(model, (), outputs="body.bottleneck") as seen:
            model.attend(x_b1ss[:1])
        lines, columns = seen.outputs["body.bottleneck"].shape[2:]
        shown = (x_b1ss * 255).round().byte().permute(0, 2, 3, 1).expand(-1, -1, -1, 3).cpu().numpy()
        layouts = {"body.*": on_grid(lines, columns)}
        return [Batch(tuple(each.id for each in radiographs), (x_b1ss,), layouts, pictures=tuple(shown))]

    def log_p(x_b1ss: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B R K"]:
        logits_bk: Tensor = model(x_b1ss)
        if predictor.exclusive:
            return logits_bk.log_softmax(-1)[:, None]
        return torch.stack([F.logsigmoid(-logits_bk), F.logsigmoid(logits_bk)], dim=-1)

    if predictor.exclusive:
        answers, labels = "the class of a radiograph; the true class is the one that the model says", predictor.labels
    else:
        findings = ", ".join(predictor.labels)
        answers, labels = f"for each finding ({findings}) whether it is there, as the model says", ["absent", "present"]
    return Probe("chest", predictor.record.name, model, read, log_p, answers, tuple(labels))
