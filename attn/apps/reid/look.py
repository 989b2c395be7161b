"""What `attn look` sees of a model that tells individuals apart: photographs as batches, the classifier as the answer.

A model of individuals answers, for looking inside, with which individual of its training a photograph resembles.
"""

from collections.abc import Sequence
from pathlib import Path

from attn.apps.reid.predict import ReIDPredictor, read_source
from attn.apps.reid.queries import list_photographs
from attn.apps.reid.variants import PLAIN
from attn.look.layout import on_grid
from attn.look.probe import MOST_EXAMPLES, Batch, Probe


def probe(folder: Path, device: str | None = None) -> Probe:
    """A re-identification model to look into. Raises ModelError."""
    predictor = ReIDPredictor.load(folder, device)
    model = predictor.model

    def read(inputs: Sequence[str]) -> list[Batch]:
        paths = list_photographs(inputs)[:MOST_EXAMPLES]
        if not paths:
            return []
        x_b3st = predictor.tensor([read_source(path) for path in paths])
        shown = (x_b3st * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        lines, columns = model.config.grid
        layouts = {
            "vit.*": on_grid(lines, columns, class_token=model.config.mixer == PLAIN),
            "local.*": on_grid(lines, columns, class_token=True),
        }
        return [Batch(tuple(map(str, paths)), (x_b3st,), layouts, pictures=tuple(shown))]

    if model.config.task == "classify":
        answers = "the class of a photograph; the true class is the one that the model says"
    else:
        answers = "which individual of the training a photograph resembles most, as the model says"
    return Probe(
        "reid",
        predictor.record.name,
        model,
        read,
        lambda x_b3st: model.probabilities(x_b3st).clamp(min=1e-30).log()[:, None],
        answers,
        tuple(predictor.labels),
    )
