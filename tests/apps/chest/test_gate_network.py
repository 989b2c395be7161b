"""The gate's network: what its evidence is, and what does not change it."""

from copy import deepcopy

import pytest
import torch

from attn.apps.chest.gate_network import KINDS, GateNetwork
from attn.core.blocks.convolution import fold_batch_norms


@pytest.fixture(scope="module")
def network() -> GateNetwork:
    """Random weights, with the statistics of noise in its batch norms."""
    torch.manual_seed(0)
    network = GateNetwork()
    with torch.no_grad():
        for _ in range(5):
            network(torch.rand(8, 1, 64, 64))
    return network.eval()


@torch.no_grad()
def test_evidence_is_what_the_formulas_say(network: GateNetwork) -> None:
    """Computed from probabilities, one image at a time."""
    for x_11ss in torch.rand(3, 1, 1, 64, 64):
        p_k, q_k = network(x_11ss)[0].softmax(0), network(x_11ss.flip(3))[0].softmax(0)
        mirrored = ((p_k[1] / p_k[0]).log() - (q_k[1] / q_k[0]).log()) / 2
        other = [((p_k[k] / (p_k[0] + p_k[1])).log() + (q_k[k] / (q_k[0] + q_k[1])).log()) / 2 for k in range(2, 7)]
        torch.testing.assert_close(network.evidence(x_11ss)[0], torch.stack([mirrored, *other]), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_the_mirror_image_has_opposite_evidence_of_being_mirrored(network: GateNetwork) -> None:
    x_b1ss = torch.rand(4, 1, 64, 64)
    here_bk, there_bk = network.evidence(x_b1ss), network.evidence(x_b1ss.flip(3))
    torch.testing.assert_close(here_bk[:, 0], -there_bk[:, 0])
    torch.testing.assert_close(here_bk[:, 1:], there_bk[:, 1:])
    assert here_bk[:, 0].abs().min() > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("side", [32, 96, 100, 224])
def test_any_side_and_brightness_is_read_and_a_constant_picture_too(network: GateNetwork, side: int) -> None:
    x_b1ss = torch.rand(2, 1, side, side)
    evidence_bk = network.evidence(x_b1ss)
    assert evidence_bk.shape == (2, len(KINDS) - 1) and evidence_bk.isfinite().all()
    torch.testing.assert_close(network.evidence(x_b1ss + 0.2), evidence_bk, rtol=1e-3, atol=1e-3)
    assert network.evidence(torch.full((1, 1, side, side), 0.4)).isfinite().all()


@torch.no_grad()
def test_folding_batch_norms_changes_nothing(network: GateNetwork) -> None:
    x_b1ss = torch.rand(2, 1, 96, 96)
    folded = fold_batch_norms(deepcopy(network))
    assert not [name for name, _ in folded.named_buffers()]
    torch.testing.assert_close(folded(x_b1ss), network(x_b1ss), rtol=1e-4, atol=1e-5)
