"""ONNX: probabilities and the gate's scores at any batch size, of a file that needs no torch."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from chest_fixtures import write_set
from chest_models import write_model

from attn.apps.chest.export import BATCHES, export
from attn.apps.chest.gate import SCORES, Gate, seen_in
from attn.apps.chest.gate_network import GateNetwork
from attn.apps.chest.predict import ChestPredictor
from attn.apps.chest.probabilities import Calibration
from attn.data_adapters.dicom.labelled import open_studies


def gated(folder: Path, **changes: object) -> ChestPredictor:
    """A model with a gate of random numbers, a temperature and a shift."""
    predictor = ChestPredictor.load(write_model(folder, ["covid", "normal", "pneumonia"], {}, **changes))
    predictor.calibration = Calibration(temperature=1.7, shift=(0.3, -0.2, 0.1))
    features = predictor.model.backbone.widths[-1] * 16
    torch.manual_seed(1)
    gate = Gate(GateNetwork().eval(), features, 5)
    gate.axes.copy_(torch.linalg.qr(torch.randn(features, 5)).Q.T)
    predictor.gate = gate
    return predictor


@pytest.mark.parametrize("exclusive", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_it_answers_as_the_predictor_does(tmp_path: Path, exclusive: bool) -> None:
    predictor = gated(tmp_path / "model", exclusive=exclusive)
    assert export(predictor, tmp_path / "chest.onnx") < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "chest.onnx")
    assert [output.name for output in session.get_outputs()] == ["probabilities", "gate"]
    for batch in (*BATCHES, 5):
        x = torch.rand(batch, 1, 32, 32)
        p_bk, scores_bg = session.run(None, {"image": x.numpy()})
        expected = predictor.probabilities(predictor.log_probabilities(x)).numpy()
        np.testing.assert_allclose(p_bk, expected, atol=1e-4)
        assert scores_bg.shape == (batch, len(SCORES))
        with torch.inference_mode():
            np.testing.assert_allclose(scores_bg, predictor.gate(predictor.model.features(x), x), rtol=1e-3, atol=1e-3)
    metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / "chest.onnx").metadata_props}
    assert json.loads(metadata["labels"]) == predictor.labels and json.loads(metadata["gate"]) == [*SCORES]
    assert json.loads(metadata["preprocessing"]) == {"side": 32}
    assert metadata["use"] == "research use, not a medical device"


def test_it_runs_without_torch(tmp_path: Path) -> None:
    predictor = ChestPredictor.load(write_model(tmp_path / "model", ["a", "b"], {}))
    export(predictor, tmp_path / "chest.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((2, 1, 32, 32), dtype=np.float32))
    program = (
        "import sys, numpy, onnxruntime; sys.modules['torch'] = None\n"
        "session = onnxruntime.InferenceSession('chest.onnx')\n"
        "(p,) = session.run(None, {'image': numpy.load('x.npy')})\n"
        "numpy.save('p.npy', p)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    x = torch.from_numpy(np.load(tmp_path / "x.npy"))
    expected = predictor.probabilities(predictor.log_probabilities(x)).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), expected, atol=1e-4)


@pytest.mark.slow
def test_fifty_files_with_a_fitted_gate(chest_model: Path, tmp_path: Path) -> None:
    """From the files to the numbers: the exported model answers as `predict` does, and flags what it flags."""
    predictor = ChestPredictor.load(chest_model, device="cpu")
    assert predictor.gate is not None
    export(predictor, tmp_path / "chest.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "chest.onnx")
    studies = open_studies(write_set(tmp_path / "set", per_class=17, first=300))
    turned = [replace(each, pixels_hw=np.rot90(each.pixels_hw).copy()) for each in map(studies.read, range(0, 50, 5))]
    for radiograph in [*map(studies.read, range(50)), *turned]:
        p_bk, scores_bg = session.run(None, {"image": predictor.tensor([radiograph]).numpy()})
        row = predictor.predict(radiograph)
        np.testing.assert_allclose(p_bk[0], [*row.probabilities.values()], atol=1e-4)
        if np.abs(scores_bg).min() > 1e-4:
            assert {flag for flag in row.flags if flag in SCORES} == {*filter(None, [seen_in(scores_bg[0].tolist())])}


@pytest.mark.slow
@pytest.mark.real_data
def test_fifty_radiographs(chest_model: Path, data_dir: Path, tmp_path: Path) -> None:
    predictor = ChestPredictor.load(chest_model)
    export(predictor, tmp_path / "chest.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "chest.onnx")
    studies = open_studies(data_dir / "chest" / "labels.csv")
    for row in range(0, len(studies), len(studies) // 50):
        x = predictor.tensor([studies.read(row)])
        p_bk = session.run(None, {"image": x.numpy()})[0]
        expected = predictor.probabilities(predictor.log_probabilities(x)).numpy()
        np.testing.assert_allclose(p_bk, expected, atol=1e-4)
