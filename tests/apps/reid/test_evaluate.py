"""Measuring on individuals that a model has not seen, against the vectors and libraries by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from typer.testing import CliRunner

from attn.apps.reid.comparison import Comparison
from attn.apps.reid.evaluate import BINS, Roc, evaluate, open_set
from attn.apps.reid.predict import ReIDPredictor
from attn.apps.reid.probabilities import Calibration
from attn.apps.reid.rerank import rerank_all
from attn.apps.reid.unseen import Unseen, unseen
from attn.cli import app
from attn.core.errors import InputError
from attn.core.measures.open_set import best_threshold
from attn.data_adapters.images.identities import LabelledIndividuals, open_individuals


def opened(table: Path, **columns: Any) -> LabelledIndividuals:
    return open_individuals(table, **{"within": "flank", "encounter": "none", **columns})


@pytest.fixture(scope="module")
def held_out(photographs: Path, predictor: ReIDPredictor) -> Unseen:
    return unseen(predictor, opened(photographs, split="test"))


def similar(found: Unseen) -> np.ndarray:
    return np.asarray(found.vectors @ found.vectors.T, np.float64)


def allowed(found: Unseen) -> np.ndarray:
    """The pairs that are compared: of one flank, and not a picture with itself."""
    flank = np.array(found.individuals.within)
    return (flank[:, None] == flank) & ~np.eye(len(flank), dtype=bool)


def test_the_rankings_are_those_of_libraries(photographs: Path, predictor: ReIDPredictor, held_out: Unseen) -> None:
    found = evaluate(predictor, opened(photographs), split="test").report()
    who, s, kept = np.array(held_out.individuals.identities), similar(held_out), allowed(held_out)
    ap = [average_precision_score(who[kept[q]] == who[q], s[q, kept[q]]) for q in range(len(who))]
    first = [who[kept[q]][s[q, kept[q]].argmax()] == who[q] for q in range(len(who))]
    assert found["mAP"]["value"] == pytest.approx(np.mean(ap)) and found["rank1"]["value"] == np.mean(first)
    assert (found["queries"], found["gallery"], found["individuals"]) == (18, 18, 3)
    assert found["mAP"]["low"] <= found["mAP"]["value"] <= found["mAP"]["high"]
    assert (found["ap"], found["ties"], found["dropped"]["itself"]) == ("plain", "expected", 18)
    assert found["dropped"]["within"] == 18 * 9
    same = (who[:, None] == who)[kept]
    assert found["auc"]["value"] == pytest.approx(roc_auc_score(same, s[kept]), abs=1e-6)


def test_intervals_resample_individuals(photographs: Path, predictor: ReIDPredictor, held_out: Unseen) -> None:
    """Of three individuals there are ten resamples: the ends are means of the individuals' own values."""
    report = evaluate(predictor, opened(photographs), split="test").report()
    measured = Comparison.of(held_out)
    each = [measured.retrieval.ap[measured.who == i].mean() for i in range(3)]
    assert report["mAP"]["low"] == pytest.approx(min(each)) and report["mAP"]["high"] == pytest.approx(max(each))


def test_nothing_that_was_learned_from_is_measured(photographs: Path, predictor: ReIDPredictor) -> None:
    found = evaluate(predictor, opened(photographs))
    assert {*found.found.individuals.identities} == {"animal000", "animal001", "animal002"}
    assert "42 of individuals that the model was trained on, 12 of individuals that chose" in found.found.measured_on
    with pytest.raises(
        InputError, match="none of 54 pictures is left: 42 of individuals that the model was trained on"
    ):
        evaluate(predictor, opened(photographs, split="train"))


def test_what_was_learned_from_is_known_by_its_pixels_too(
    photographs: Path, predictor: ReIDPredictor, tmp_path: Path
) -> None:
    """Under other names: pictures that were used, and others of the same individual."""
    table = pl.read_csv(photographs).filter(pl.col("identity").is_in(["animal001", "animal002", "animal009"]))
    paths = [str(photographs.parent / path) for path in table["path"]]
    renamed = table.with_columns(path=pl.Series(paths), identity=pl.col("identity").str.replace("animal", "gnu"))
    renamed.write_csv(tmp_path / "labels.csv")
    found = evaluate(predictor, opened(tmp_path / "labels.csv")).found
    assert {*found.individuals.identities} == {"gnu001", "gnu002"}
    assert "6 that the model was trained on" in found.measured_on or "6 that chose" in found.measured_on


def test_shuffled_rows_give_the_same_bytes(photographs: Path, reid_model: Path, tmp_path: Path) -> None:
    table = pl.read_csv(photographs).sample(fraction=1, shuffle=True, seed=3)
    table = table.with_columns(path=pl.lit(str(photographs.parent)) + "/" + table["path"])
    said = []
    for rows in (table, table.reverse()):
        rows.write_csv(tmp_path / "labels.csv")
        command = ["evaluate", tmp_path / "labels.csv", "--image", "path", "--identity", "identity", "--split", "test"]
        command += ["--within", "flank", "--encounter", "encounter", "--model", reid_model, "--json"]
        done = CliRunner().invoke(app, ["reid", *map(str, command)])
        assert done.exit_code == 0, done.stderr
        said.append(done.stdout)
    report = json.loads(said[0])
    assert said[0] == said[1] and {"mAP", "rank1"} <= {*report}
    assert report["rules"] == {
        "within": "flank",
        "apart": ["encounter"],
        "queries_are": "each picture among the others",
    }


def by_hand(found: Unseen, removed: set[str], calibration: Calibration | None = None) -> tuple[list[float], ...]:
    """Scores of the known, whether they are right, scores of the unknown."""
    who, s, kept = found.individuals.identities, similar(found), allowed(found)
    scores: tuple[list[float], ...] = ([], [], [])
    for q, name in enumerate(who):
        best: dict[str, float] = {}
        for g, other in enumerate(who):
            if kept[q, g] and other not in removed:
                best[other] = max(best.get(other, -1), s[q, g])
        answer = max(best, key=best.__getitem__)
        score = best[answer] if calibration is None else calibration.answers(np.array([[*best.values()]])).max()
        if name in removed:
            scores[2].append(score)
        else:
            scores[0].append(score)
            scores[1].append(answer == name)
    return scores


@pytest.mark.parametrize("calibration", [None, Calibration(slope=8, intercept=-3, prior=0.4, threshold=0.3)])
def test_the_open_set(held_out: Unseen, calibration: Calibration | None) -> None:
    found = open_set(Comparison.of(held_out), calibration, seed=5)
    assert found is not None
    removed = {"animal000", "animal001", "animal002"} - {
        name
        for name in ("animal000", "animal001", "animal002")
        if np.allclose(found.known, by_hand(held_out, {name}, calibration)[0])
    }
    assert len(removed) == 2  # one of three is not in the gallery, and only leaving out that one gives these scores
    expected = by_hand(held_out, {*held_out.individuals.identities} - removed, calibration)
    for mine, theirs in zip((found.known, found.right, found.unknown), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
    assert (len(found.known), len(found.unknown)) == (12, 6)
    assert found.threshold == (None if calibration is None else 0.3)


def test_the_threshold_is_chosen_on_the_individuals_of_validation(photographs: Path, predictor: ReIDPredictor) -> None:
    found = evaluate(predictor, opened(photographs), split="test").open_set
    assert found is not None and "the 2 individuals that chose" in found.threshold_from
    seen = unseen(predictor, opened(photographs), parts=("train", "calibration"))  # validation and test
    rows = [i for i, name in enumerate(seen.individuals.identities) if name > "animal002"]
    assert len({seen.individuals.identities[i] for i in rows}) == 2
    validation = unseen(predictor, seen.individuals.take(rows), parts=("train",))
    theirs = open_set(Comparison.of(validation), None)
    assert theirs is not None
    assert found.threshold == best_threshold(theirs.known, theirs.unknown)
    alone = evaluate(predictor, opened(photographs, split="test")).open_set
    assert alone is not None and alone.threshold is None and alone.report()["balanced_accuracy"] is None
    assert alone.report()["identification_rate"].keys() == {"0.01", "0.1"}


def test_the_roc_counts_pairs() -> None:
    """Three similarities of the same, four of different individuals, worked out by hand."""
    same, different = np.zeros((2, BINS), int), np.zeros((2, BINS), int)
    same[0, [2000, 1500]], same[1, 1200] = 1, 1
    different[0, [1600, 1200]], different[1, [100, 50]] = 1, 1
    roc = Roc(same, different)
    assert roc.estimate()["value"] == (4 + 3 + 2.5) / 12
    assert roc.true_positives(0.01) == pytest.approx(1 / 3) and roc.true_positives(0.25) == pytest.approx(2 / 3)


def test_reranked(photographs: Path, predictor: ReIDPredictor, held_out: Unseen) -> None:
    """Within each flank alone: what is never compared is no neighbour."""
    d = Comparison.of(held_out, reranked=True).distances(slice(None))
    flank = np.array(held_out.individuals.within)
    for side in "LR":
        mine = np.flatnonzero(flank == side)
        np.testing.assert_allclose(d[np.ix_(mine, mine)], rerank_all(held_out.vectors[mine])(slice(None)), atol=1e-6)
    assert (d[flank[:, None] != flank] == 2).all()
    report = evaluate(predictor, opened(photographs), split="test", rerank=True).report()
    assert report["rerank"] == {"k1": 20, "k2": 6, "weight": 0.3} and report["rank1"]["value"] > 0


def test_copies_nobody_and_conflicts(photographs: Path, predictor: ReIDPredictor, tmp_path: Path) -> None:
    """A copy of the query is left out and counted; a picture of nobody is no query and stays in the gallery."""
    folder, table = photographs.parent, pl.read_csv(photographs).filter(pl.col("split") == "test")
    rows = [(str(folder / path), name) for path, name in table.select("path", "identity").rows()]
    nobody = str(folder / "animal001_0.png")
    rows = [(path, "" if path == nobody else name) for path, name in rows]
    for name, identity in (("copy.png", "animal000"), ("conflict.png", "gnu")):
        (tmp_path / name).write_bytes((folder / "animal000_0.png").read_bytes())
        rows.append((str(tmp_path / name), identity))
    pl.DataFrame(rows, ["path", "identity"], orient="row").write_csv(tmp_path / "labels.csv")
    found = evaluate(predictor, open_individuals(tmp_path / "labels.csv"))
    report = found.report()
    assert report["dropped"] == {"itself": 19, "copy": 3 * 2}  # three pictures with the same pixels
    assert report["left_out"] == {"unlabelled": 1, "absent": 1, "within": 0, "apart": 0}
    assert len(report["label_conflicts"]) == 1 and str(tmp_path / "conflict.png") in report["label_conflicts"][0]
    assert any("the same picture under two individuals" in sentence for sentence in found.sentences())


def test_pictures(photographs: Path, predictor: ReIDPredictor, tmp_path: Path) -> None:
    (path,) = evaluate(predictor, opened(photographs), split="test").pictures(tmp_path / "out")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_no_query_counts(photographs: Path, predictor: ReIDPredictor) -> None:
    rest = opened(photographs, split="test")
    first = [rest.identities.index(name) for name in rest.individuals]
    with pytest.raises(
        InputError, match="no query has a right item in the gallery: 0 of 3; 3 have none in the gallery"
    ):
        evaluate(predictor, rest.take(first))
