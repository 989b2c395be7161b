"""Measuring radiographs: the rows that the model has not seen, by patient, with the numbers of the libraries."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from chest_fixtures import write_set
from chest_models import write_model
from PIL import Image
from sklearn.metrics import roc_auc_score

from attn.apps.chest.evaluate import evaluate
from attn.apps.chest.predict import ChestPredictor
from attn.apps.chest.probabilities import HALF
from attn.core.errors import InputError, UsageError
from attn.data_adapters.dicom.labelled import LabelledStudies, open_studies


@pytest.fixture(scope="module")
def predictor(untrained: Path) -> ChestPredictor:
    return ChestPredictor.load(untrained)


@pytest.fixture
def copy(chest_table: Path, tmp_path: Path) -> Path:
    """The labelled set in another folder, to be changed."""
    return Path(shutil.copytree(chest_table.parent, tmp_path / "moved")) / chest_table.name


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> LabelledStudies:
    """Images that the model has not seen, thirty of each class."""
    return open_studies(write_set(tmp_path_factory.mktemp("other") / "set", per_class=30, first=100))


def test_images_of_the_training_are_left_out(predictor: ChestPredictor, studies: LabelledStudies) -> None:
    seen: list[int] = []
    found = evaluate(predictor, studies, advance=lambda: seen.append(1))
    assert found.rows == [row for row in range(36) if row % 12 >= 6] and len(seen) == 36
    assert found.measured_on == (
        "18 of 36 rows, held out when the model was trained; left out: 12 that the model was trained on, "
        "6 that chose its best epoch"
    )


@pytest.mark.parametrize("change", ["renamed", "relabelled", "re-encoded"])
def test_they_are_known_by_their_pixels(predictor: ChestPredictor, copy: Path, change: str) -> None:
    table = pl.read_csv(copy)
    if change == "relabelled":
        table = table.with_columns(label=pl.lit("covid"))
    else:
        suffix = "png" if change == "renamed" else "tif"
        for number, path in enumerate(table["path"]):
            Image.open(copy.parent / path).save(copy.parent / f"{number}.{suffix}")
        table = table.with_columns(path=pl.Series([f"{number}.{suffix}" for number in range(36)]))
    table.write_csv(copy)
    found = evaluate(predictor, open_studies(copy))
    assert found.rows == [row for row in range(36) if row % 12 >= 6]
    assert found.measured_on.startswith("18 of 36 rows, which the model has not seen; left out: 12 that the model was")


def test_other_images_of_a_patient_that_was_trained_on_are_left_out(predictor: ChestPredictor, copy: Path) -> None:
    """Row 6 of the first class, held out, is now of the patient of row 0."""
    table = pl.read_csv(copy)
    table[6, "patient_id"] = table[0, "patient_id"]
    table.write_csv(copy)
    found = evaluate(predictor, open_studies(copy))
    assert 6 not in found.rows and len(found.rows) == 17 and "1 of patients that it has seen" in found.measured_on


def test_new_images_are_all_measured(predictor: ChestPredictor, other: LabelledStudies) -> None:
    found = evaluate(predictor, other)
    assert found.rows == list(range(90))
    assert found.measured_on == "90 of 90 rows; the model was not trained on this set"


def test_a_record_that_does_not_say_what_was_used_is_not_taken_for_one_that_used_nothing(
    tmp_path: Path, studies: LabelledStudies
) -> None:
    predictor = ChestPredictor.load(write_model(tmp_path / "silent", studies.classes, {}))
    assert "the model's record does not say which images" in evaluate(predictor, studies).measured_on


def test_nothing_left_is_one_sentence(predictor: ChestPredictor, copy: Path) -> None:
    pl.read_csv(copy)[[0, 1, 4, 12, 13]].write_csv(copy)
    with pytest.raises(InputError, match="nothing is left to measure on: of 5 rows there are 4 that the model was tr"):
        evaluate(predictor, open_studies(copy))


def test_rows_of_classes_that_the_model_does_not_know_are_left_out_and_counted(
    predictor: ChestPredictor, copy: Path
) -> None:
    table = pl.read_csv(copy)
    table = table.with_columns(label=pl.when(pl.int_range(36) % 12 == 7).then(pl.lit("other")).otherwise("label"))
    table.write_csv(copy)
    found = evaluate(predictor, open_studies(copy))
    assert len(found.rows) == 15 and "3 without a label that it knows" in found.measured_on
    table.with_columns(label=pl.Series(["a", "b"] * 18)).write_csv(copy)
    with pytest.raises(InputError, match="none of the labels a, b is one of the model's; it knows covid, normal"):
        evaluate(predictor, open_studies(copy))


def test_numbers_are_those_of_scikit_learn(predictor: ChestPredictor, other: LabelledStudies) -> None:
    found = evaluate(predictor, other)
    report = found.report()
    p_nk = np.array([[*predictor.predict(other.read(row)).probabilities.values()] for row in range(90)])
    np.testing.assert_allclose(found.probabilities, p_nk, atol=1e-5)
    for k, row in enumerate(report["per_class"]):
        truth_n = np.array(other.labels) == row["label"]
        assert row["auc"]["value"] == pytest.approx(roc_auc_score(truth_n, p_nk[:, k]), abs=1e-3)
        assert row["threshold"] == HALF and row["positive"] == 30
    assert report["n"] == 90 and report["patients"] == 45
    assert report["use"] == "research use, not a medical device"
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_by_columns_each_group_has_its_own_numbers_and_a_small_one_its_size_alone(
    predictor: ChestPredictor, copy: Path, tmp_path: Path
) -> None:
    table = write_set(tmp_path / "many", per_class=30, first=100)
    rows = pl.read_csv(table)
    view = pl.Series("view", ["AP"] * 19 + ["PA"] * 70 + [None])
    rows.with_columns(view).write_csv(table)
    studies = open_studies(table)
    found = evaluate(predictor, studies, by=["sex", "view"])
    groups = {(row["by"], row["group"]): row for row in found.report()["groups"]}
    assert {key: row["n"] for key, row in groups.items()} == {
        ("sex", "F"): 45, ("sex", "M"): 45, ("view", "AP"): 19, ("view", "PA"): 70, ("view", "unknown"): 1,
    }  # fmt: skip
    assert {name for name, value in groups["view", "AP"].items() if value is not None} == {"by", "group", "n"}
    women = [row for row in range(90) if rows["sex"][row] == "F"]
    truth = np.array(studies.labels)[women]
    expected = [roc_auc_score(truth == label, found.probabilities[women, k]) for k, label in enumerate(found.labels)]
    assert groups["sex", "F"]["auc"]["value"] == pytest.approx(np.mean(expected))
    assert groups["sex", "F"]["auc_covid"]["value"] == pytest.approx(expected[0])
    assert [groups["sex", "F"][f"n_{label}"] for label in found.labels] == [
        int((truth == label).sum()) for label in found.labels
    ]


@pytest.mark.parametrize("column", ["patient_id", "path"])
def test_a_column_that_tells_patients_apart_makes_no_groups(
    predictor: ChestPredictor, studies: LabelledStudies, column: str
) -> None:
    with pytest.raises(UsageError, match="tells single patients apart"):
        evaluate(predictor, studies, by=[column])
    with pytest.raises(InputError, match="no column"):
        evaluate(predictor, studies, by=["nothing"])


def test_findings_that_do_not_exclude_each_other(tmp_path: Path, other: LabelledStudies) -> None:
    """Two findings; where nobody looked for the second, its row does not count for it."""
    predictor = ChestPredictor.load(
        write_model(tmp_path / "findings", ["opacity", "haze", "absent"], {}, exclusive=False)
    )
    studies = LabelledStudies.__new__(LabelledStudies)
    studies.__dict__ |= {**other.__dict__, "groups": other.groups, "classes": ["haze", "opacity"], "exclusive": False}
    studies.targets = np.stack([np.arange(90) % 2, np.arange(90) % 3 == 0], axis=1).astype(np.float32)
    studies.targets[60:, 1] = np.nan
    studies.targets[80:] = np.nan
    found = evaluate(predictor, studies)
    opacity, haze, absent = found.report()["per_class"]
    assert (opacity["n"], haze["n"], absent["n"]) == (60, 80, 0) and absent["auc"]["value"] is None
    auc = roc_auc_score(studies.targets[:80, 0], found.probabilities[:, 1])
    assert haze["auc"]["value"] == pytest.approx(auc)
    assert not found.exclusive and "10 without a label that it knows" in found.measured_on
    assert [path.name for path in found.pictures(tmp_path / "report")] == ["reliability.png"]


def test_pictures_are_drawn(predictor: ChestPredictor, studies: LabelledStudies, tmp_path: Path) -> None:
    paths = evaluate(predictor, studies).pictures(tmp_path / "new" / "report")
    assert [path.name for path in paths] == ["reliability.png", "confusion.png"]
    for path in paths:
        with Image.open(path) as picture:
            assert min(picture.size) > 300


def test_unreadable_images_are_named(predictor: ChestPredictor, copy: Path) -> None:
    studies = open_studies(copy)
    (copy.parent / studies.ids[8]).unlink()
    found = evaluate(predictor, studies)
    assert [*found.failed] == [studies.name(8)] and "1 that cannot be read" in found.measured_on
