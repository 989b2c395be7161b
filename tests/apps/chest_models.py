"""The smallest MEDUSA, and folders of models with random weights."""

from pathlib import Path

import torch

from attn.apps.chest.model import Medusa, MedusaConfig
from attn.apps.chest.preprocess import Preprocessing
from attn.core.models import folder as model_folder
from attn.core.models.folder import ModelRecord


def smallest_config(**changes: object) -> MedusaConfig:
    """The smallest MEDUSA."""
    small = MedusaConfig(backbone="test_efficientnet", scales=4, image_size=32, body=(8, 16, 32), head=16)
    return small.model_copy(update=changes)


def write_model(folder: Path, labels: list[str], data: dict[str, object], **changes: object) -> Path:
    """A model folder with random weights."""
    config = smallest_config(classes=len(labels), **changes)
    torch.manual_seed(0)
    record = ModelRecord(
        app="chest",
        name=folder.name,
        architecture=config.model_dump(mode="json"),
        labels=labels,
        preprocessing=Preprocessing(side=config.image_size).model_dump(),
        data=data,
    )
    model_folder.save(folder, Medusa(config).state_dict(), record)
    return folder
