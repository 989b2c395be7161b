"""A network from a record and its weights: they fit one another, or one sentence says where they do not."""

from pathlib import Path
from typing import Any

import pytest
import torch
from core.models.saved import edit, record
from torch import nn

from attn.core.errors import ModelError, UsageError
from attn.core.models.folder import ModelRecord, load_network, save


class Layer(nn.Module):
    def __init__(self, record: ModelRecord) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(record.architecture["rows"], 4))
        if record.architecture.get("error"):
            raise {"KeyError": KeyError, "MemoryError": MemoryError, "UsageError": UsageError}[
                record.architecture["error"]
            ]("why")


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    save(tmp_path / "layer", {"weight": torch.ones(3, 4)}, record(architecture={"rows": 3}))
    return tmp_path / "layer"


def test_network_with_its_weights(layer: Path) -> None:
    network, found, folder = load_network(layer, "galaxy", Layer)
    assert network.weight.tolist() == torch.ones(3, 4).tolist()
    assert found.architecture == {"rows": 3} and folder == layer
    assert not network.weight.is_meta


def test_half_precision_becomes_full(layer: Path) -> None:
    save(layer, {"weight": torch.full((3, 4), 0.5, dtype=torch.float16)}, record(architecture={"rows": 3}))
    network, _, _ = load_network(layer, "galaxy", Layer)
    assert network.weight.dtype == torch.float32 and network.weight[0, 0] == 0.5


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"rows": 2}, r"model\.safetensors: does not fit .* weight is F32 of shape \(3, 4\) there and .* \(2, 4\)"),
        ({"rows": 10**12}, r"model\.safetensors: does not fit"),  # without memory for it
        ({"rows": 10**30}, r"model\.json: does not describe a model that can be built"),
        ({"rows": -1}, r"model\.json: does not describe a model that can be built \(RuntimeError: .*negative"),
        ({"rows": "x"}, r"model\.json: does not describe a model that can be built \(TypeError"),
        ({}, r"model\.json: does not describe a model that can be built \(KeyError: 'rows'\)"),
        ({"rows": 3, "error": "KeyError"}, r"model\.json: .*KeyError: 'why'"),
        ({"rows": 3, "error": "MemoryError"}, r"model\.json: describes more than fits into memory"),
        ({"rows": 3, "error": "UsageError"}, r"model\.json: why$"),
    ],
)
def test_whatever_building_throws_is_a_sentence(layer: Path, architecture: dict[str, Any], message: str) -> None:
    edit(layer, architecture=architecture)
    with pytest.raises(ModelError, match=message) as caught:
        load_network(layer, "galaxy", Layer)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_finite_or_of_another_kind(layer: Path) -> None:
    for tensor, message in (
        (torch.full((3, 4), torch.nan), "holds numbers in weight that are not finite"),
        (torch.ones(3, 4, dtype=torch.int32), r"weight is I32 of shape \(3, 4\) there and torch.float32"),
        (torch.ones(3, 4, dtype=torch.complex64), "weight is C64"),
    ):
        save(layer, {"weight": tensor}, record(architecture={"rows": 3}))
        with pytest.raises(ModelError, match=message):
            load_network(layer, "galaxy", Layer)
