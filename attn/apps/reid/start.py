"""What a training begins from: the weights that a model is given before the first step.

A start is a shared one (`attn.core.starts`), a ViT or DeiT of timm in a safetensors file, a model folder, or a model on
the Hub.
"""

from pathlib import Path

from attn.apps.reid.model import DCAL, DCALConfig
from attn.core import starts
from attn.core.models.folder import load_network
from attn.core.models.weights import read_tensors
from attn.core.settings import stored

SHARED = ("lite0",)
BUNDLED_MODEL = Path(__file__).with_name("weights")


def begin(model: DCAL, start: str | Path | None) -> list[str]:
    """Give `model` the weights of `start`; the names of the parameters that were learned on other data.

    Raises UsageError where the weights are of another architecture, ModelError where they cannot be read.
    """
    if start is None:
        return []
    if start in SHARED:
        return starts.begin(model, str(start))
    if str(start).endswith(".safetensors"):
        model.begin_from_timm(read_tensors(Path(start)))
        return [name for name, _ in model.named_parameters() if name.startswith(("vit.", "local."))]
    source, _, _ = load_network(
        start, "reid", lambda record: DCAL(stored(DCALConfig, record.architecture)), BUNDLED_MODEL
    )
    starts.carry_over(source, model)
    return []
