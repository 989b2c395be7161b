"""Model folders that are broken in every way a hand or a network can break them: one sentence each."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from attn.apps.galaxy.predict import GalaxyPredictor
from attn.core.errors import ModelError


@pytest.fixture
def folder(micro_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(micro_model, tmp_path / "mine"))


def rewrite(folder: Path, **changes: Any) -> None:
    """Change `model.json`; a dict changes the entries it has and removes those that are None."""
    path = folder / "model.json"
    record = json.loads(path.read_text())
    for name, value in changes.items():
        if isinstance(value, dict):
            value = {key: item for key, item in (record[name] | value).items() if item is not None}
        record[name] = value
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"architecture": {"stem": None}}, "stem: Field required"),
        ({"architecture": {"stem": "wide"}}, "stem must be an integer, not 'wide'"),
        ({"architecture": {"stem": 16}}, "stem.conv1.weight is F32 of shape"),
        ({"architecture": {"depths": [1, 1, 1, 3]}}, "does not fit the architecture"),
        ({"architecture": {"layout": "CCT"}}, "one entry per stage"),
        ({"architecture": {"layout": "CCXT"}}, "layout must match the pattern ^[CT]{0,16}$, not 'CCXT'"),
        ({"architecture": {"mixer": "fourier"}}, "no mixer 'fourier'"),
        ({"architecture": {"mixer_options": {"window": 3}}}, "no option window"),
        ({"architecture": {"mixer_options": {"dims": 2}}}, "no option dims"),
        ({"architecture": {"mixer": "halo:block=1e9"}}, "mixer 'halo': block must be an integer, not 1000000000.0"),
        ({"architecture": {"mixer": "halo:block"}}, "names no mixer: 'block' is not an option"),
        ({"architecture": {"mixer": "halo+halo+halo"}}, "3 mixers for"),
        ({"architecture": {"colour": 1}}, "colour: Extra inputs"),
        ({"labels": ["disc", "ring"]}, "has 2 labels for 3 classes"),
        ({"preprocessing": {"side": None}}, "side: Field required"),
        ({"preprocessing": {"stretch": {"softening": -1}}}, "stretch.softening must be greater than 0, not -1"),
    ],
)
def test_a_record_that_does_not_fit(folder: Path, changes: dict[str, Any], reason: str) -> None:
    rewrite(folder, **changes)
    with pytest.raises(ModelError) as caught:
        GalaxyPredictor.load(folder)
    assert str(caught.value).startswith(f"{folder}/model.")
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 400


def test_weights_cut_short(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="its header declares"):
        GalaxyPredictor.load(folder)


def test_a_folder_may_move_and_is_named_in_its_answers(folder: Path, micro_model: Path) -> None:
    rewrite(folder, name="mine, renamed")
    assert GalaxyPredictor.load(str(folder)).record.name == "mine, renamed"
    assert GalaxyPredictor.load(folder).labels == GalaxyPredictor.load(micro_model).labels
