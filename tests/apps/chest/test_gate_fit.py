"""Fitting the gate: the distance against scikit-learn, the network on drawn chests, folders of other images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from chest_fixtures import chest, micro_config, write_dicom
from PIL import Image
from sklearn.decomposition import PCA

from attn.apps.chest import gate_fit
from attn.apps.chest.gate_fit import fit_gate, fitted, map_features, read_others, train_network
from attn.apps.chest.gate_network import KINDS, GateNetwork
from attn.apps.chest.model import Medusa
from attn.apps.chest.negatives import SPOILED
from attn.apps.chest.preprocess import Preprocessing
from attn.core.errors import InputError


@pytest.fixture(scope="module")
def model() -> Medusa:
    torch.manual_seed(0)
    return Medusa(micro_config()).eval()


def pictures(count: int) -> list[np.ndarray]:
    return [(chest("normal", number) / 255).astype(np.float32) for number in range(count)]


def test_the_distance_is_that_of_probabilistic_pca() -> None:
    """scikit-learn's log-likelihood is a constant minus half the distance."""
    draw = np.random.default_rng(0)
    frontal_nd = (draw.normal(size=(150, 12)) @ draw.normal(size=(12, 12))).astype(np.float32)
    asked_nd = draw.normal(size=(40, 12)).astype(np.float32)
    gate = fitted(GateNetwork(), frontal_nd)
    mean_d, deviation_d = frontal_nd.mean(0), frontal_nd.std(0) + 1e-3
    pca = PCA(len(gate.axes), random_state=0).fit((frontal_nd - mean_d) / deviation_d)
    far_n = gate.distance(torch.from_numpy(asked_nd)).numpy() * 12
    constant_n = pca.score_samples((asked_nd - mean_d) / deviation_d) + far_n / 2
    np.testing.assert_allclose(constant_n, constant_n[0], atol=0.02)


def test_the_distance_of_a_hospital_not_seen_decides_its_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hospitals far from one another: each is far away for a fit to the other, and neither for the whole gate."""
    draw = np.random.default_rng(0)
    features_nd = np.concatenate([draw.normal(place, 1, (100, 6)) for place in (0, 9)]).astype(np.float32)
    frontal = [np.full((8, 8), row, np.float32) for row in range(200)]
    monkeypatch.setattr(gate_fit, "STEPS", 1)
    monkeypatch.setattr(gate_fit, "FORMS", 1)
    monkeypatch.setattr(gate_fit, "map_features", lambda model, pictures: features_nd[[int(p[0, 0]) for p in pictures]])
    places = ["east"] * 100 + ["west"] * 100
    gate = fit_gate(torch.nn.Linear(1, 1), frontal, places)
    one = fit_gate(torch.nn.Linear(1, 1), frontal, [""] * 200)
    assert gate.thresholds[0] > 5 * one.thresholds[0]
    assert (gate.distance(torch.from_numpy(features_nd)) > one.thresholds[0]).float().mean() < 0.05
    east, west = (
        fitted(GateNetwork(), features_nd[100 - first : 200 - first]).distance(
            torch.from_numpy(features_nd[first : first + 100])
        )
        for first in (0, 100)
    )
    furthest = max(np.quantile(east, 0.998), np.quantile(west, 0.998))
    assert float(gate.thresholds[0]) == pytest.approx(1.5 * furthest, rel=1e-3)  # the next hospital may be further away
    assert gate.thresholds[1:].tolist() == [*gate_fit.ODDS.values()] and [*gate_fit.ODDS] == [*KINDS[1:]]


def test_a_batch_has_all_kinds_and_no_mirrored_chest_among_the_frontal() -> None:
    """Ramps that grow brighter to the right, and back for what is mirrored."""
    ramp_nww = (torch.arange(96) * 255 // 96).to(torch.uint8).expand(60, 96, 96)
    pools = [("lateral", ramp_nww, 4)]
    torch.manual_seed(0)
    x_b1ss, kind_b = gate_fit._batch(ramp_nww, pools, torch.device("cpu"))
    assert x_b1ss.shape == (64, 1, 64, 64) and kind_b.unique().tolist() == [0, 1, 2, 3, 4, 5]
    brighter_b = x_b1ss[:, 0, 20:44, 40:50].mean((1, 2)) > x_b1ss[:, 0, 20:44, 14:24].mean((1, 2))
    named = {kind: brighter_b[kind_b == number].tolist() for number, kind in enumerate(KINDS)}
    assert all(named["frontal"]) and not any(named["mirrored"]) and not any(named["inverted"])


def test_a_network_learns_drawn_chests_and_is_repeatable() -> None:
    frontal_nww = torch.from_numpy(np.stack([chest("normal", number, 96) for number in range(40)]))
    state = torch.get_rng_state()
    network = train_network(frontal_nww, ["east", "west"] * 20, {}, device=torch.device("cpu"))
    assert torch.equal(state, torch.get_rng_state())
    asked_b1ss = torch.from_numpy(np.stack([chest("normal", 100 + n, 64) for n in range(20)]))[:, None] / 255
    with torch.inference_mode():
        assert (network.evidence(asked_b1ss) > torch.tensor([*gate_fit.ODDS.values()])).any(1).float().mean() < 0.1
        for kind in ("mirrored", "inverted"):
            evidence_bk = network.evidence(SPOILED[kind](asked_b1ss))
            assert (evidence_bk.argmax(1) == KINDS.index(kind) - 1).float().mean() > 0.9, (kind, evidence_bk)


@pytest.mark.parametrize("hospitals", [["east", "west"], [""]])
def test_a_fit_is_repeatable_and_finds_few_of_its_own_far_away(
    model: Medusa, hospitals: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_fit, "STEPS", 2)
    monkeypatch.setattr(gate_fit, "FORMS", 2)
    frontal = pictures(12)
    places = [hospitals[number % len(hospitals)] for number in range(12)]
    gate, again = fit_gate(model, frontal, places), fit_gate(model, frontal, places)
    for name, tensor in gate.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
        assert tensor.dtype == torch.float32 and tensor.isfinite().all(), name
    far_n = gate.distance(torch.from_numpy(map_features(model, frontal))) - gate.thresholds[0]
    assert (far_n > 0).float().mean() < 0.1


def test_other_images_of_a_folder_are_laterals_or_others(tmp_path: Path) -> None:
    (tmp_path / "lateral").mkdir()
    (tmp_path / "ct").mkdir()
    write_dicom(tmp_path / "lateral" / "a.dcm")
    Image.fromarray(chest()).save(tmp_path / "ct" / "b.png")
    (tmp_path / "list.csv").write_text("path,kind\n")
    found = read_others(tmp_path, Preprocessing(side=32))
    assert {kind: len(found[kind]) for kind in found} == {"lateral": 1, "other": 1} and {*found} <= {*KINDS}
    assert found["lateral"][0].shape == (32, 32)
    (tmp_path / "ct" / "broken.dcm").write_text("<html>")
    with pytest.raises(InputError, match=r"broken\.dcm"):
        read_others(tmp_path, Preprocessing(side=32))
