"""ONNX files: the same numbers at every batch size, one file, a quiet terminal."""

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from attn.core.errors import ModelError, UsageError
from attn.core.models.onnx import to_onnx, write_onnx


class Tiny(nn.Module):
    """Convolution, batch norm and attention: what the apps' models are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.GELU())
        self.head = nn.Linear(8, 4)
        self.drop = nn.Dropout(0.5)

    def forward(self, x_bchw: Tensor) -> Tensor:
        tokens_b1lc = self.stem(x_bchw).flatten(2).transpose(1, 2)[:, None]
        mixed_b1lc = nn.functional.scaled_dot_product_attention(tokens_b1lc, tokens_b1lc, tokens_b1lc)
        return self.head(self.drop(mixed_b1lc.mean(dim=(1, 2))))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path, float]:
    torch.manual_seed(0)
    module = Tiny().train()
    module.stem(torch.randn(8, 3, 16, 16))  # batch norm has seen something
    path = tmp_path_factory.mktemp("export") / "new" / "model.onnx"
    largest = to_onnx(module, torch.zeros(1, 3, 16, 16), path, input_name="image", metadata={"labels": '["a", "b"]'})
    return module, path, largest


def test_difference_is_small_and_the_mode_is_given_back(exported: tuple[nn.Module, Path, float]) -> None:
    module, _, largest = exported
    assert 0 <= largest < 1e-5
    assert module.training
    assert module.stem.training


def test_a_name_that_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"does not end in \.onnx"):
        to_onnx(Tiny(), torch.zeros(1, 3, 16, 16), tmp_path / "new" / "model.pt", input_name="image")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("batch", [1, 2, 3, 16, 17])
def test_any_batch_size(exported: tuple[nn.Module, Path, float], batch: int) -> None:
    module, path, _ = exported
    x = torch.randn(batch, 3, 16, 16)
    (theirs,) = onnxruntime.InferenceSession(path).run(["output"], {"image": x.numpy()})
    with torch.no_grad():
        ours = module.eval()(x)
    module.train()
    np.testing.assert_allclose(theirs, ours.numpy(), atol=1e-5)


def test_one_valid_file_with_its_metadata(exported: tuple[nn.Module, Path, float]) -> None:
    _, path, _ = exported
    assert [p.name for p in path.parent.iterdir()] == ["model.onnx"]
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert {p.key: p.value for p in model.metadata_props}["labels"] == '["a", "b"]'
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if float(x.sum()) > 0 else x


def test_what_cannot_be_exported_leaves_no_file_and_no_noise(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match="cannot be exported to ONNX") as caught, warnings.catch_warnings():
        to_onnx(Branching(), torch.ones(1, 3), tmp_path / "model.onnx", input_name="x")
    assert "data-dependent" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == logging.NOTSET


class Joined(nn.Module):
    def forward(self, past_bn: Tensor, new_b1: Tensor) -> tuple[Tensor, Tensor]:
        whole = torch.cat([past_bn, new_b1], 1)
        return whole.sum(1), whole


def test_several_inputs_and_outputs_with_free_dimensions(tmp_path: Path) -> None:
    def check(session: onnxruntime.InferenceSession) -> list[list[int]]:
        return [session.run(["whole"], {"past": x, "new": x[:, :1]})[0].tolist() for x in pasts]

    pasts = np.array([[1, 2, 3]], np.float32), np.ones((3, 1), np.float32)
    inputs = {"past": torch.zeros(2, 4), "new": torch.zeros(2, 1)}
    free = {"past": {0: "batch", 1: "past"}, "new": {0: "batch"}}
    found = write_onnx(Joined(), inputs, ["total", "whole"], tmp_path / "joined.onnx", check, free=free)
    assert found == [[[1, 2, 3, 1]], [[1, 1]] * 3]


def test_a_check_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def check(_: onnxruntime.InferenceSession) -> None:
        raise ModelError("too far away")

    inputs = {"past": torch.zeros(2, 4), "new": torch.zeros(2, 1)}
    free = {name: {0: "batch"} for name in inputs}
    with pytest.raises(ModelError, match="too far away"):
        write_onnx(Joined(), inputs, ["total", "whole"], tmp_path / "joined.onnx", check, free=free)
    assert list(tmp_path.iterdir()) == []
