"""Softened heads against the formulas of the paper, and guidance that does nothing."""

import pytest
import torch
from torch import Tensor, nn

from attn.core.attention.attend import attend
from attn.core.attention.watch import Geometry, intervene, record, show
from attn.core.decoding.guidance import Guidance
from attn.core.errors import UsageError

B, H, N, D = 2, 3, 5, 4


class Attending(nn.Module):
    """Causal heads whose keys are the queries."""

    def forward(self, x_bhnd: Tensor) -> Tensor:
        return attend(x_bhnd, x_bhnd, x_bhnd, causal=True, site=self)


def heads_of(x_bhnd: Tensor, guidance: Guidance) -> tuple[Tensor, Tensor]:
    """The weights and the outputs under softening."""
    network = nn.ModuleDict({"site": Attending()})
    with intervene(network, guidance.softening()), record(network, heads="*") as seen:
        network["site"](x_bhnd)
    return seen["site"].weights, seen.heads["site"]


@pytest.mark.parametrize("softness", [0.0, 0.3, 1.0])
def test_weights_are_drawn_towards_the_identity_and_stay_causal(softness: float) -> None:
    x_bhnd = torch.randn(B, H, N, D, generator=torch.Generator().manual_seed(0))
    plain, _ = heads_of(x_bhnd, Guidance({"site": ()}))
    weights, out = heads_of(x_bhnd, Guidance({"site": (0, 2)}, 1.0, softness))
    expected = plain.clone()
    for b in range(B):
        for h in (0, 2):
            expected[b, h] = (1 - softness) * plain[b, h] + softness * torch.eye(N)
    assert torch.allclose(weights, expected, atol=1e-6) and (weights.triu(1) == 0).all()
    if softness == 1:
        assert torch.equal(out[:, [0, 2]], x_bhnd[:, [0, 2]])  # PAG: the output of a head is its values


def test_a_query_that_is_none_of_its_keys_keeps_its_weights() -> None:
    network = nn.ModuleDict({"site": nn.Module()})
    weights = torch.tensor([[[[0.5, 0.5], [0.25, 0.75]]]])
    geometry = Geometry(torch.tensor([7, -1]), torch.tensor([3, -1]))
    with intervene(network, Guidance({"site": (0,)}, 1.0, 1.0).softening()):
        assert torch.equal(show(network["site"], "weights", weights, geometry), weights)


def test_guidance_pushes_away_and_nothing_is_inactive() -> None:
    said, softened = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 3.0])
    assert Guidance({"site": (0,)}, 3.0, 0.5).guided(said, softened).tolist() == [4.0, -1.0]
    assert Guidance({"site": (0,)}, 1.0, 1.0).active
    for heads, strength, softness in (
        ({}, 1.0, 1.0),
        ({"s": ()}, 1.0, 1.0),
        ({"s": (0,)}, 0.0, 1.0),
        ({"s": (0,)}, 1.0, 0.0),
    ):
        assert not Guidance(heads, strength, softness).active


@pytest.mark.parametrize(
    ("strength", "softness"), [(-1.0, 0.5), (101.0, 0.5), (float("nan"), 0.5), (1.0, 1.1), (1.0, float("nan"))]
)
def test_values_out_of_bounds_are_refused(strength: float, softness: float) -> None:
    with pytest.raises(UsageError, match="of guidance is"):
        Guidance({"site": (0,)}, strength, softness)
