"""The rate goes with the root of the batch, and the record has both."""

from dataclasses import asdict

import pytest

from attn.core.training.recipe import BatchRecipe


def test_the_effective_rate() -> None:
    recipe = BatchRecipe(learning_rate=2e-3, batch_size=64)
    assert recipe.effective_learning_rate == pytest.approx(1e-3)
    assert recipe.described() == asdict(recipe) | {"effective_learning_rate": recipe.effective_learning_rate}
