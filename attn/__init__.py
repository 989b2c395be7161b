"""One attention core, five applications. Names are imported on first use: `import attn` costs nothing."""

from importlib import import_module
from typing import Any

_LAZY = {
    "CTRClassifier": "attn.apps.ctr.estimator",
    "CTRPredictor": "attn.apps.ctr.predict",
    "ChestPredictor": "attn.apps.chest.predict",
    "GalaxyPredictor": "attn.apps.galaxy.predict",
    "MusicGenerator": "attn.apps.music.predict",
    "ReIDPredictor": "attn.apps.reid.predict",
}

__all__ = ["CTRClassifier", "CTRPredictor", "ChestPredictor", "GalaxyPredictor", "MusicGenerator", "ReIDPredictor"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'attn' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
