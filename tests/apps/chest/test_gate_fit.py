"""Fitting the gate: against scikit-learn, thresholds from hospitals not seen, folders of other images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from chest_fixtures import chest, micro_config, write_dicom
from PIL import Image
from sklearn.decomposition import PCA

from attn.apps.chest import gate_fit
from attn.apps.chest.gate import KINDS
from attn.apps.chest.gate_fit import fit_gate, map_features, read_others, thresholds
from attn.apps.chest.model import Medusa
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
    features_nd = (draw.normal(size=(200, 12)) @ draw.normal(size=(12, 12))).astype(np.float32)
    kind_n = np.array([0] * 150 + [1, 2, 3, 4, 5] * 10)
    gate = gate_fit._fitted(features_nd, kind_n)
    frontal_nd = features_nd[kind_n == 0]
    scaled_nd = (features_nd - frontal_nd.mean(0)) / (frontal_nd.std(0) + 1e-3)
    pca = PCA(len(gate.axes), random_state=0).fit(scaled_nd[kind_n == 0])
    far_n = gate.raw(torch.from_numpy(features_nd))[:, 0].numpy() * features_nd.shape[1]
    constant_n = pca.score_samples(scaled_nd) + far_n / 2
    np.testing.assert_allclose(constant_n, constant_n[0], atol=0.02)


def test_a_kind_without_examples_is_never_seen() -> None:
    draw = np.random.default_rng(0)
    features_nd = draw.normal(size=(60, 5)).astype(np.float32)
    gate = gate_fit._fitted(features_nd, np.array([0, 5] * 30))
    raw_ng = gate.raw(torch.from_numpy(features_nd))
    assert (raw_ng[:, 1:5] < -1000).all() and (raw_ng[:, 5].abs() < 100).all()


def test_thresholds_are_those_of_the_worst_hospital_and_not_below_zero() -> None:
    draw = np.random.default_rng(0)
    calm, wild = draw.normal(-5, 1, (10_000, 6)), draw.normal(2, 1, (10_000, 6))
    found_g = thresholds([calm, wild])
    refused = (wild > found_g).any(1).mean()
    assert gate_fit.REFUSED * 0.8 < refused < gate_fit.REFUSED * 1.05
    low_g = thresholds([calm])
    assert (low_g[1:] == 0).all() and low_g[0] < 0


@pytest.mark.parametrize("hospitals", [["east", "west"], [""]])
def test_a_fit_is_repeatable_and_flags_few_of_its_own(model: Medusa, hospitals: list[str]) -> None:
    frontal = pictures(12)
    places = [hospitals[number % len(hospitals)] for number in range(12)]
    gate, again = fit_gate(model, frontal, places), fit_gate(model, frontal, places)
    for name, tensor in gate.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
        assert tensor.dtype == torch.float32 and tensor.isfinite().all(), name
    scores_ng = gate.raw(torch.from_numpy(map_features(model, frontal))) - gate.thresholds
    assert (scores_ng > 0).any(1).float().mean() < 0.1


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
