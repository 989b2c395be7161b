"""Comparing with a look at local features, against a search of each query and a loop over all pairs."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")

from attn.apps.reid import verified as module
from attn.apps.reid.comparison import Comparison
from attn.apps.reid.evaluate import evaluate
from attn.apps.reid.index import index
from attn.apps.reid.local_features import local_features
from attn.apps.reid.predict import ReIDPredictor
from attn.apps.reid.probabilities import Calibration
from attn.apps.reid.search import Query, search
from attn.apps.reid.unseen import Unseen, unseen
from attn.apps.reid.verified import verified
from attn.apps.reid.verify import USUAL, Verifier, evidence, match
from attn.core.errors import UsageError
from attn.data_adapters.images.identities import LabelledIndividuals, open_individuals


@pytest.fixture(scope="module")
def source(photographs: Path) -> LabelledIndividuals:
    return open_individuals(photographs, within="flank", encounter="none", split="test")


@pytest.fixture(scope="module")
def held_out(source: LabelledIndividuals, predictor: ReIDPredictor) -> Unseen:
    return unseen(predictor, source)


def test_similarities_are_those_of_all_pairs(held_out: Unseen) -> None:
    calibration = Calibration(slope=7.0, intercept=-1.0)
    for fitted, slope in ((calibration, 7.0), (None, USUAL)):
        found = verified(Comparison.of(held_out), held_out.individuals, fitted)
        features = [local_features(held_out.individuals.read(row)) for row in range(18)]
        seen = 0
        for q, similar_g, _ in found.each():
            for g in np.flatnonzero(~np.isnan(similar_g)):
                inliers = match(features[q], features[g]).count
                seen += inliers > 0
                wanted = held_out.vectors[q] @ held_out.vectors[g] + evidence(np.array(inliers)) / slope
                assert similar_g[g] == pytest.approx(wanted, abs=1e-5)
        assert seen > 5  # some have inliers


def test_the_order_is_that_of_a_search(
    held_out: Unseen, source: LabelledIndividuals, predictor: ReIDPredictor, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Also where more pictures are compared than are looked at."""
    for place in ("attn.apps.reid.verified.BEST", "attn.apps.reid.search.BEST"):
        monkeypatch.setattr(place, 3)
    gallery, _ = index(source, predictor.embed, predictor.id, tmp_path / "g")
    found, verifier = verified(Comparison.of(held_out), held_out.individuals, None), Verifier(gallery)
    assert gallery.rows["id"].to_list() == held_out.individuals.ids
    assert held_out.individuals.within is not None
    for q, similar_g, _ in found.each():
        own = [local_features(held_out.individuals.read(q))]
        query = Query("q", held_out.vectors[q : q + 1], within=(held_out.individuals.within[q],), itself=((q,),))
        ranked = search(query, gallery, 18, pictures=True, again=partial(verifier.counts, own)).ranked
        assert sum(each.inliers is not None for each in ranked) == 3
        order = np.argsort(-np.where(np.isnan(similar_g), -9, similar_g), kind="stable")[: len(ranked)]
        assert [each.row for each in ranked] == order.tolist()


def test_evaluate_measures_what_it_says(predictor: ReIDPredictor, source: LabelledIndividuals) -> None:
    alone, again = (evaluate(predictor, source, verify=asked) for asked in (None, True))
    assert alone.report()["verify"] is None and again.report()["verify"] == module.VERIFYING
    expected = verified(Comparison.of(again.found), again.found.individuals, None).retrieval.summary()
    assert again.report()["mAP"]["value"] == pytest.approx(expected["mAP"])
    assert again.report()["mAP"]["value"] > alone.report()["mAP"]["value"]
    assert "local features: looked at in the best 50 images of each query" in again.sentences()
    with pytest.raises(UsageError, match="re-ranked or verified, not both"):
        evaluate(predictor, source, rerank=True, verify=True)
