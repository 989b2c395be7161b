"""ONNX: the same probabilities at any batch size, and everything needed to use the file inside it."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from attn.apps.galaxy.predict import GalaxyPredictor
from attn.cli import app


def test_export_answers_in_calibrated_probabilities(micro_model, tmp_path):
    command = ["galaxy", "export", "--model", str(micro_model), "--out", str(tmp_path / "galaxy.onnx"), "--json"]
    done = CliRunner().invoke(app, command, prog_name="attn")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["largest_difference"] < 1e-4
    predictor = GalaxyPredictor.load(micro_model)
    side = predictor.preprocessing.side
    x = torch.rand(5, 3, side, side)
    session = onnxruntime.InferenceSession(tmp_path / "galaxy.onnx")
    (p,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(p, predictor.probabilities(predictor.log_probabilities(x)).numpy(), atol=1e-5)
    metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / "galaxy.onnx").metadata_props}
    assert json.loads(metadata["labels"]) == predictor.labels
    assert json.loads(metadata["preprocessing"])["side"] == side
    assert p.sum(axis=1) == pytest.approx(1)
