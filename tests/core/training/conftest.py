"""The small training, done once."""

from typing import Any

import pytest
from core.training.small_run import CONFIG, Data, Net

from attn.core.training.fit import fit


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An uninterrupted run, and its folder."""
    out = tmp_path_factory.mktemp("whole")
    return fit(Net(), Data(), CONFIG, out), out
