"""What a training begins from."""

from pathlib import Path

import pytest
import torch

from attn.apps.chest.model import SHARE, Medusa, MedusaConfig, body_share
from attn.apps.chest.start import architecture, begin
from attn.core import starts
from attn.core.errors import UsageError
from attn.core.models import folder as model_folder
from attn.core.models.record import ModelRecord

SMALL = {"image_size": 48, "body": (8, 16, 16), "head": 16}


def test_lite0_brings_the_backbone_and_nothing_else() -> None:
    torch.manual_seed(0)
    model = Medusa(architecture(None, "lite0", **SMALL))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    started = begin(model, "lite0")
    assert started and all(name.startswith("backbone.net.") for name in started)
    given = starts.load("lite0")
    for name, value in model.state_dict().items():
        own = name.removeprefix("backbone.net.")
        if name in started:
            assert torch.equal(value, given[own])
        elif not name.startswith("backbone."):
            assert torch.equal(value, before[name])
    assert begin(model, None) == []


def test_a_model_folder_brings_its_architecture_and_its_weights(tmp_path: Path) -> None:
    config = architecture(None, None, **SMALL, gate="residual")
    torch.manual_seed(1)
    old = Medusa(config)
    record = ModelRecord(app="chest", name="old", architecture=config.model_dump(mode="json"), labels=["a", "b", "c"])
    model_folder.save(tmp_path / "old", old.state_dict(), record)
    again = architecture(None, str(tmp_path / "old"), classes=5)
    assert again == config.model_copy(update={"classes": 5})
    new = Medusa(again)
    assert begin(new, tmp_path / "old") == []
    for name, value in new.state_dict().items():
        if not name.startswith("head.classifier"):
            assert torch.equal(value, old.state_dict()[name]), name


def test_another_backbone_widens_the_body() -> None:
    config = architecture("lite0", None, backbone="resnet18")
    assert config.body > MedusaConfig().body and body_share(config) >= SHARE


def test_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match="'resnet18' cannot begin from 'lite0'; these can: lite0"):
        architecture("resnet18", "lite0")
