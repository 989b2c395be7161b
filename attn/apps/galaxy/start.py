"""What a training begins from: the architecture to train, and the weights it is given before the first step.

A start is a shared one (`attn.core.starts`), the bundled model, a model folder or one on the Hub.
"""

from pathlib import Path
from typing import Any

from torch import nn

from attn.apps.galaxy.model import VARIANTS, AstroformerConfig, changed, variant
from attn.apps.galaxy.predict import BUNDLED_MODEL, load_model
from attn.core import starts
from attn.core.errors import UsageError
from attn.core.settings import stored

DEFAULT = "nano"
SHARED = {"lite0": "lite0-attention"}
"""The variant that a shared start is for when no other is asked for."""


def architecture(name: str | None, start: str | None, **changes: Any) -> AstroformerConfig:
    """The variant called `name`, with changes; without a name the one that `start` is for, else the default.

    A model as the start brings its own architecture. Raises UsageError for a variant that cannot begin from a shared
    start, and where `variant` does.
    """
    record = starts.model_record(start, "galaxy", BUNDLED_MODEL)
    if name is None and record is not None:
        return changed(stored(AstroformerConfig, record.architecture), **changes)
    config = variant(name or SHARED.get(start or "", DEFAULT), **changes)
    if start in SHARED and not config.lite0:
        able = ", ".join(other for other, its in VARIANTS.items() if its.lite0)
        raise UsageError(f"the variant {name!r} cannot begin from {start!r}", hint=f"these can: {able}")
    return config


def begin(model: nn.Module, start: str | Path | None) -> list[str]:
    """Give `model` the weights of `start`; the names of the parameters that a shared start brought."""
    if start is None:
        return []
    if start in SHARED:
        return starts.begin(model, str(start))
    starts.carry_over(load_model(start)[0], model)
    return []
