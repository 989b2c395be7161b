"""Maps of radiographs are what the gates were, point at what a planted model needs, and admit failure."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from chest_fixtures import chest, write_dicom
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from attn.apps.chest.explain import USE, Explanation, explain
from attn.apps.chest.explain_picture import draw
from attn.apps.chest.predict import ChestPredictor
from attn.cli import app
from attn.core.attention.watch import intervene
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.radiograph import Radiograph

SIDE = 32


def radiograph(**changes: object) -> Radiograph:
    pixels = chest("pneumonia").astype(np.float32) / 255
    return Radiograph("ZZCANARY^JOHN/scan.dcm", pixels, **changes)


@pytest.fixture
def predictor(untrained: Path) -> ChestPredictor:
    return ChestPredictor.load(untrained)


def corner(size: int = 8) -> Tensor:
    """A map that is 1 in the upper right, below the border."""
    map_ss = torch.zeros(SIDE, SIDE)
    map_ss[4 : 4 + size, 20 : 20 + size] = 1
    return map_ss


def plant(predictor: ChestPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that answers by the sharp detail in the corner, which a blur takes away."""

    def detail(x_b1ss: Tensor) -> Tensor:
        patch = x_b1ss[:, 0, 4:12, 20:28]
        amount = (patch[:, 1:] - patch[:, :-1]).abs().mean((1, 2))
        return torch.stack([40 * amount - 4, *[torch.zeros_like(amount)] * 2], dim=1)

    monkeypatch.setattr(predictor, "log_probabilities", detail)


def noise() -> Radiograph:
    return Radiograph("noise", np.random.default_rng(0).random((SIDE, SIDE)).astype(np.float32))


def with_gates(predictor: ChestPredictor, map_ss: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """Interventions that make every gate the same map, at its own size."""

    def change(gate: Tensor) -> Tensor:
        resized = torch.nn.functional.interpolate(map_ss[None, None], gate.shape[2:], mode="area")
        return resized.expand_as(gate)

    return {f"gates.{index}": change for index in range(len(predictor.model.gates))}


def test_a_map_of_what_the_model_needs_is_faithful(predictor: ChestPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(predictor, monkeypatch)
    with intervene(predictor.model, outputs=with_gates(predictor, corner())):
        explanation = explain(predictor, noise())
    numbers = explanation.numbers()
    assert not {"body", "occlusion"} & {*numbers["unfaithful"]}
    assert numbers["body"]["deletion"] < numbers["random"]["deletion"] < numbers["random"]["insertion"]
    assert numbers["body"]["better_than"] == numbers["random_maps"] == 39
    row, column = divmod(int(explanation.maps["occlusion"].argmax()), SIDE)
    assert abs(row - 8) <= 3 and abs(column - 24) <= 3


def test_a_map_of_the_wrong_place_is_called_unfaithful_on_the_picture(
    predictor: ChestPredictor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plant(predictor, monkeypatch)
    with intervene(predictor.model, outputs=with_gates(predictor, corner())):
        faithful = explain(predictor, noise())
    with intervene(predictor.model, outputs=with_gates(predictor, corner().flip(1))):
        wrong = explain(predictor, noise())
    assert "body" in wrong.unfaithful and "occlusion" not in wrong.unfaithful
    assert red(wrong, tmp_path) > red(faithful, tmp_path) + 500


def red(explanation: Explanation, folder: Path) -> int:
    """Pixels of the colour that says so."""
    draw(explanation, folder / "map.png")
    with Image.open(folder / "map.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    return int((np.abs(pixels - (214, 39, 40)).max(2) < 4).sum())


def test_an_even_map_says_nothing(predictor: ChestPredictor, tmp_path: Path) -> None:
    with intervene(predictor.model, outputs=with_gates(predictor, torch.ones(SIDE, SIDE))):
        numbers = explain(predictor, radiograph()).numbers()
    assert "body" in numbers["unfaithful"] and numbers["body"]["outside_centre"] is None
    assert numbers["same_when_shuffled"] is None


def test_files_hold_all_arrays_and_numbers_and_no_identity(predictor: ChestPredictor, tmp_path: Path) -> None:
    explanation = explain(predictor, radiograph(flags=(Flag.LOSSY,)))
    picture, arrays, numbers = explanation.save(tmp_path / "map.png")
    assert [path.name for path in (picture, arrays, numbers)] == ["map.png", "map.npz", "map.json"]
    with Image.open(picture) as drawn:
        assert drawn.size[0] > 1000 and {*drawn.info} <= {"Software", "dpi"}
    stored = np.load(arrays)
    np.testing.assert_array_equal(stored["occlusion"], explanation.maps["occlusion"])
    assert stored["gates"].shape == (4, SIDE, SIDE) and stored["random_deletion"].shape == (39, 11)
    said = json.loads(numbers.read_text())
    assert said["use"] == USE and said["flags"] == ["lossy"] and said["label"] in predictor.labels
    assert said["probabilities"] == pytest.approx(predictor.predict(radiograph()).probabilities, abs=1e-5)
    for path in (picture, arrays, numbers):
        assert b"ZZCANARY" not in path.read_bytes()


def test_the_model_is_as_before(predictor: ChestPredictor) -> None:
    x = torch.rand(2, 1, SIDE, SIDE)
    before = predictor.log_probabilities(x)
    explain(predictor, radiograph())
    torch.testing.assert_close(predictor.log_probabilities(x), before)


def test_burned_in_text_is_said(untrained: Path, tmp_path: Path) -> None:
    """The picture shows it, and may tell who the patient is."""
    write_dicom(tmp_path / "a.dcm", BurnedInAnnotation="YES")
    out = tmp_path / "map.png"
    arguments = ["chest", "explain", str(tmp_path / "a.dcm"), "--model", str(untrained), "--out", str(out), "--json"]
    done = CliRunner().invoke(app, arguments, prog_name="attn")
    (row,) = json.loads(done.stdout)
    assert "burned-in" in row["flags"].split(";")
    assert f"{out}: the picture shows text" in done.stderr
