"""The sum over pairs of patches is the cosine that a search gives, and its parts are those that it is made of."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from reid_fixtures import Drawn
from typer.testing import CliRunner

from attn.apps.reid.explain import STRONGEST, explain
from attn.apps.reid.model import DCAL
from attn.apps.reid.predict import ReIDPredictor
from attn.apps.reid.preprocess import Preprocessing
from attn.apps.reid.probabilities import Calibration
from attn.apps.reid.variants import variant
from attn.cli import app
from attn.core.errors import InputError, UsageError
from attn.core.models import folder
from attn.core.models.record import ModelRecord


@pytest.fixture(scope="module", params=[{}, {"local": None}], ids=["local", "plain"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model with mean pooling, and a neck that has statistics."""
    config = variant("smallest", pool="mean", **request.param)
    torch.manual_seed(0)
    network = DCAL(config).train()
    for _ in range(20):
        network.branches(torch.rand(8, 3, 32, 32))
    calibration = Calibration(slope=3, intercept=-1).model_dump()
    record = ModelRecord(
        app="reid", verb="search", name="mean", labels=[], architecture=config.model_dump(mode="json"),
        preprocessing=Preprocessing(size=(32, 32)).model_dump(mode="json"), calibration=calibration,
    )  # fmt: skip
    out = tmp_path_factory.mktemp("mean") / "model"
    folder.save(out, network.state_dict(), record)
    return out


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    drawn = Drawn(2, 2)
    return [drawn.read(i) for i in range(4)]


def test_the_sum_is_the_cosine(model: Path, pictures: list[np.ndarray]) -> None:
    predictor = ReIDPredictor.load(model, "cpu")
    for a, b in ((0, 1), (0, 2), (3, 3)):
        found = explain(predictor, pictures[a], pictures[b])
        assert found.pairs.shape == (16, 16) and found.grid == (4, 4)
        assert found.similarity == pytest.approx(predictor.similarity(pictures[a], pictures[b]), abs=1e-5)
        assert found.probability == pytest.approx(1 / (1 + np.exp(1 - 3 * found.similarity)))
        for rollout in found.rollouts:
            assert rollout.shape == (16,) and (rollout >= 0).all() and rollout.sum() <= 1 + 1e-6


def test_the_strongest_add_most(model: Path, pictures: list[np.ndarray]) -> None:
    found = explain(ReIDPredictor.load(model, "cpu"), pictures[0], pictures[2])
    adds = [found.pairs[pair] for pair in found.strongest]
    expected: list[tuple[int, int]] = []
    for pair in np.argsort(-found.pairs.ravel(), kind="stable").tolist():
        n, m = divmod(pair, found.pairs.shape[1])
        if all(n != other and m != another for other, another in expected):  # a patch is in one pair
            expected.append((n, m))
    assert found.strongest == expected[:STRONGEST] and len(adds) == STRONGEST and adds == sorted(adds, reverse=True)
    numbers = found.numbers()
    assert numbers["together"] == pytest.approx(sum(adds)) and numbers["similarity"] == found.similarity
    for (n, m), pair in zip(found.strongest, numbers["pairs"], strict=True):
        assert (pair["first"][0] * 4 + pair["first"][1], pair["second"][0] * 4 + pair["second"][1]) == (n, m)


def test_other_way_round(model: Path, pictures: list[np.ndarray]) -> None:
    predictor = ReIDPredictor.load(model, "cpu")
    there, back = explain(predictor, pictures[0], pictures[1]), explain(predictor, pictures[1], pictures[0])
    np.testing.assert_allclose(there.pairs, back.pairs.T, atol=1e-6)


def test_the_command(model: Path, photographs: Path, tmp_path: Path) -> None:
    a, b = (photographs.parent / f"animal000_{i}.png" for i in (0, 2))
    out = tmp_path / "pairs.png"
    done = CliRunner().invoke(
        app, ["reid", "explain", str(a), str(b), "--model", str(model), "--out", str(out), "--json"]
    )
    assert done.exit_code == 0, done.stderr
    said, kept = json.loads(done.stdout), json.loads((tmp_path / "pairs.json").read_text())
    assert (
        out.read_bytes().startswith(b"\x89PNG") and said["pairs"] == kept["pairs"] and len(kept["pairs"]) == STRONGEST
    )
    shown = CliRunner().invoke(
        app, ["reid", "explain", str(a), str(b), "--model", str(model), "--out", str(tmp_path / "e")]
    )
    assert shown.exit_code == 0 and (tmp_path / "e" / "animal000_0-animal000_2.png").is_file()
    other = tmp_path / "pairs.xyz"
    refused = CliRunner().invoke(app, ["reid", "explain", str(a), str(b), "--model", str(model), "--out", str(other)])
    assert refused.exit_code == 2 and "end --out in .png" in refused.stderr and not other.exists()
    missing = CliRunner().invoke(app, ["reid", "explain", str(a), "no.png", "--model", str(model), "--out", str(out)])
    assert missing.exit_code == 1 and "no.png: no such file" in missing.stderr
    (tmp_path / "pairs.json").write_text("{}")
    refused = CliRunner().invoke(app, ["reid", "explain", str(a), str(b), "--model", str(model), "--out", str(out)])
    assert refused.exit_code == 2 and "pairs.json: is there, and attn did not write it" in refused.stderr


def test_a_class_token_is_no_sum(predictor: ReIDPredictor, pictures: list[np.ndarray]) -> None:
    with pytest.raises(UsageError, match="no mean over patches, so its cosine is no sum over them; train one with"):
        explain(predictor, pictures[0], pictures[1])


def test_no_usable_vector(model: Path, pictures: list[np.ndarray]) -> None:
    predictor = ReIDPredictor.load(model, "cpu")
    with torch.no_grad():
        predictor.model.head.neck.weight.fill_(torch.nan)
    with pytest.raises(InputError, match="array: has no usable embedding"):
        explain(predictor, pictures[0], pictures[1])
