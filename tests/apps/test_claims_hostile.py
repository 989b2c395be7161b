"""No verb that writes to a folder touches one with other things than attn's."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ctr_fixtures import click_model as trained_click_model
from ctr_fixtures import click_predictor, click_table

from attn.apps.ctr.evaluate import calibrate as calibrate_clicks
from attn.apps.ctr.evaluate import evaluate_table
from attn.apps.ctr.export import export as serve
from attn.apps.galaxy.evaluate import calibrate as calibrate_galaxies
from attn.core.errors import UsageError
from attn.data_adapters.images.labelled import LabelledImages


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder of the user's."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("my project")
    return tmp_path / "mine"


def refused(folder: Path, write: Callable[[], object]) -> None:
    with pytest.raises(
        UsageError, match=r"mine: holds README\.md, which attn did not write; give a new or empty folder"
    ):
        write()
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"README.md": "my project"}


def test_click_models(mine: Path) -> None:
    refused(mine, lambda: calibrate_clicks(trained_click_model(), click_table(), "click", mine))
    refused(mine, lambda: serve(click_predictor(), mine))
    predictor = click_predictor()
    evaluation = evaluate_table(predictor, predictor.open(str(click_table()), also=["click"]), "click")
    refused(mine, lambda: evaluation.pictures(mine))


def test_galaxies(mine: Path, micro_model: Path, labelled: LabelledImages) -> None:
    refused(mine, lambda: calibrate_galaxies(micro_model, labelled, mine))


def test_explanations(mine: Path, music_models: dict[str, Path], performances: Path, labelled_table: Path) -> None:
    from attn.apps.ctr import cli as clicks
    from attn.apps.galaxy import cli as galaxies
    from attn.apps.music import cli as music

    picture = next(labelled_table.parent.glob("*.png"))
    refused(mine, lambda: galaxies.explain([str(picture)], out=mine))
    refused(mine, lambda: clicks.explain(str(click_table()), model=str(trained_click_model()), out=mine))
    performance = next(performances.iterdir())
    refused(mine, lambda: music.explain([str(performance)], model=str(music_models["piano"]), out=mine))
