"""AutoInt against the paper's equations written as loops, field by field."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from attn.apps.ctr.model import AutoInt, AutoIntConfig, preset_named, quantised
from attn.core.errors import UsageError

FIELDS: list[dict[str, Any]] = [
    {"name": "site", "kind": "category", "first": 1, "rows": 6, "column": 0},
    {"name": "tags", "kind": "multi", "first": 7, "rows": 5, "column": 1, "width": 3},
    {"name": "price", "kind": "linear", "first": 12, "rows": 2, "column": 0},
    {"name": "age", "kind": "knots", "first": 14, "rows": 5, "column": 1},
]
ROWS = 19


def model(**settings: Any) -> AutoInt:
    torch.manual_seed(0)
    config = AutoIntConfig.model_validate(
        {"fields": FIELDS, "rows": ROWS, "embedding": 4, "widths": (6, 6), "heads": 2, **settings}
    )
    made = AutoInt(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.5)
        made.embedding.table.weight[0] = 0
    return made


def batch() -> tuple[Tensor, Tensor]:
    ids = torch.tensor([[1, 7, 0, 0], [3, 9, 10, 11], [6, 8, 11, 0], [2, 9, 0, 0]], dtype=torch.int32)
    numbers = torch.tensor([[0.5, 0.0], [-2.0, 2.25], [torch.nan, 3.0], [7.0, torch.nan]])
    return ids, numbers


def vectors_by_hand(table: np.ndarray, ids: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Equations 2 to 4, and interpolation between knots."""
    rows = []
    for row, (price, age) in zip(ids, numbers, strict=True):
        members = [table[i] for i in row[1:4] if i]
        below = 0 if np.isnan(age) else min(int(age), 2)
        between = (
            table[14] if np.isnan(age) else (1 - age + below) * table[15 + below] + (age - below) * table[16 + below]
        )
        rows.append(
            [
                table[row[0]],
                sum(members) / len(members),
                table[12] if np.isnan(price) else table[13] * price,
                between,
            ]
        )
    return np.array(rows)


def layer_by_hand(layer: Any, e: np.ndarray, heads: int) -> np.ndarray:
    """Equations 5 to 8 for one row, without scale, bias and activation."""
    w = layer.mixer.qkv.weight.detach().double().numpy()
    width = len(w) // 3
    dim = width // heads
    out = np.zeros((len(e), width))
    for h in range(heads):
        q, k, v = (w[part * width + h * dim : part * width + (h + 1) * dim] for part in range(3))
        for m in range(len(e)):
            scores = np.exp([(q @ e[m]) @ (k @ e[n]) for n in range(len(e))])
            out[m, h * dim : (h + 1) * dim] = sum(s / scores.sum() * (v @ e[n]) for n, s in enumerate(scores))
    residual = layer.residual.weight.detach().double().numpy()
    return np.maximum(out + e @ residual.T, 0)


def test_the_paper_written_as_loops():
    made = model()
    ids, numbers = batch()
    table = made.embedding.table.weight.detach().double().numpy()
    expected = []
    for e in vectors_by_hand(table, ids.numpy(), numbers.double().numpy()):
        for layer in made.layers:
            e = layer_by_hand(layer, e, 2)
        w, b = made.out.weight.detach().double().numpy()[0], float(made.out.bias.detach())
        expected.append(w @ e.reshape(-1) + b)
    assert made(ids, numbers).detach().numpy() == pytest.approx(np.array(expected), abs=1e-4)


def test_the_field_vectors_are_those_of_the_equations():
    made = model()
    ids, numbers = batch()
    table = made.embedding.table.weight.detach().numpy()
    found = made.embedding(ids, numbers).detach().numpy()
    assert found == pytest.approx(vectors_by_hand(table, ids.numpy(), numbers.numpy()), abs=1e-5)


@pytest.mark.parametrize(("preset", "count"), [("paper", 39_361), ("official", 40_513)])
def test_parameters_besides_embeddings_on_criteos_fields(preset: str, count: int):
    fields = [{"name": str(n), "kind": "category", "first": 1 + 3 * n, "rows": 3, "column": n} for n in range(39)]
    config = AutoIntConfig.model_validate({"fields": fields, "rows": 118, **preset_named(preset)})
    made = AutoInt(config)
    assert sum(p.numel() for p in made.parameters()) - made.embedding.table.weight.numel() == count


def test_the_order_of_fields_means_nothing_to_attention():
    made, order = model(), torch.tensor([2, 0, 3, 1])
    e = made.embedding(*batch())
    plain = made.interact(e)
    with torch.no_grad():
        made.out.weight.copy_(made.out.weight.view(1, 4, 6)[:, order].reshape(1, -1))
    assert torch.allclose(made.interact(e[:, order]), plain, atol=1e-5)


def test_autoint_plus_adds_the_logits_of_both_parts():
    both, alone = model(dnn=(5,)), model()
    alone.load_state_dict({n: t for n, t in both.state_dict().items() if not n.startswith("dnn")})
    e = both.embedding(*batch())
    assert torch.allclose(both.interact(e), alone.interact(e) + both.dnn(e.flatten(1))[:, 0], atol=1e-5)


def test_padding_stays_zero_and_gets_no_gradient():
    made = model().train()
    made(*batch()).sum().backward()
    assert made.embedding.table.weight.grad[0].abs().max() == 0
    assert made.embedding.table.weight.grad[9].abs().max() > 0


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.03), ("int8", 0.03)])
def test_small_tables_are_close(dtype: str, tolerance: float):
    made = model()
    plain = made(*batch()).detach()
    small = quantised(made, dtype)
    assert small.embedding.table.weight.element_size() < 4
    assert (small(*batch()) - plain).abs().max() < tolerance * plain.abs().max().clamp(min=1)


def test_another_mechanism_and_impossible_settings():
    assert torch.isfinite(model(mixer="softmax")(*batch())).all()
    with pytest.raises(UsageError, match="7 channels"):
        model(widths=(7,))
    with pytest.raises(UsageError, match="there are"):
        quantised(model(), "int4")
    with pytest.raises(UsageError, match="no preset"):
        preset_named("mine")
