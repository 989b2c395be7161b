"""What a training begins from: the architecture to train, and the weights it is given before the first step.

A start is a shared one (`attn.core.starts`), the bundled model, a model folder or one on the Hub.
"""

from pathlib import Path
from typing import Any

from torch import nn

from attn.apps.chest.model import VARIANTS, Medusa, MedusaConfig, changed, variant, wide_enough
from attn.core import starts
from attn.core.blocks.backbones import LITE0
from attn.core.errors import UsageError
from attn.core.models.folder import load_network
from attn.core.settings import stored

DEFAULT = "lite0"
SHARED = (LITE0,)
BUNDLED_MODEL = Path(__file__).with_name("weights")


def architecture(name: str | None, start: str | None, **changes: Any) -> MedusaConfig:
    """The variant called `name`, with changes; without a name that of the model `start`, else the default.

    With another backbone than the variant's own, the body becomes as wide as its share of all parameters needs. Raises
    UsageError for a backbone that cannot begin from a shared start, and where `variant` does.
    """
    record = starts.model_record(start, "chest", BUNDLED_MODEL)
    if name is None and record is not None:
        return changed(stored(MedusaConfig, record.architecture), **changes)
    config = variant(name or DEFAULT, **changes)
    if start in SHARED and config.backbone != LITE0:
        able = ", ".join(other for other, its in VARIANTS.items() if its.backbone == LITE0)
        raise UsageError(f"the backbone {config.backbone!r} cannot begin from {start!r}", hint=f"these can: {able}")
    return wide_enough(config) if changes.keys() & {"backbone", "scales"} and "body" not in changes else config


def begin(model: nn.Module, start: str | Path | None) -> list[str]:
    """Give `model` the weights of `start`; the names of the parameters that a shared start brought."""
    if start is None:
        return []
    if start in SHARED:
        return starts.begin(model, str(start))
    source, _, _ = load_network(
        start, "chest", lambda record: Medusa(stored(MedusaConfig, record.architecture)), BUNDLED_MODEL
    )
    starts.carry_over(source, model)
    return []
