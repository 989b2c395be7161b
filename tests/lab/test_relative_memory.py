"""The memory of relative attention: both forms against loops, counted bytes against formulas, the whole experiment."""

import pytest
import torch

from attn.core.attention.relative import Relative
from attn.lab.experiment import table
from attn.lab.relative_memory import EXPERIMENT, D, direct, inputs, peak_direct, peak_in_blocks, peak_skewed, rows_of


def test_both_forms_are_the_formula():
    q_bhld, table_hmd = inputs(2, 5, 0)
    by_pairs, by_skewing = direct(q_bhld, table_hmd, rows_of(5)), Relative(table_hmd).logits(q_bhld, 5)
    for h in range(2):
        for i in range(5):
            for j in range(i + 1):
                expected = float(q_bhld[0, h, i] @ table_hmd[h, 4 - (i - j)])
                assert float(by_pairs[0, h, i, j]) == pytest.approx(expected, abs=1e-5)
                assert float(by_skewing[0, h, i, j]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_bytes_are_those_of_the_formulas(device):
    assert peak_direct(2, 16, device) == 4 * 2 * 16**2 * (D + 1)
    assert peak_skewed(2, 16, device) == 4 * 2 * 16 * (2 * 16 + 1)


def test_blocks_have_less_than_the_logits():
    assert peak_in_blocks(2, 1024) < 4 * 2 * 1024**2


def test_a_seed_draws_other_queries():
    assert not torch.equal(inputs(1, 4, 0)[0], inputs(1, 4, 1)[0])


@pytest.mark.slow
def test_the_predictions_hold():
    assert [row for row in table(EXPERIMENT.predictions, [EXPERIMENT.run(1, lambda: None)]) if not row["holds"]] == []
