"""The gate: its scores, storage, and what header and pixels say together."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from chest_fixtures import chest, write_dicom
from safetensors.torch import load_file, save_file

from attn.apps.chest.gate import FLAGS, GRID, REFUSED, SCORES, Gate, flags_of, grid_features, load_gate, seen_in
from attn.apps.chest.gate_network import KINDS, GateNetwork
from attn.apps.chest.model import Medusa
from attn.apps.chest.predict import ChestPredictor, load_model
from attn.core.errors import ModelError
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.radiograph import Radiograph

FRONTAL, NEGATIVE = [-1.0] * 7, [-1.0, -1.0, 1.0, 2.0, -1.0, -1.0, -1.0]
SIDEWAYS = [5.0, -1.0, -1.0, -1.0, -1.0, 1.0, -1.0]


def radiograph(*flags: Flag, **header: str) -> Radiograph:
    return Radiograph("x", np.zeros((2, 2), np.float32), flags=flags, header=header)


def test_a_score_for_the_distance_and_for_each_kind_but_frontal() -> None:
    assert [*SCORES] == [Flag.NOT_CHEST, *(FLAGS[kind] for kind in KINDS if kind != "frontal")]


def test_the_largest_margin_decides_and_then_the_distance() -> None:
    assert seen_in(FRONTAL) is None
    assert seen_in(NEGATIVE) is Flag.INVERTED
    assert seen_in(SIDEWAYS) is Flag.LATERAL
    assert seen_in([0.1, *FRONTAL[1:]]) is Flag.NOT_CHEST
    assert seen_in([0.0] * 7) is None


@pytest.mark.parametrize(
    ("header", "scores", "flags"),
    [
        (radiograph(view="frontal"), FRONTAL, ()),
        (radiograph(view="frontal"), SIDEWAYS, (Flag.LATERAL, Flag.HEADER_CONTRADICTS_PIXELS)),
        (radiograph(view="frontal"), NEGATIVE, (Flag.INVERTED,)),
        (radiograph(), SIDEWAYS, (Flag.LATERAL,)),
        (radiograph(Flag.LATERAL, view="lateral"), SIDEWAYS, (Flag.LATERAL,)),
        (radiograph(Flag.LATERAL, view="lateral"), FRONTAL, (Flag.LATERAL, Flag.HEADER_CONTRADICTS_PIXELS)),
        (radiograph(Flag.NOT_CHEST), SIDEWAYS, (Flag.NOT_CHEST, Flag.LATERAL)),
        (radiograph(Flag.LOSSY), FRONTAL, (Flag.LOSSY,)),
        (radiograph(Flag.LATERAL), None, (Flag.LATERAL,)),
    ],
)
def test_header_and_pixels_together(header: Radiograph, scores: list[float] | None, flags: tuple[Flag, ...]) -> None:
    assert flags_of(header, scores) == flags


def test_grid_features_are_means_of_cells() -> None:
    map_bchw = torch.rand(2, 3, 8, 12)
    cells = map_bchw.reshape(2, 3, GRID, 2, GRID, 3).mean((3, 5))
    torch.testing.assert_close(grid_features(map_bchw), cells.flatten(1))


def test_scores_are_the_distance_and_the_evidence_less_thresholds() -> None:
    torch.manual_seed(0)
    gate = Gate(GateNetwork().eval(), 3 * GRID**2, 2)
    gate.thresholds = torch.arange(7.0)
    map_bchw, x_b1ss = torch.rand(2, 3, 8, 8), torch.rand(2, 1, 32, 32)
    with torch.inference_mode():
        scores_bg = gate(map_bchw, x_b1ss)
        torch.testing.assert_close(scores_bg[:, 0], gate.distance(grid_features(map_bchw)))
        torch.testing.assert_close(scores_bg[:, 1:], gate.network.evidence(x_b1ss) - torch.arange(1.0, 7.0))


def test_a_gate_is_read_back_as_it_was_written(chest_model: Path) -> None:
    model, record, folder = load_model(chest_model)
    gate = load_gate(folder, record, model.backbone.widths[-1])
    assert gate is not None and "gate.safetensors" in record.files
    tensors = load_file(folder / "gate.safetensors")
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in gate.state_dict().items())
    assert (folder / "gate.safetensors").stat().st_size < 2**20
    assert load_gate(folder, record.model_copy(update={"files": {}}), 8) is None


@pytest.mark.parametrize("damage", ["shape", "name", "nan", "bytes"])
def test_a_gate_that_does_not_fit_is_one_sentence(chest_model: Path, tmp_path: Path, damage: str) -> None:
    model, record, folder = load_model(chest_model)
    tensors = load_file(folder / "gate.safetensors")
    if damage == "shape":
        tensors["mean"] = tensors["mean"][:-1].clone()
    elif damage == "name":
        tensors["more"] = tensors.pop("rest")
    elif damage == "nan":
        tensors["mean"][0] = torch.nan
    save_file(tensors, tmp_path / "gate.safetensors")
    if damage == "bytes":
        (tmp_path / "gate.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ModelError, match=r"gate\.safetensors: "):
        load_gate(tmp_path, record, model.backbone.widths[-1])


def test_a_trained_gate_tells_chests_from_what_is_made_of_them(chest_model: Path) -> None:
    """On drawn chests that it has not seen: the tiny model knows little, and its features see where things are."""
    predictor = ChestPredictor.load(chest_model)
    chests = [chest("normal", 100 + number) for number in range(10)]
    wrong = {
        Flag.INVERTED: [255 - one for one in chests],
        Flag.TURNED: [np.rot90(one) for one in chests],
    }
    fine = [row.flags for row in predictor.predict_many(chests)]
    assert sum(flags == () for flags in fine) >= 9
    for flag, arrays in wrong.items():
        found = [row.flags for row in predictor.predict_many(arrays)]
        assert sum(flag in flags for flags in found) >= 8, (flag, found)


def test_header_and_pixels_disagree_in_a_row(chest_model: Path, tmp_path: Path) -> None:
    predictor = ChestPredictor.load(chest_model)
    row = predictor.predict(write_dicom(tmp_path / "a.dcm", ViewPosition="LL"))
    assert row.flags == (Flag.LATERAL, Flag.HEADER_CONTRADICTS_PIXELS)


def test_every_flag_of_the_gate_is_one_that_strict_refuses() -> None:
    assert {*SCORES} <= {*REFUSED}


def test_a_model_without_a_gate_predicts(chest_model: Path, tmp_path: Path) -> None:
    record = json.loads((chest_model / "model.json").read_text())
    for name in {*record["files"]} - {"gate.safetensors"}:
        (tmp_path / name).write_bytes((chest_model / name).read_bytes())
    del record["files"]["gate.safetensors"]
    (tmp_path / "model.json").write_text(json.dumps(record))
    predictor = ChestPredictor.load(tmp_path)
    assert predictor.gate is None
    assert predictor.predict(chest()).flags == ()
    assert isinstance(predictor.model, Medusa)
