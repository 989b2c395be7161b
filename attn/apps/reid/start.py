"""What a training begins from: the architecture to train, and the weights it is given before the first step.

A start is a shared one (`attn.core.starts`), a ViT or DeiT of timm in a safetensors file, a model folder, or a model on
the Hub.
"""

from pathlib import Path
from typing import Any

from attn.apps.reid.model import DCAL, VARIANTS, DCALConfig, variant
from attn.core import starts
from attn.core.errors import UsageError
from attn.core.models.folder import load_network, load_record, resolve
from attn.core.models.weights import read_tensors
from attn.core.settings import checked, stored

DEFAULT, OF_TIMM = "hybrid", "deit_tiny"
SHARED = ("lite0",)
TIMM_SUFFIX = ".safetensors"
BUNDLED_MODEL = Path(__file__).with_name("weights")


def architecture(name: str | None, start: str | None, **changes: Any) -> DCALConfig:
    """The variant called `name`, with changes; without a name the one that `start` is for, else the default.

    A model as the start brings its own architecture. Raises UsageError for a variant that cannot begin from a shared
    start, and where `variant` does.
    """
    of_timm = start is not None and start.endswith(TIMM_SUFFIX)
    if name is None and start is not None and start not in SHARED and not of_timm:
        record = load_record(resolve(start, "reid", BUNDLED_MODEL))
        return checked(DCALConfig, **stored(DCALConfig, record.architecture).model_dump() | changes)
    config = variant(name or (OF_TIMM if of_timm else DEFAULT), **changes)
    if start in SHARED and config.body != start:
        able = ", ".join(other for other, its in VARIANTS.items() if its.body == start)
        raise UsageError(f"the variant {name!r} cannot begin from {start!r}", hint=f"these can: {able}")
    return config


def begin(model: DCAL, start: str | Path | None) -> list[str]:
    """Give `model` the weights of `start`; the names of the parameters that were learned on other data.

    Raises UsageError where the weights are of another architecture, ModelError where they cannot be read.
    """
    if start is None:
        return []
    if start in SHARED:
        return starts.begin(model, str(start))
    if str(start).endswith(TIMM_SUFFIX):
        model.begin_from_timm(read_tensors(Path(start)))
        return [name for name, _ in model.named_parameters() if name.startswith(("vit.", "local."))]
    source, _, _ = load_network(
        start, "reid", lambda record: DCAL(stored(DCALConfig, record.architecture)), BUNDLED_MODEL
    )
    starts.carry_over(source, model)
    return []
