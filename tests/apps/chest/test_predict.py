"""The predictor: order, frames, bad inputs, streams, strictness, findings that exclude nothing."""

import json
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from chest_fixtures import LABELS, chest, micro_config, write_dicom

from attn.apps.chest.model import Medusa
from attn.apps.chest.predict import NO_FINDING, ChestPredictor
from attn.apps.chest.read import Reading
from attn.core.errors import InputError, ModelError
from attn.core.models.record import ModelRecord
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.radiograph import NotAnImageError


@pytest.fixture(scope="module")
def predictor(chest_model: Path) -> ChestPredictor:
    return ChestPredictor.load(chest_model)


def test_order_is_kept_frames_are_rows_and_bad_inputs_are_rows(predictor: ChestPredictor, tmp_path: Path) -> None:
    one = write_dicom(tmp_path / "a.dcm")
    many = write_dicom(tmp_path / "b.dcm", np.stack([chest("covid", number) for number in range(40)]))
    (tmp_path / "c.dcm").write_text("<html>")
    (tmp_path / "d.txt").write_text("a report")
    skipped: list[NotAnImageError] = []
    inputs = [one, many, tmp_path / "c.dcm", tmp_path / "d.txt", chest(), tmp_path / "absent.dcm"]
    rows = list(predictor.predict_many(inputs, skipped=skipped.append, batch_size=4))
    names = [f"{many}#{number}" for number in range(1, 41)]
    assert [row.id for row in rows] == [
        str(one),
        *names,
        str(tmp_path / "c.dcm"),
        "array",
        str(tmp_path / "absent.dcm"),
    ]
    assert [row.id for row in rows if row.error] == [str(tmp_path / "c.dcm"), str(tmp_path / "absent.dcm")]
    assert [str(error.where) for error in skipped] == [str(tmp_path / "d.txt")]
    assert all(sum(row.probabilities.values()) == pytest.approx(1) for row in rows if row.error is None)
    assert all(set(row.probabilities) == {*LABELS} for row in rows if row.error is None)


def test_without_a_place_for_skipped_files_they_fail(predictor: ChestPredictor, tmp_path: Path) -> None:
    (tmp_path / "d.txt").write_text("a report")
    (row,) = predictor.predict_many([tmp_path / "d.txt"])
    assert row.error is not None and "d.txt" in row.error


def test_batches_do_not_change_the_answer(predictor: ChestPredictor) -> None:
    arrays = [chest(label, number) for label in LABELS for number in range(2)]
    one = [predictor.predict(array).probabilities for array in arrays]
    many = [row.probabilities for row in predictor.predict_many(arrays, batch_size=4)]
    for a, b in zip(one, many, strict=True):
        assert a == pytest.approx(b, abs=1e-5)


def test_a_stream_without_end_is_read_as_far_as_it_is_asked_for(predictor: ChestPredictor) -> None:
    read = count()
    endless = (chest(number=next(read)) for _ in iter(int, 1))
    assert len(list(islice(predictor.predict_many(endless, batch_size=4), 5))) == 5
    assert next(read) < 40


def test_what_waits_for_the_model_is_small_and_the_same(predictor: ChestPredictor) -> None:
    large = np.kron(chest(), np.ones((8, 8), np.uint8))
    small = predictor._small(Reading().one(large))
    side = predictor.preprocessing.side
    assert small.pixels_hw.shape == (side, side)
    assert torch.equal(predictor.tensor([small]), predictor.tensor([Reading().one(large)]))


def test_the_answer_is_that_of_the_model(predictor: ChestPredictor) -> None:
    x_11ss = predictor.tensor([Reading().one(chest())])
    with torch.inference_mode():
        z_k = predictor.model(x_11ss)[0]
    calibration = predictor.calibration
    p_k = (z_k / calibration.temperature + torch.tensor(calibration.shift or (0.0,))).softmax(-1)
    found = predictor.predict(chest()).probabilities
    np.testing.assert_allclose([found[label] for label in predictor.labels], p_k, atol=1e-5)


def test_strict_refuses_what_the_model_does_not_know(predictor: ChestPredictor, tmp_path: Path) -> None:
    lateral = write_dicom(tmp_path / "a.dcm", ViewPosition="LL")
    loose, strict = (next(predictor.predict_many([lateral], strict=strict)) for strict in (False, True))
    assert loose.error is None and Flag.LATERAL in loose.flags
    assert strict.error is not None and "refused: lateral" in strict.error and strict.label is None
    assert strict.flags == loose.flags
    assert next(predictor.predict_many([chest()], strict=True)).error is None


def test_findings_that_exclude_nothing_are_called_one_by_one() -> None:
    torch.manual_seed(0)
    model = Medusa(micro_config(exclusive=False))
    points = {"b": {"threshold": 0.9, "sensitivity": 1, "specificity": 1, "target_sensitivity": 0.9}}
    record = ModelRecord(
        app="chest",
        name="micro",
        architecture=model.config.model_dump(mode="json"),
        labels=["a", "b", "c"],
        preprocessing={"side": 64},
        calibration={"operating_points": points},
    )
    predictor = ChestPredictor(model, record)
    for bias, label in (((2, 2, 2), "a|c"), ((-2, 3, 2), "b|c"), ((-2, -2, -2), NO_FINDING)):
        with torch.no_grad():
            model.head.classifier.weight.zero_()
            model.head.classifier.bias.copy_(torch.tensor(bias, dtype=torch.float32))
        row = predictor.predict(chest())
        assert row.label == label
        assert list(row.probabilities.values()) == pytest.approx(torch.tensor(bias).float().sigmoid().tolist())
        assert row.uncertainty is not None and 0 < row.uncertainty < 1


def test_what_is_not_a_chest_model_says_so(chest_model: Path, tmp_path: Path) -> None:
    record = json.loads((chest_model / "model.json").read_text())
    for name in record["files"]:
        (tmp_path / name).write_bytes((chest_model / name).read_bytes())
    (tmp_path / "model.json").write_text(json.dumps(record | {"app": "galaxy"}))
    with pytest.raises(ModelError, match="galaxy"):
        ChestPredictor.load(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps(record | {"calibration": {"shift": [1.0]}}))
    with pytest.raises(ModelError, match="a shift of 1 numbers for 3 classes"):
        ChestPredictor.load(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps(record))
    (tmp_path / "gate.safetensors").unlink()
    with pytest.raises(ModelError, match=r"gate.safetensors: is missing"):
        ChestPredictor.load(tmp_path)


def test_several_frames_need_a_choice(predictor: ChestPredictor, tmp_path: Path) -> None:
    many = write_dicom(tmp_path / "b.dcm", np.stack([chest(), chest("covid")]))
    with pytest.raises(InputError, match="several frames"):
        predictor.predict(many)
    assert predictor.predict(many, frame=2).id == f"{many}#2"
