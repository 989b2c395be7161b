"""Measuring: the right rows, the right numbers, and a temperature that is stored and used."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from attn.apps.galaxy.evaluate import calibrate, evaluate_rows, rows_to_measure
from attn.apps.galaxy.predict import GalaxyPredictor
from attn.core.errors import InputError
from attn.core.measures.calibration import TEMPERATURES
from attn.core.models import folder as model_folder
from attn.data_adapters.images.labelled import LabelledImages
from attn.data_adapters.sky.labelled import open_galaxies


@pytest.fixture(scope="module")
def predictor(micro_model: Path) -> GalaxyPredictor:
    return GalaxyPredictor.load(micro_model)


@pytest.fixture
def copy(labelled_table: Path, tmp_path: Path) -> Path:
    """The labelled set in another folder, to be changed."""
    return Path(shutil.copytree(labelled_table.parent, tmp_path / "moved")) / labelled_table.name


def test_on_its_own_set_a_model_is_measured_on_what_it_was_not_trained_on(
    predictor: GalaxyPredictor, labelled: LabelledImages
) -> None:
    rows, which = rows_to_measure(predictor, labelled)
    assert [labelled.ids[row] for row in rows] == sorted(predictor.record.data["held_out"], key=labelled.ids.index)
    assert 0 < len(rows) < len(labelled) / 2
    assert which == f"the {len(rows)} rows held out when the model was trained, of {len(labelled)}"


def test_the_set_is_known_again_in_another_folder(predictor: GalaxyPredictor, copy: Path) -> None:
    rows, which = rows_to_measure(predictor, open_galaxies(copy, label="kind"))
    assert "held out" in which and len(rows) == len(predictor.record.data["held_out"])


@pytest.mark.parametrize("change", ["relabelled", "shorter", "another image"])
def test_another_set_is_measured_whole(predictor: GalaxyPredictor, copy: Path, change: str) -> None:
    table = pl.read_csv(copy)
    if change == "relabelled":
        table[0, "kind"] = table[-1, "kind"]
    elif change == "shorter":
        table = table.head(-1)
    else:
        Image.new("RGB", (9, 9)).save(copy.parent / table[0, "path"])
    table.write_csv(copy)
    rows, which = rows_to_measure(predictor, open_galaxies(copy, label="kind"))
    assert rows == list(range(len(table)))
    assert which == f"all {len(table)} rows; the model was not trained on this set"


def test_numbers_are_those_of_scikit_learn(predictor: GalaxyPredictor, labelled: LabelledImages) -> None:
    rows = list(range(1, len(labelled), 2))
    evaluation = evaluate_rows(predictor, labelled, rows)
    truth = [labelled.labels[row] for row in rows]
    assert [predictor.labels[k] for k in evaluation.targets] == truth
    predicted = [predictor.predict(labelled.read(row)).label for row in rows]
    headlines = evaluation.headlines()
    assert headlines["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    assert headlines["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert headlines["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro", zero_division=0))


def test_probabilities_are_the_calibrated_ones_of_predict(predictor: GalaxyPredictor, labelled: LabelledImages) -> None:
    evaluation = evaluate_rows(predictor, labelled, [3, 0, 30], tta=True)
    for row, p in zip([3, 0, 30], evaluation.probabilities, strict=True):
        expected = predictor.predict(labelled.read(row), tta=True).probabilities
        np.testing.assert_allclose(p, list(expected.values()), atol=1e-5)


def test_unreadable_rows_are_left_out_and_named(predictor: GalaxyPredictor, copy: Path) -> None:
    labelled = open_galaxies(copy, label="kind")
    (copy.parent / labelled.ids[4]).unlink()
    (copy.parent / labelled.ids[7]).write_bytes(b"GIF89a no more")
    seen: list[int] = []
    evaluation = evaluate_rows(predictor, labelled, list(range(10)), advance=lambda: seen.append(1))
    assert len(seen) == 10 and len(evaluation.targets) == len(evaluation.logits) == 8
    assert list(evaluation.failed) == [labelled.ids[4], labelled.ids[7]]
    assert "no such file" in evaluation.failed[labelled.ids[4]]
    assert evaluation.report()["failed"] == evaluation.failed
    with pytest.raises(InputError, match=r"none of the rows can be read; .*no such file"):
        evaluate_rows(predictor, labelled, [4])


def test_unknown_labels_are_counted(predictor: GalaxyPredictor, copy: Path) -> None:
    table = pl.read_csv(copy).with_columns(kind=pl.Series(["star", "nebula"] * 18))
    table.write_csv(copy)
    with pytest.raises(InputError, match="does not know the label 'nebula' and 1 more; it knows disc, ring, round"):
        evaluate_rows(predictor, open_galaxies(copy, label="kind"), [0, 1, 2])


def test_pictures_are_drawn(predictor: GalaxyPredictor, labelled: LabelledImages, tmp_path: Path) -> None:
    for path in evaluate_rows(predictor, labelled, [0, 12, 24, 30]).pictures(tmp_path / "new" / "report"):
        with Image.open(path) as picture:
            assert min(picture.size) > 300


def test_calibration_is_stored_and_used_and_the_weights_are_the_same(
    micro_model: Path, labelled: LabelledImages, tmp_path: Path
) -> None:
    calibration = calibrate(micro_model, labelled, tmp_path / "calibrated")
    again = GalaxyPredictor.load(tmp_path / "calibrated")
    assert again.temperature == calibration["temperature"]
    assert TEMPERATURES[0] <= again.temperature <= TEMPERATURES[1]
    assert "held out" in calibration["fitted_on"]
    before, after = model_folder.load_state(micro_model), model_folder.load_state(tmp_path / "calibrated")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    logits = torch.tensor([[2.0, -1.0, 0.5]])
    torch.testing.assert_close(again.probabilities(logits), (logits / again.temperature).softmax(-1))


def test_calibration_makes_the_held_out_rows_likelier(
    micro_model: Path, labelled: LabelledImages, tmp_path: Path
) -> None:
    """A model whose temperature is far off gets one whose likelihood is no worse than that of any other."""
    folder = Path(shutil.copytree(micro_model, tmp_path / "off"))
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(record | {"calibration": {"temperature": 0.05}}))
    calibration = calibrate(folder, labelled, folder)
    assert calibration["ece_after"] <= calibration["ece_before"]
    predictor = GalaxyPredictor.load(folder)
    evaluation = evaluate_rows(predictor, labelled, rows_to_measure(predictor, labelled)[0])
    logits, targets = torch.from_numpy(evaluation.logits), torch.from_numpy(evaluation.targets)

    def loss(temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits / temperature, targets))

    assert all(loss(predictor.temperature) <= loss(t) + 1e-6 for t in np.geomspace(*TEMPERATURES, 40))
