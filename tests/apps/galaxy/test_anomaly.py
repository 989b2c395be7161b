"""The anomaly of a model: what it is, where it is kept, and what a predictor does with it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from attn.apps.galaxy.anomaly import ANOMALY, Anomaly, load_anomaly, products
from attn.apps.galaxy.model import Astroformer
from attn.apps.galaxy.number import Number
from attn.apps.galaxy.predict import GalaxyPredictor
from attn.core.errors import ModelError, UsageError
from attn.core.models import folder as model_folder
from attn.core.models.folder import load_record
from attn.core.models.weights import write_tensors
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.sky.looks import MEASURES, looks

TERMS = MEASURES + MEASURES * (MEASURES + 1) // 2


def pictures(count: int = 6) -> list[np.ndarray]:
    return [np.random.default_rng(seed).integers(0, 255, (40, 40, 3), dtype=np.uint8) for seed in range(count)]


def measures(xs: list[np.ndarray]) -> np.ndarray:
    return np.array([looks(x).measures for x in xs])


def drawn(weight: np.ndarray, threshold: float) -> Anomaly:
    known = measures(pictures())
    return Anomaly(known.mean(0), known.std(0) + 0.1, weight, np.asarray(threshold))


@pytest.fixture(scope="module")
def with_anomaly(micro_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The micro model with an anomaly of which half of `pictures` is unusual."""
    weight = np.linspace(-1, 1, TERMS)
    shape = drawn(weight, 0)
    half = float(np.median(products(measures(pictures()), shape.mean, shape.deviation) @ weight))
    folder = tmp_path_factory.mktemp("models") / "with"
    record = load_record(micro_model)
    save = drawn(weight, half + 1e-5).save
    model_folder.save(folder, model_folder.load_state(micro_model), record, {ANOMALY: save})
    return folder


def test_score_is_the_sigmoid_of_measures_and_their_products() -> None:
    draw = np.random.default_rng(0)
    mean, deviation, weight = draw.normal(0, 1, 3), draw.uniform(1, 2, 3), draw.normal(0, 1, 9)
    x = draw.normal(0, 1, (5, 3)) + np.array([0, 0, 100])  # the last is far beyond FARTHEST
    scored = Anomaly(mean, deviation, weight, np.asarray(0.3)).score(x)
    for each, found in zip(x, scored, strict=True):
        a, b, _ = (each - mean) / deviation
        terms = [a, b, 4, a * a, a * b, a * 4, b * b, b * 4, 16]
        assert found == pytest.approx(1 / (1 + np.exp(0.3 - np.dot(terms, weight))))
    with np.errstate(all="raise"):  # far away it is 0 or 1, without an overflow
        far = Anomaly(mean, deviation, 1e6 * weight, np.asarray(0.3)).score(x)
    assert {*far.tolist()} <= {0.0, 1.0}


def test_a_predictor_says_the_anomaly_and_flags_what_is_unusual(with_anomaly: Path) -> None:
    predictor = GalaxyPredictor.load(with_anomaly)
    for tta in (False, True):
        rows = list(predictor.predict_many(pictures(), tta=tta))
        for row in rows:
            assert ("unusual" in row.flags) == (row.values["anomaly"] > 0.5)
            assert row.label is not None and 0 <= row.values["anomaly"] <= 1
    assert sum("unusual" in row.flags for row in predictor.predict_many(pictures())) == 3
    turned = predictor.predict_many([np.rot90(each).copy() for each in pictures()])
    for one, other in zip(turned, predictor.predict_many(pictures()), strict=True):
        assert one.values["anomaly"] == pytest.approx(other.values["anomaly"], abs=0.02)


def test_strict_withholds_the_label_of_what_is_unusual(with_anomaly: Path) -> None:
    predictor = GalaxyPredictor.load(with_anomaly)
    plain = list(predictor.predict_many(pictures()))
    strict = list(predictor.predict_many(pictures(), strict=True))
    for before, after in zip(plain, strict, strict=True):
        if "unusual" in before.flags:
            assert after.label is None and after.error is not None and "unusual)" in after.error
            assert after.values["anomaly"] == pytest.approx(before.values["anomaly"], abs=1e-4)
            assert not after.probabilities and "unusual" in after.flags
        elif after.error is None:
            assert after.label == before.label


def test_strict_keeps_the_flags_of_what_is_seen_in_the_pixels(with_anomaly: Path) -> None:
    sky = Cutout("sky", np.full((40, 40, 3), 20, np.uint8), flags=("faint",), values={"z": 0.1})
    (row,) = GalaxyPredictor.load(with_anomaly).predict_many([sky], strict=True)
    assert row.label is None and row.error is not None and "sky: does not look like a galaxy (empty" in row.error
    assert row.flags[:2] == ("faint", "empty") and row.values["z"] == 0.1


def test_a_model_without_one_has_an_empty_anomaly_and_the_same_answers(with_anomaly: Path, tmp_path: Path) -> None:
    model_folder.save(tmp_path / "without", model_folder.load_state(with_anomaly), load_record(with_anomaly))
    without = list(GalaxyPredictor.load(tmp_path / "without").predict_many(pictures()))
    among = list(GalaxyPredictor.load(with_anomaly).predict_many(pictures()))
    assert [row.values for row in without] == [{"anomaly": None}] * 6
    assert [row.probabilities for row in without] == [row.probabilities for row in among]


def test_a_column_of_the_catalogue_is_not_overwritten(micro_model: Path) -> None:
    cutout = Cutout(id="1", pixels=pictures()[0], values={"anomaly": 3.0})
    with pytest.raises(UsageError, match="'anomaly' is one of the result's own"):
        list(GalaxyPredictor.load(micro_model).predict_many([cutout]))


def test_nor_is_one_called_as_the_number(micro_model: Path) -> None:
    predictor = GalaxyPredictor.load(micro_model)
    predictor.number = Number(name="z", share=False, mean=0.1, std=0.05)
    cutout = Cutout(id="1", pixels=pictures()[0], values={"z": 3.0})
    with pytest.raises(UsageError, match="'z' is one of the result's own"):
        list(predictor.predict_many([cutout]))


def test_calibrate_keeps_it(with_anomaly: Path, tmp_path: Path, labelled_table: Path) -> None:
    from attn.apps.galaxy.evaluate import calibrate
    from attn.data_adapters.sky.labelled import open_galaxies

    calibrate(with_anomaly, open_galaxies(labelled_table, label="kind"), tmp_path / "new")
    assert (tmp_path / "new" / ANOMALY).read_bytes() == (with_anomaly / ANOMALY).read_bytes()
    assert GalaxyPredictor.load(tmp_path / "new").anomaly is not None


WHOLE = {name: torch.ones(shape) for name, shape in (("mean", MEASURES), ("deviation", MEASURES), ("weight", TERMS))}
WHOLE["threshold"] = torch.tensor(0.0)


@pytest.mark.parametrize(
    "change",
    [
        {"weight": torch.zeros(5)},
        {"weight": torch.full((TERMS,), torch.nan)},
        {"threshold": torch.tensor(1)},
        {"threshold": torch.zeros(1)},
        {"deviation": torch.zeros(MEASURES)},
        {"other": torch.zeros(3)},
    ],
)
def test_one_that_does_not_fit_is_a_sentence(
    change: dict[str, torch.Tensor], micro_model: Path, tmp_path: Path
) -> None:
    record = load_record(micro_model).model_copy(update={"files": {ANOMALY: "0"}})
    write_tensors(tmp_path / ANOMALY, WHOLE)
    assert load_anomaly(tmp_path, record) is not None
    write_tensors(tmp_path / ANOMALY, WHOLE | change)
    with pytest.raises(ModelError, match="does not fit the model beside it"):
        load_anomaly(tmp_path, record)
    (tmp_path / ANOMALY).write_bytes(b"not tensors")
    with pytest.raises(ModelError):
        load_anomaly(tmp_path, record)


def test_one_of_an_older_attn_is_said_and_not_used(
    micro_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def save(path: Path) -> None:
        write_tensors(path, {"weight": torch.ones(5), "threshold": torch.tensor(0.0)})

    model_folder.save(tmp_path / "m", model_folder.load_state(micro_model), load_record(micro_model), {ANOMALY: save})
    assert GalaxyPredictor.load(tmp_path / "m").anomaly is None
    assert "of an older attn and not used; train the model anew" in caplog.text


def test_a_damaged_file_is_noticed(with_anomaly: Path, tmp_path: Path) -> None:
    for path in with_anomaly.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / ANOMALY).write_bytes((tmp_path / ANOMALY).read_bytes()[:-2] + b"\0\0")
    assert json.loads((tmp_path / "model.json").read_text())["files"][ANOMALY]
    with pytest.raises(ModelError, match="is not the file"):
        GalaxyPredictor.load(tmp_path)


def test_features_are_what_the_classifier_sees(micro_model: Path) -> None:
    predictor = GalaxyPredictor.load(micro_model)
    assert isinstance(predictor.model, Astroformer)
    x = torch.rand(2, 3, predictor.preprocessing.side, predictor.preprocessing.side)
    with torch.inference_mode():
        logits = predictor.model.classify(predictor.features(x)[0])
        torch.testing.assert_close(logits, predictor.model(predictor.preprocessing.normalise(x)))
    assert predictor.features(x, tta=True).shape[0] == 8
