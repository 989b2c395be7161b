"""The rankings of `reid/cases`, made after public bug reports: measures, ties, calibration and groups."""

import hashlib
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attn.apps.reid.groups import groups
from attn.apps.reid.nearest import nearest, unit
from attn.apps.reid.probabilities import Calibration, fit_pairs
from attn.apps.reid.rerank import rerank
from attn.core.errors import InputError
from attn.core.measures.retrieval import Retrieval, Rules, evaluate_retrieval
from attn.data_adapters.images.identities import LabelledIndividuals, open_individuals

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def cases(data_dir: Path) -> Path:
    return data_dir / "reid" / "cases"


def codes(texts: Any, table: dict[str, int]) -> np.ndarray:
    return np.array([table.setdefault(str(text), len(table)) if str(text) else -1 for text in texts])


def leave_one_out(found: LabelledIndividuals) -> Retrieval:
    names, cameras = dict[str, int](), dict[str, int]()
    who, rows = codes(found.identities, names), np.arange(len(found))
    camera = codes(found.cameras, cameras) if found.cameras else None
    apart = {} if camera is None else {"camera": (camera, camera)}
    distances = np.random.default_rng(0).random((len(found), len(found)))
    return evaluate_retrieval(distances, who, who, Rules(apart=apart, copies={"itself": (rows, rows)}))


def test_cameras_partly_missing(cases: Path) -> None:
    found = open_individuals(cases / "cameras_partly_missing/labels.csv")
    assert found.cameras is not None and found.cameras.count("") == 6
    measured = leave_one_out(found)
    assert measured.dropped == {"itself": 8, "camera": 0} and measured.valid.all()
    assert open_individuals(cases / "cameras_partly_missing/labels_no_camera.csv").cameras is None


def evaluated(cases: Path, name: str) -> tuple[dict[str, Any], Retrieval]:
    """The case with its junk, -1, out of the gallery, as the layout leaves it out, and 0000 as nobody."""
    case = json.loads((cases / name / "case.json").read_text())
    kept = [i for i, who in enumerate(case["gallery_identity"]) if who != "-1"]
    who, camera = dict[str, int](), dict[str, int]()
    gallery = ["" if case["gallery_identity"][i] == "0000" else case["gallery_identity"][i] for i in kept]
    cameras = codes(case["query_camera"], camera), codes(np.array(case["gallery_camera"])[kept], camera)
    distances = np.array(case["distances"], float)[:, kept]
    rules = Rules(apart={"camera": cameras})
    depths = (1, 2, 3, 5, 10)
    return case, evaluate_retrieval(distances, codes(case["query_identity"], who), codes(gallery, who), rules, depths)


@pytest.mark.parametrize("name", ["eval_market", "eval_no_match", "eval_small_gallery"])
def test_evaluation(cases: Path, name: str) -> None:
    case, found = evaluated(cases, name)
    expected = {key: float(Fraction(value)) for key, value in case["expected_exact"].items()}
    summary = found.summary()
    assert (summary["queries"], sum(summary["left_out"].values())) == (expected["valid"], expected["left_out"])
    for key, mine in [("mAP", "mAP"), ("mINP", "mINP"), *((f"cmc{k}", f"rank{k}") for k in (1, 2, 3, 5, 10))]:
        assert summary[mine] == pytest.approx(expected[key], abs=1e-9)
    for q, one in enumerate(case["per_query"]):
        assert (
            np.isnan(found.ap[q]) if one is None else found.ap[q] == pytest.approx(float(Fraction(one["AP"])), abs=1e-9)
        )


def test_eval_no_match_counts_the_two_reasons_apart(cases: Path) -> None:
    left_out = evaluated(cases, "eval_no_match")[1].left_out
    assert left_out == {"unlabelled": 0, "absent": 1, "within": 0, "apart": 2}


def test_eval_ties(cases: Path) -> None:
    case, found = evaluated(cases, "eval_ties")
    assert found.summary()["mAP"] == pytest.approx(float(Fraction(case["tie_rules"]["expected"]["exact"])), abs=1e-9)
    for q, one in enumerate(case["tie_rules_per_query"]):
        assert found.ap[q] == pytest.approx(float(Fraction(one["expected"])), abs=1e-9)
        assert found.cmc[q, 0] == pytest.approx(float(Fraction(one["rank1_expected"])), abs=1e-9)
    shuffled = np.load(cases / "eval_ties/case_shuffled.npz")
    who = dict[str, int]()
    query, gallery = codes(shuffled["query_identity"], who), codes(shuffled["gallery_identity"], who)
    again = evaluate_retrieval(shuffled["distances"], query, gallery)
    np.testing.assert_array_equal(again.ap, found.ap)


def test_eval_none_valid(cases: Path) -> None:
    with pytest.raises(InputError, match=r"0 of 3; 3 have only such as are left out"):
        evaluated(cases, "eval_none_valid")[1].summary()


def test_vectors_zero_nan(cases: Path) -> None:
    case = np.load(cases / "vectors_zero_nan/case.npz")
    gallery, usable = unit(case["gallery"])
    rows, cosines = nearest(unit(case["query"])[0], gallery, 7)
    assert [str(case["path"][row]) for row in rows[0] if row >= 0] == ["b_copy", "f_small", "g_large", "a_normal"]
    np.testing.assert_allclose(cosines[0, :4], [1, 1, 1, 0.6], atol=1e-6)
    assert np.nanmax(cosines) <= 1 and int((~usable).sum()) == 3


def test_rerank_tiny(cases: Path) -> None:
    case = json.loads((cases / "rerank_tiny/case.json").read_text())
    points = np.array(case["points"])
    found = rerank(points[:3], points[3:], case["k1"], case["k2"], case["lam"])(slice(None))
    np.testing.assert_allclose(found, case["published"], atol=1e-5)
    assert np.argsort(found, axis=1).tolist() == case["rank_after"]


@pytest.mark.parametrize("block", [1, 7, 64, 997])
def test_topk_and_blocks(cases: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = np.load(cases / "topk_and_blocks/case.npz")
    monkeypatch.setattr("attn.apps.reid.nearest.BLOCK_BYTES", block * 4 * 997)
    rows, _ = nearest(unit(case["query"])[0], unit(case["gallery"])[0], 20)
    expected = json.loads((cases / "topk_and_blocks/case.json").read_text())["sha256"]
    assert hashlib.sha256(rows.tobytes()).hexdigest() == expected


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("a", "of the same individual and 0 of different individuals"),
        ("b", "0 of the same individual and"),
        ("d", "2 of the same individual and 1 of different individuals"),
        ("e", "no more alike than those of different ones"),
    ],
)
def test_calibrate_one_class_is_refused(cases: Path, case: str, says: str) -> None:
    pairs = json.loads((cases / "calibrate_one_class/pairs.json").read_text())[case]
    with pytest.raises(InputError, match=says):
        fit_pairs(np.array(pairs["score"]), np.array(pairs["same"], bool))


def test_calibrate_one_class_perfectly_separated(cases: Path) -> None:
    pairs = json.loads((cases / "calibrate_one_class/pairs.json").read_text())["c"]
    score = np.array(pairs["score"])
    slope, intercept = fit_pairs(score, np.array(pairs["same"], bool))
    p = Calibration(slope=slope, intercept=intercept).pair(score)
    assert ((p > 0) & (p < 1)).all() and (np.diff(p[np.argsort(score)]) >= 0).all()


@pytest.mark.parametrize(("case", "count"), [("a", 1), ("b", 1), ("c", 1), ("d", 12), ("e", 3)])
def test_cluster_small(cases: Path, case: str, count: int) -> None:
    vectors = unit(np.load(cases / "cluster_small/case.npz")[case])[0]
    found = groups(vectors, None, 0.5)
    assert len({*found.tolist()}) == count and found.min() == 0
