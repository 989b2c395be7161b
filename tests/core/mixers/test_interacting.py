"""`interacting`: AutoInt's equations 5 to 7 written with loops, and what follows from them."""

import numpy as np
import pytest
import torch
from tolerances import assert_close

from attn.core import mixers
from attn.core.attention.watch import record

FIELDS, WIDTH_IN, WIDTH, HEADS = 5, 6, 8, 2
SETTINGS = [
    {},
    {"scaled": True},
    {"activated": True},
    {"bias": True},
    {"scaled": True, "activated": True, "bias": True},
]


def make(**options):
    torch.manual_seed(0)
    mixer = mixers.create(
        "interacting", dims=1, channels=WIDTH, channels_in=WIDTH_IN, heads=HEADS, size=(FIELDS,), **options
    )
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return mixer


def fields(batch=3):
    torch.manual_seed(1)
    return torch.randn(batch, FIELDS, WIDTH_IN)


def by_equations(mixer, e_fc, *, scaled=False, activated=False, bias=False):
    """One row's fields (F, C0) to weights (heads, F, F) and what equation 7 joins (F, C)."""
    w = mixer.qkv.weight.detach().double().numpy()
    b = mixer.qkv.bias.detach().double().numpy() if bias else np.zeros(3 * WIDTH)
    size = WIDTH // HEADS

    def projected(which, head, x_c):
        rows = slice(which * WIDTH + head * size, which * WIDTH + (head + 1) * size)
        y_d = w[rows] @ x_c + b[rows]
        return np.maximum(y_d, 0) if activated else y_d

    alpha = np.zeros((HEADS, FIELDS, FIELDS))
    joined = np.zeros((FIELDS, WIDTH))
    for h in range(HEADS):
        for m in range(FIELDS):
            psi = np.array([projected(0, h, e_fc[m]) @ projected(1, h, e_fc[k]) for k in range(FIELDS)])
            psi = psi / np.sqrt(size) if scaled else psi
            alpha[h, m] = np.exp(psi) / np.exp(psi).sum()
            mixed = sum(alpha[h, m, k] * projected(2, h, e_fc[k]) for k in range(FIELDS))
            joined[m, h * size : (h + 1) * size] = mixed
    return alpha, joined


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_equals_the_equations_written_with_loops(options):
    mixer, x = make(**options), fields()
    with record(mixer) as seen, torch.no_grad():
        actual = mixer(x)
    for row, e_fc in enumerate(x.double().numpy()):
        alpha, joined = by_equations(mixer, e_fc, **options)
        assert_close(actual[row], torch.from_numpy(joined).float())
        assert_close(seen[""].weights[row], torch.from_numpy(alpha).float())


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_fields_have_no_order(options):
    mixer, x = make(**options), fields()
    order = torch.tensor([3, 0, 4, 2, 1])
    assert_close(mixer(x[:, order]), mixer(x)[:, order])


def test_nothing_comes_after_the_heads():
    mixer = make()
    assert {name: tuple(weight.shape) for name, weight in mixer.named_parameters()} == {
        "qkv.weight": (3 * WIDTH, WIDTH_IN)
    }
    assert mixer(torch.zeros(1, FIELDS, WIDTH_IN)).eq(0).all()


def test_a_head_with_values_of_zero_is_silent_and_the_other_is_not():
    mixer, x = make(), fields()
    before = mixer(x)
    with torch.no_grad():
        mixer.qkv.weight[2 * WIDTH : 2 * WIDTH + WIDTH // HEADS] = 0
    after = mixer(x)
    assert after[..., : WIDTH // HEADS].eq(0).all()
    assert torch.equal(after[..., WIDTH // HEADS :], before[..., WIDTH // HEADS :])
