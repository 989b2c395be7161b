"""Maps of the gates are the factors that the body gave; gate x gradient is the change of the answer with the gate."""

import math
from pathlib import Path

import pytest
import torch

from attn.apps.chest.maps import gate_maps, gradient_maps, mean_map, signed_mean
from attn.apps.chest.predict import ChestPredictor
from attn.core.attention.watch import intervene

SIDE = 32


@pytest.fixture(scope="module")
def predictor(untrained: Path) -> ChestPredictor:
    return ChestPredictor.load(untrained, device="cpu")


def test_the_maps_are_the_factors_that_the_body_gave(predictor: ChestPredictor) -> None:
    x = torch.rand(1, 1, SIDE, SIDE)
    maps = gate_maps(predictor.model, x)
    assert len(maps) == len(predictor.model.gates) and all(map_ss.shape == (SIDE, SIDE) for map_ss in maps)
    assert all(0.5 < float(map_ss.min()) <= float(map_ss.max()) <= 1 for map_ss in maps)  # sigmoid, near the identity
    with intervene(predictor.model, outputs={"gates.1": lambda gate: gate * 0 + 0.25}):
        assert (gate_maps(predictor.model, x)[1] == 0.25).all()


def test_the_mean_map_counts_every_scale_alike_and_an_even_one_not() -> None:
    ramp = torch.linspace(0, 1, SIDE).expand(SIDE, SIDE)
    torch.testing.assert_close(mean_map([ramp, 100 * ramp.T + 7]), (ramp + ramp.T) / 2)
    torch.testing.assert_close(mean_map([ramp, torch.full_like(ramp, 3.0)]), ramp / 2)
    assert (mean_map([torch.full_like(ramp, torch.nan)]) == 0).all()


def test_gate_times_gradient_is_the_slope_of_the_log_odds_as_the_gate_grows_there(predictor: ChestPredictor) -> None:
    """The gate of one scale becomes (1 + t) times itself in its upper half; t is small, the difference central."""
    x = torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))

    def log_odds(scale: int, t: float) -> float:
        def grown(gate: torch.Tensor) -> torch.Tensor:
            factor = torch.ones_like(gate)
            factor[:, :, : gate.shape[2] // 2] = 1 + t
            return gate * factor

        with intervene(predictor.model, outputs={f"gates.{scale}": grown}):
            p = predictor.probabilities(predictor.log_probabilities(x))[0, 2].item()
        return math.log(p) - math.log1p(-p)

    maps = gradient_maps(predictor, x, 2)
    for scale, map_11hw in enumerate(maps):
        t, height = 0.05, map_11hw.shape[2]
        slope = (log_odds(scale, t) - log_odds(scale, -t)) / (2 * t)
        assert float(map_11hw[:, :, : height // 2].sum()) == pytest.approx(slope, rel=0.03, abs=2e-4)


def test_the_sign_stays_and_every_scale_counts_alike() -> None:
    one, other = torch.zeros(1, 1, SIDE, SIDE), torch.zeros(1, 1, SIDE, SIDE)
    one[..., 0, 0], other[..., 5, 5] = -100.0, 0.01
    found = signed_mean([one, other], SIDE)
    assert found[0, 0] == -0.5 and found[5, 5] == 0.5
    assert (signed_mean([one * torch.nan], SIDE) == 0).all()
