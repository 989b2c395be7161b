"""A small saved model, for the tests of all that makes a model folder."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attn.core.models.folder import ModelRecord


def record(**changes: Any) -> ModelRecord:
    values: dict[str, Any] = {
        "app": "galaxy",
        "name": "tiny-efigi",
        "architecture": {"name": "tiny", "mixer": "relative"},
        "labels": ["elliptical", "spiral"],
        "preprocessing": {"size": 64, "stretch": {"kind": "asinh"}},
        "calibration": {"temperature": 1.25},
        "metrics": {"accuracy": {"value": 0.9, "low": 0.85, "high": 0.94}, "auc": float("nan")},
        "data": {"files": 3, "hash": "ab12", "held_out": [f"PGC{i}" for i in range(50)]},
        "limits": ["Not tried on radio maps."],
        "seed": 7,
    }
    return ModelRecord(**(values | changes))


def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "weight": torch.randn(3, 4),
        "half": torch.randn(5).to(torch.bfloat16),
        "count": torch.tensor(12),
        "transposed": torch.randn(3, 4).t(),
    }


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
