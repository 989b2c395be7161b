"""Locality: the drawn galaxies, the distance of attention against loops, gates that only training moves."""

import math

import pytest
import torch
from torch.nn import functional as F

from attn.core.attention.watch import record
from attn.lab.experiment import table
from attn.lab.locality import DEPTH, EXPERIMENT, GRID, HEADS, SIDE, START, distances, galaxies, run, train, untrained


def test_a_mirrored_spiral_is_a_spiral_in_the_mirror():
    def drawn(kind):
        generator = torch.Generator().manual_seed(3)
        images, classes = galaxies(400, generator)
        return images[classes == kind], classes

    images, classes = drawn(1)
    assert images.shape[1:] == (1, SIDE, SIDE)
    assert classes.bincount().min() > 100

    def handedness(kind):  # the phase of two arms grows with the logarithm of the radius, or falls
        y, x = torch.meshgrid(*[torch.arange(SIDE) - (SIDE - 1) / 2] * 2, indexing="ij")
        radius, azimuth = torch.hypot(x, y), torch.atan2(y, x)
        rings = [(radius > low) & (radius <= low + 1.5) for low in (2.0, 3.5)]
        images = drawn(kind)[0][:, 0]
        inner, outer = (
            torch.complex(
                (images * ring * (2 * azimuth).cos()).sum((1, 2)), (images * ring * (2 * azimuth).sin()).sum((1, 2))
            )
            for ring in rings
        )
        return float((outer * inner.conj()).angle().sin().mean())

    assert handedness(1) > 0.1 and handedness(2) < -0.1


def test_distances_are_means_over_pairs():
    model, images = untrained(0), galaxies(2, torch.Generator().manual_seed(0))[0]
    with record(model) as seen, torch.no_grad():
        model(images)
    weights = seen["blocks.1.mixer"].dense(GRID**2)
    by_loops = [0.0] * HEADS
    for h in range(HEADS):
        for i in range(GRID**2):
            for j in range(GRID**2):
                apart = math.hypot(i // GRID - j // GRID, i % GRID - j % GRID)
                by_loops[h] += float(weights[:, h, i, j].mean()) * apart / GRID**2
    assert distances(model, images)[1].tolist() == pytest.approx(by_loops, rel=1e-4)


def test_gates_begin_as_the_paper_says_and_training_moves_them():
    before = torch.random.get_rng_state()
    model, gates_slh = train(0, 3)
    assert torch.equal(before, torch.random.get_rng_state())
    assert gates_slh.shape == (4, DEPTH, HEADS)
    assert torch.allclose(gates_slh[0], torch.full((DEPTH, HEADS), START))
    assert (gates_slh[-1] != gates_slh[0]).all() and torch.equal(model.gates, gates_slh[-1])
    assert F.sigmoid(torch.tensor(1.0)).item() == pytest.approx(START)


def test_a_tiny_run_has_what_is_predicted():
    measured = run(0, lambda: None, steps=2).measured
    assert {each.quantity for each in EXPERIMENT.predictions} <= measured.keys()
    assert measured["share of position at first"] == pytest.approx(0.731, abs=1e-3)


@pytest.mark.slow
def test_the_predictions_hold():
    assert [row for row in table(EXPERIMENT.predictions, [EXPERIMENT.run(1, lambda: None)]) if not row["holds"]] == []
