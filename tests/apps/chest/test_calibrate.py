"""Calibration on patients that the model has not seen: stored, used, and honest about what it was fitted on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from chest_fixtures import write_set
from chest_models import write_model

from attn.apps.chest.calibrate import assumed_shares, calibrate, fit, operating_points, out_of_fold, shares
from attn.apps.chest.evaluate import Evaluation, evaluate
from attn.apps.chest.predict import BUNDLED_MODEL, ChestPredictor
from attn.apps.chest.probabilities import SENSITIVITY
from attn.core.errors import InputError
from attn.core.models import folder as model_folder
from attn.core.models.folder import load_record
from attn.data_adapters.dicom.labelled import LabelledStudies, open_studies


def evaluation(logits_nk: np.ndarray, y_n: np.ndarray, **changes: object) -> Evaluation:
    """Rows of a model of three classes, two rows a patient."""
    how = {"exclusive": True, "rows": [*range(len(y_n))], "hashes": [], "failed": {}, "measured_on": ""} | changes
    p_nk = torch.tensor(logits_nk).softmax(1).numpy()
    return Evaluation(logits_nk, p_nk, np.eye(3)[y_n], ["a", "b", "c"], patients=[*np.arange(len(y_n)) // 2], **how)


def sampled(prior: tuple[float, ...], n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """log p(x | class) of three normal classes, and the classes, of rows in which they are as frequent as `prior`."""
    rng = np.random.default_rng(seed)
    y_n = rng.choice(3, n, p=prior)
    x_n = rng.normal(np.array([-1.0, 0.5, 2.0])[y_n])
    return -((x_n[:, None] - (-1.0, 0.5, 2.0)) ** 2) / 2, y_n


def test_it_is_stored_and_used_and_the_weights_are_the_same(
    untrained: Path, studies: LabelledStudies, tmp_path: Path
) -> None:
    answer = calibrate(untrained, studies, tmp_path / "calibrated", sensitivity=0.8)
    again = ChestPredictor.load(tmp_path / "calibrated")
    assert again.calibration.temperature == answer["temperature"] and again.calibration.shift == tuple(answer["shift"])
    assert answer["fitted_on"].startswith("18 of 36 rows, held out when the model was trained")
    assert {*again.calibration.operating_points} == {*studies.classes} and answer["patients"] == 9
    before, after = model_folder.load_state(untrained), model_folder.load_state(tmp_path / "calibrated")
    assert all(torch.equal(before[name], after[name]) for name in before)
    old, new = (model_folder.load_record(folder) for folder in (untrained, tmp_path / "calibrated"))
    assert new.metrics == old.metrics and new.calibration == json.loads(json.dumps(answer)) | {
        "used": new.calibration["used"]
    }


def test_images_of_a_calibration_are_not_held_out_afterwards(
    untrained: Path, studies: LabelledStudies, tmp_path: Path
) -> None:
    first = calibrate(untrained, studies, tmp_path / "calibrated")
    with pytest.raises(InputError, match="18 that it was calibrated on; give labelled images"):
        evaluate(ChestPredictor.load(tmp_path / "calibrated"), studies)
    second = calibrate(tmp_path / "calibrated", studies, tmp_path / "calibrated")
    assert second["temperature"] == pytest.approx(first["temperature"])
    assert second["shift"] == pytest.approx(first["shift"])  # what the logits stand for has not changed


def test_operating_points_keep_their_promise_where_they_were_chosen(
    untrained: Path, studies: LabelledStudies, tmp_path: Path
) -> None:
    calibrate(untrained, studies, tmp_path / "calibrated", sensitivity=0.8)
    predictor = ChestPredictor.load(tmp_path / "calibrated")
    found = evaluate(predictor, studies, calibrated=False)
    for row in found.report()["per_class"]:
        point = predictor.calibration.operating_points[row["label"]]
        assert row["threshold"] == point.threshold and point.sensitivity >= point.target_sensitivity == 0.8
        assert row["sensitivity"]["value"] == pytest.approx(point.sensitivity)
        assert row["specificity"]["value"] == pytest.approx(point.specificity)


def test_further_files_of_the_model_stay_with_it(untrained: Path, studies: LabelledStudies, tmp_path: Path) -> None:
    record, state = model_folder.load_record(untrained), model_folder.load_state(untrained)
    model_folder.save(tmp_path / "gated", state, record, {"gate.json": lambda path: path.write_text("[1]")})
    calibrate(tmp_path / "gated", studies, tmp_path / "other")
    calibrate(tmp_path / "gated", studies, tmp_path / "gated")
    for folder in ("gated", "other"):
        assert (tmp_path / folder / "gate.json").read_text() == "[1]"
        assert "gate.json" in model_folder.load_record(tmp_path / folder).files
        ChestPredictor.load(tmp_path / folder)


def test_balanced_sampling_is_undone() -> None:
    """Logits of a training in which classes were equally frequent, twice too steep; rows with the classes' own shares.

    The fit finds both, and the probabilities are those of Bayes' rule.
    """
    population = (0.05, 0.75, 0.2)
    likelihood_nk, y_n = sampled(population, 40_000)
    fitted = fit(evaluation(2 * likelihood_nk, y_n), np.full(3, 1 / 3))
    assert fitted.temperature == pytest.approx(2, rel=0.03)
    np.testing.assert_allclose(fitted.shift, np.log(population) + np.log(3), atol=0.05)
    joint_nk = np.exp(likelihood_nk[:50]) * population
    p_nk = fitted.probabilities(torch.tensor(2 * likelihood_nk[:50])).numpy()
    np.testing.assert_allclose(p_nk, joint_nk / joint_nk.sum(1, keepdims=True), atol=0.02)


def test_what_the_logits_stand_for_is_read_off_the_record(tmp_path: Path) -> None:
    """Of 90, 9 and 1 images, drawn equally often: the shift is log 0.9, log 0.09, log 0.01 and a constant."""
    predictor = ChestPredictor.load(
        write_model(tmp_path / "m", ["a", "b", "c"], {"classes": {"a": 90, "b": 9, "c": 1}})
    )
    np.testing.assert_allclose(assumed_shares(predictor), [0.9, 0.09, 0.01])
    shift = (*(np.log([0.9, 0.09, 0.01]) + 5),)
    predictor.calibration = predictor.calibration.model_copy(update={"shift": shift})
    np.testing.assert_allclose(assumed_shares(predictor), np.full(3, 1 / 3))
    predictor.record.data["classes"] = {"a": 3, "b": "many"}
    assert assumed_shares(predictor) is None


def test_a_model_whose_record_does_not_say_keeps_its_shift() -> None:
    """The logits are those of even shares, and the shift is right: the fit finds the temperature beside it."""
    likelihood_nk, y_n = sampled((0.05, 0.75, 0.2), 20_000)
    own = (*np.log([0.05, 0.75, 0.2]),)
    fitted = fit(evaluation(2 * likelihood_nk, y_n), None, own)
    assert fitted.shift == own and fitted.temperature == pytest.approx(2, rel=0.05)


def test_a_class_without_rows_is_rare_and_not_impossible() -> None:
    likelihood_nk, y_n = sampled((0.5, 0.5, 0.0), 200)
    found = evaluation(likelihood_nk, y_n)
    assert shares(found.targets)[2] == pytest.approx(0.5 / 201.5)
    fitted = fit(found, np.full(3, 1 / 3))
    assert np.isfinite(fitted.shift).all()
    assert [*operating_points(found.probabilities, found.targets, found.labels)] == ["a", "b"]


def test_the_bundled_model_has_the_points_that_were_chosen_on_its_validation_images() -> None:
    record = load_record(BUNDLED_MODEL)
    points, used = record.calibration["operating_points"], record.data["used"]
    assert [*points] == record.labels and len(used["validation"]) == record.calibration["fitted_on"]
    assert all(point["sensitivity"] >= point["target_sensitivity"] == SENSITIVITY for point in points.values())
    assert "operating points: covid threshold" in (BUNDLED_MODEL / "README.md").read_text(encoding="utf-8")


def test_a_patient_is_never_judged_by_a_fit_to_its_own_images() -> None:
    """What a patient's labels are changes nothing in its own probabilities."""
    likelihood_nk, y_n = sampled((0.3, 0.4, 0.3), 60)
    turned_n = y_n.copy()
    turned_n[:2] = (y_n[:2] + 1) % 3
    before, after = (out_of_fold(evaluation(likelihood_nk, labels), np.full(3, 1 / 3)) for labels in (y_n, turned_n))
    np.testing.assert_allclose(before[:2], after[:2], atol=1e-12)
    assert np.abs(before[2:] - after[2:]).max() > 1e-4


def test_one_patient_is_too_few() -> None:
    likelihood_nk, y_n = sampled((0.3, 0.4, 0.3), 2)
    with pytest.raises(InputError, match="of one patient"):
        out_of_fold(evaluation(likelihood_nk, y_n), None)


def test_findings_have_a_temperature_and_no_shift(tmp_path: Path) -> None:
    model = write_model(tmp_path / "findings", ["covid", "normal", "pneumonia"], {}, exclusive=False)
    studies = open_studies(write_set(tmp_path / "set", per_class=20))
    answer = calibrate(model, studies, tmp_path / "calibrated")
    assert answer["shift"] == [] and {*answer["operating_points"]} == {*studies.classes}


def test_nothing_is_lost_when_the_place_is_taken(untrained: Path, studies: LabelledStudies, tmp_path: Path) -> None:
    from attn.core.errors import UsageError

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="which attn did not write"):
        calibrate(untrained, studies, tmp_path / "mine")
    copy = Path(shutil.copytree(untrained, tmp_path / "copy"))
    calibrate(copy, studies, copy)
