"""Measuring: the right rows, the right numbers, and a temperature that is stored and used."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from galaxy_fixtures import write_set
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from attn.apps.galaxy.data import stratified_split
from attn.apps.galaxy.evaluate import HEADLINES, calibrate, evaluate, evaluate_rows
from attn.apps.galaxy.predict import GalaxyPredictor
from attn.core.errors import InputError
from attn.core.measures.calibration import TEMPERATURES
from attn.core.models import folder as model_folder
from attn.core.models.used import array_hash
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
    seen: list[int] = []
    found = evaluate(predictor, labelled, advance=lambda: seen.append(1))
    held_out = predictor.record.data["held_out"]
    assert [labelled.ids[row] for row in found.rows] == sorted(held_out, key=labelled.ids.index)
    assert found.measured_on == f"the {len(held_out)} rows held out when the model was trained, of {len(labelled)}"
    assert len(seen) == len(labelled) and len(found.targets) == len(held_out)
    assert found.headlines() == pytest.approx({key: predictor.record.metrics[key] for key in HEADLINES})


def test_the_bundled_model_names_every_image_that_it_has_seen() -> None:
    data = GalaxyPredictor.load(device="cpu").record.data
    extra, count = data["extra"]["count"], data["count"]
    assert len(set(data["used"]["train"])) == data["trained_on"] + extra
    assert len(set(data["used"]["validation"])) == count - data["trained_on"] - len(data["held_out"])


@pytest.mark.real_data
def test_the_training_rows_of_the_bundled_model_are_known_under_other_paths(data_dir: Path, tmp_path: Path) -> None:
    """In a table with other rows and absolute paths, and after a picture was saved in another format."""
    source = open_galaxies(data_dir / "galaxy/efigi/labels.csv", label="coarse")
    split = stratified_split(source.labels)
    chosen = split.train[:5] + split.held_out[:5]
    for row in chosen[:2]:
        Image.fromarray(source.read(row).pixels).save(tmp_path / f"{row}.png")
    paths = [tmp_path / f"{row}.png" for row in chosen[:2]] + [
        data_dir / "galaxy/efigi" / source.ids[k] for k in chosen[2:]
    ]
    table = pl.DataFrame({"path": list(map(str, paths)), "label": [source.labels[row] for row in chosen]})
    table.write_csv(tmp_path / "some.csv")
    found = evaluate(GalaxyPredictor.load(device="cpu"), open_galaxies(tmp_path / "some.csv"))
    assert found.rows == list(range(5, 10)) and set(found.used.values()) == {"train"}


def test_the_set_is_known_again_in_another_folder(predictor: GalaxyPredictor, copy: Path) -> None:
    found = evaluate(predictor, open_galaxies(copy, label="kind"))
    assert "held out" in found.measured_on and len(found.rows) == len(predictor.record.data["held_out"])


def test_the_record_says_which_image_was_used_for_what(predictor: GalaxyPredictor, labelled: LabelledImages) -> None:
    split = stratified_split(labelled.labels)
    stretch = predictor.preprocessing.stretch
    for part, rows in (("train", split.train), ("validation", split.validation)):
        assert predictor.record.data["used"][part] == [array_hash(labelled.read(row, stretch).pixels) for row in rows]


@pytest.mark.parametrize("change", ["relabelled", "shorter", "renamed"])
def test_in_another_set_the_images_of_the_training_are_left_out(
    predictor: GalaxyPredictor, labelled: LabelledImages, copy: Path, change: str
) -> None:
    table = pl.read_csv(copy)
    if change == "relabelled":
        table[0, "kind"] = table[-1, "kind"]
    elif change == "shorter":
        table = table.head(-1)
    else:
        for number, path in enumerate(table["path"]):
            (copy.parent / path).rename(copy.parent / f"{number}.png")
        table = table.with_columns(path=pl.Series([f"{number}.png" for number in range(len(table))]))
    table.write_csv(copy)
    found = evaluate(predictor, open_galaxies(copy, label="kind"))
    split = stratified_split(labelled.labels)
    assert found.rows == [row for row in sorted(split.held_out) if row < len(table)]
    assert {row for row, part in found.used.items() if part == "train"} == {r for r in split.train if r < len(table)}
    assert found.measured_on.startswith(f"the {len(found.rows)} rows of {len(table)} that the model has not seen; left")
    assert "25 that the model was trained on" in found.measured_on or change == "shorter"


def test_new_images_are_all_measured(predictor: GalaxyPredictor, tmp_path: Path) -> None:
    other = open_galaxies(write_set(tmp_path / "other", first=100), label="kind")
    found = evaluate(predictor, other)
    assert found.rows == list(range(len(other))) and not found.used
    assert found.measured_on == f"all {len(other)} rows; the model was not trained on this set"


def test_nothing_left_is_one_sentence(predictor: GalaxyPredictor, labelled: LabelledImages, copy: Path) -> None:
    split = stratified_split(labelled.labels)
    pl.read_csv(copy)[sorted([*split.train[:4], split.validation[0]])].write_csv(copy)
    with pytest.raises(InputError, match="nothing is left to measure on: of 5 rows there are 4 that the model was tr"):
        evaluate(predictor, open_galaxies(copy, label="kind"))


def test_a_model_of_an_older_version_is_measured_as_before(
    micro_model: Path, labelled: LabelledImages, copy: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(micro_model, tmp_path / "old"))
    record = json.loads((folder / "model.json").read_text())
    del record["data"]["used"]
    (folder / "model.json").write_text(json.dumps(record))
    old = GalaxyPredictor.load(folder)
    assert len(evaluate(old, labelled).rows) == len(record["data"]["held_out"])
    pl.read_csv(copy).head(9).write_csv(copy)
    assert len(evaluate(old, open_galaxies(copy, label="kind")).rows) == 9


def test_by_a_column_each_group_has_its_own_numbers(predictor: GalaxyPredictor, copy: Path) -> None:
    table = pl.read_csv(copy)
    table.with_columns(survey=pl.Series(["a", "b", None] * 12)).write_csv(copy)
    labelled = open_galaxies(copy, label="kind")
    found = evaluate(predictor, labelled, by="survey")
    report = found.report()
    assert report["by"] == "survey" and sum(row["n"] for row in report["groups"]) == report["n"] == len(found.rows)
    for row in report["groups"]:
        mine = [place for place, number in enumerate(found.rows) if (("a", "b", "")[number % 3]) == row["group"]]
        right = found.probabilities[mine].argmax(1) == found.targets[mine]
        assert row["n"] == len(mine) and row["accuracy"]["value"] == pytest.approx(right.mean())
    with pytest.raises(InputError, match="no column"):
        evaluate(predictor, labelled, by="nothing")


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
    assert len(seen) == 10 and len(evaluation.targets) == len(evaluation.log_probabilities) == 8
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
    assert calibration["fitted_on"] == "the 8 rows held out when the model was trained, of 36"
    before, after = model_folder.load_state(micro_model), model_folder.load_state(tmp_path / "calibrated")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    logits = torch.tensor([[2.0, -1.0, 0.5]])
    torch.testing.assert_close(again.probabilities(logits), (logits / again.temperature).softmax(-1))


def test_a_calibration_leaves_the_metrics_as_they_were_measured(micro_model: Path, tmp_path: Path) -> None:
    """The ECE of one set never stands beside the name of another."""
    other = open_galaxies(write_set(tmp_path / "other", first=100), label="kind")
    calibration = calibrate(micro_model, other, tmp_path / "calibrated")
    record = model_folder.load_record(tmp_path / "calibrated")
    assert record.metrics == model_folder.load_record(micro_model).metrics
    kept = {"anomaly": model_folder.load_record(micro_model).calibration["anomaly"]}
    assert record.calibration == calibration | {"used": record.calibration["used"]} | kept
    assert calibration["fitted_on"] == f"all {len(other)} rows; the model was not trained on this set"


def test_rows_of_a_calibration_are_not_held_out_afterwards(
    micro_model: Path, labelled: LabelledImages, tmp_path: Path
) -> None:
    calibrate(micro_model, labelled, tmp_path / "calibrated")
    predictor = GalaxyPredictor.load(tmp_path / "calibrated")
    with pytest.raises(
        InputError, match=r"28 that the model was trained on, 8 that it was calibrated on; give labelled"
    ):
        evaluate(predictor, labelled)
    again = calibrate(tmp_path / "calibrated", labelled, tmp_path / "calibrated")  # replaces the first calibration
    assert again["temperature"] == pytest.approx(predictor.temperature)


def test_calibration_makes_the_rows_likelier(micro_model: Path, labelled: LabelledImages, tmp_path: Path) -> None:
    """A model whose temperature is far off gets one whose likelihood is no worse than that of any other."""
    folder = Path(shutil.copytree(micro_model, tmp_path / "off"))
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(record | {"calibration": {"temperature": 0.05}}))
    calibration = calibrate(folder, labelled, folder)
    assert calibration["ece_after"] <= calibration["ece_before"]
    predictor = GalaxyPredictor.load(folder)
    evaluation = evaluate(predictor, labelled, calibrated=False)
    log_p, targets = torch.from_numpy(evaluation.log_probabilities), torch.from_numpy(evaluation.targets)

    def loss(temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(log_p / temperature, targets))

    assert all(loss(predictor.temperature) <= loss(t) + 1e-6 for t in np.geomspace(*TEMPERATURES, 40))


def test_labels_of_another_set_are_mapped_to_the_models(predictor: GalaxyPredictor, copy: Path) -> None:
    """`disc` and `ring` are one label there, `round` is called otherwise, and some rows are to be left out."""
    kinds = pl.read_csv(copy)["kind"].to_list()
    other = [{"disc": "flat", "ring": "flat", "round": "blob"}[kind] for kind in kinds]
    pl.read_csv(copy).with_columns(kind=pl.Series(["odd", *other[1:]])).write_csv(copy)
    source, rows = open_galaxies(copy, label="kind"), pl.read_csv(copy)
    Image.fromarray(np.full((40, 40, 3), 9, np.uint8)).save(copy.parent / rows["path"][1])  # an image of its own
    mapping = ["flat=disc,ring", "blob=round", "odd="]
    found = evaluate(predictor, source, mapping=mapping)
    assert found.labels == ["flat", "blob|round"]
    assert found.measured_on.endswith("; 1 rows left out by their label")
    np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-6)
    p_nk = np.exp(found.log_probabilities / predictor.temperature)
    p_nk /= p_nk.sum(1, keepdims=True)
    flat = [predictor.labels.index(label) for label in ("disc", "ring")]
    np.testing.assert_allclose(found.probabilities[:, 0], p_nk[:, flat].sum(1), atol=1e-5)
    assert [found.labels[k].removesuffix("|round") for k in found.targets] == [source.labels[row] for row in found.rows]
    assert 0 not in found.rows and found.report()["labels"] == ["flat", "blob|round"]
