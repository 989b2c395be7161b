"""Calibrating on individuals that a model was not trained on: what is kept and refused, and what the numbers say."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from attn.apps.reid.calibrate import Pairs, _out_of_fold, calibrate
from attn.apps.reid.cluster import cluster
from attn.apps.reid.comparison import Comparison
from attn.apps.reid.evaluate import evaluate
from attn.apps.reid.local_features import installed
from attn.apps.reid.predict import ReIDPredictor
from attn.apps.reid.probabilities import Calibration, fit_pairs
from attn.apps.reid.unseen import unseen
from attn.apps.reid.verified import verified
from attn.cli import app
from attn.core.errors import InputError, UsageError
from attn.core.measures.calibration import ece
from attn.data_adapters.images.identities import LabelledIndividuals, open_individuals


def attn(*arguments: object) -> Result:
    done = CliRunner().invoke(app, ["reid", *map(str, arguments)], prog_name="attn")
    assert "Traceback" not in done.output + done.stderr
    return done


def opened(table: Path, split: str | None = None) -> LabelledIndividuals:
    return open_individuals(table, within="flank", encounter="none", split=split)


@pytest.fixture(scope="module")
def calibrated(photographs: Path, reid_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model calibrated on the two individuals that chose its best epoch, by the command line."""
    out = tmp_path_factory.mktemp("calibrated") / "model"
    options = ("--split", "train", "--within", "flank", "--encounter", "none", "--model", reid_model, "--out", out)
    done = attn("calibrate", photographs, *options, "--prior", 0.3, "--json")
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["prior"] == 0.3 and said["pairs"] == {"same": 12, "different": 12} and said["individuals"] == 2
    assert "12 of 54 pictures, which the model was not trained on; left out: 42 of individuals" in said["fitted_on"]
    assert 0 <= said["ece_answers"] <= 1 and 0 <= said["ece_pairs"] <= 1
    return out


def test_the_record(calibrated: Path, photographs: Path) -> None:
    predictor = ReIDPredictor.load(calibrated, "cpu")
    kept = predictor.record.calibration
    assert predictor.calibration is not None and predictor.calibration.prior == 0.3
    assert predictor.calibration.cut is not None and predictor.calibration.cut_reranked is None  # too few pictures
    assert len(kept["used"]) == 12 and len(kept["used_individuals"]) == 2
    assert (calibrated / "reliability.png").read_bytes().startswith(b"\x89PNG")
    assert "animal" not in (calibrated / "model.json").read_text()


def test_a_verified_search_has_a_fit_of_its_own(calibrated: Path, reid_model: Path, photographs: Path) -> None:
    """By hand: the same pairs, with the evidence of their inliers added to the cosines at the cosines' slope."""
    pytest.importorskip("cv2")
    predictor = ReIDPredictor.load(calibrated, "cpu")
    kept, fitted = predictor.record.calibration, predictor.calibration
    assert fitted is not None and fitted.verified is not None
    assert fitted.verified.helps == (kept["verified"]["mAP"] > kept["mAP"])
    individuals = unseen(ReIDPredictor.load(reid_model, "cpu"), opened(photographs, "train"), parts=("train",))
    alone = Calibration(slope=fitted.slope, intercept=fitted.intercept)
    best_vi = verified(Comparison.of(individuals), individuals.individuals, alone).individuals[1]
    same = np.equal.outer(np.unique(individuals.individuals.identities, return_inverse=True)[1], np.arange(2))
    expected = fit_pairs(best_vi.ravel(), same.ravel())
    assert (fitted.verified.slope, fitted.verified.intercept) == pytest.approx(expected)
    again = fitted.of_verified()
    assert again is not None and (again.slope, again.prior) == (fitted.verified.slope, 0.3)
    assert (calibrated / "reliability_verified.png").read_bytes().startswith(b"\x89PNG")


def test_what_it_was_calibrated_on_is_not_held_out(calibrated: Path, photographs: Path) -> None:
    predictor = ReIDPredictor.load(calibrated, "cpu")
    with pytest.raises(InputError, match="none of 54 pictures is left"):
        evaluate(predictor, opened(photographs, "train"))
    assert predictor.calibration is not None
    for verify in (False, True) if installed() else (False,):
        found = evaluate(predictor, opened(photographs), split="test", verify=verify)
        fitted = predictor.calibration.of_verified() if verify else predictor.calibration
        assert found.open_set is not None and fitted is not None and found.open_set.threshold == fitted.threshold
        assert found.open_set.threshold_from == "the model's calibration: a probability, with a prior of 0.3"


def test_what_the_start_has_seen_calibrates_nothing(photographs: Path, reid_model: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(reid_model, tmp_path / "model"))
    record = json.loads((model / "model.json").read_text())
    seen = record["data"]["used_individuals"]
    seen["start"] = seen["validation"]
    (model / "model.json").write_text(json.dumps(record))
    with pytest.raises(
        InputError, match=r"none of 54 pictures is left: .* 12 of individuals that the model it began from"
    ):
        calibrate(model, opened(photographs, "train"), tmp_path / "out")


def test_too_few_pairs(photographs: Path, reid_model: Path, tmp_path: Path) -> None:
    source = opened(photographs, "test")
    one = source.take([i for i, name in enumerate(source.identities) if name == "animal000"])
    for rows, says in (
        (one, "6 of the same individual and 0 of different"),
        (source.take([0, 2, 6, 8]), "4 of the sam"),
    ):
        with pytest.raises(InputError, match=f"too few pairs to calibrate on: {says}"):
            calibrate(reid_model, rows, tmp_path / "out")
    done = attn("calibrate", tmp_path / "nothing.csv", "--model", "bundled")  # refused before anything is read
    assert done.exit_code == 2 and "only a model folder of your own is changed in place" in done.stderr


def test_probabilities_that_hold_out_of_fold() -> None:
    """Drawn similarities whose ratio is linear: the fit says what is true, for pairs and for the best of many."""
    generator = np.random.default_rng(0)
    who = np.repeat(np.arange(40), 20)
    best = generator.normal(0.1, 0.15, (len(who), 40))
    best[np.arange(len(who)), who] = generator.normal(0.55, 0.15, len(who))
    pairs = Pairs(best, who)
    confidence_p, is_p, confidence_a, right_a = _out_of_fold(pairs)
    assert len(confidence_p) == 800 * 40 and is_p.sum() == 800 and len(confidence_a) == 1600
    assert ece(np.stack([1 - confidence_a, confidence_a], 1), right_a) < 0.03
    assert ece(np.stack([1 - confidence_p, confidence_p], 1), is_p) < 0.005
    assert pairs.fit(np.arange(800)) == pytest.approx((0.45 / 0.15**2, (0.1**2 - 0.55**2) / (2 * 0.15**2)), rel=0.05)
    known, right, unknown = pairs.answers(Calibration(slope=20, intercept=-6.5), 0.5)
    assert right.mean() > 0.6 and known.mean() > unknown.mean()


def test_cluster(calibrated: Path, photographs: Path, reid_model: Path, tmp_path: Path) -> None:
    options = ("--split", "test", "--within", "flank", "--encounter", "none")
    out = tmp_path / "groups"
    done = attn("cluster", photographs, *options, "--model", calibrated, "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads((out / "report.json").read_text())
    assert report["pictures"] == 18 and report["distance"] == "cosine" and report["truth"]["true_groups"] == 6
    assert sum(report["by_value"].values()) == report["groups"] >= 2 and report["truth"]["trained_on"] == 0
    assert (out / "groups.png").read_bytes().startswith(b"\x89PNG")
    lines = (out / "groups.csv").read_text().splitlines()
    assert lines[0] == "id,group,pictures,individual,within,error" and len(lines) == 19
    refused = attn("cluster", photographs, *options, "--model", reid_model)
    assert refused.exit_code == 2 and "the model is not calibrated" in refused.stderr and "--cut" in refused.stderr
    every = attn("cluster", photographs, *options, "--model", reid_model, "--cut", 0, "--json")
    assert json.loads(every.stdout)["groups"] == 18 and len(json.loads(every.stdout)["rows"]) == 18


def test_cluster_counts_what_the_model_has_seen(predictor: ReIDPredictor, photographs: Path) -> None:
    found = cluster(predictor, opened(photographs), cut=2.0)
    assert found.report()["truth"]["trained_on"] == 42 and found.report()["groups"] == 2  # two flanks
    with pytest.raises(UsageError, match="not calibrated"):
        cluster(predictor, opened(photographs))
