"""No verb that writes to a folder touches one with other things than attn's, or leaves one behind when refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ctr_fixtures import click_model as trained_click_model
from ctr_fixtures import click_predictor, click_table
from typer.testing import CliRunner

from attn.apps.ctr.evaluate import calibrate as calibrate_clicks
from attn.apps.ctr.evaluate import evaluate_table
from attn.apps.ctr.export import export as serve
from attn.apps.galaxy.evaluate import calibrate as calibrate_galaxies
from attn.cli import app
from attn.core.errors import UsageError
from attn.data_adapters.images.labelled import LabelledImages


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder of the user's."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("my project")
    return tmp_path / "mine"


REFUSED = {
    "mixer": ["--mixer", "nonsense"],
    "precision": ["--precision", "65-maybe"],
    "start": ["--start", "nowhere"],
}


@pytest.mark.parametrize("wrong", REFUSED)
@pytest.mark.parametrize("name", ["chest", "ctr", "galaxy", "music", "reid"])
def test_a_refused_training_leaves_nothing(
    name: str, wrong: str, tmp_path: Path, labelled_table: Path, chest_table: Path, chorales: Path, photographs: Path
) -> None:
    data = {
        "chest": [str(chest_table), "--size", "32"],
        "ctr": [str(click_table()), "--label", "click", "--embedding", "4", "--width", "4", "--depth", "1"],
        "galaxy": [str(labelled_table), "--label", "kind", "--size", "32"],
        "music": [str(chorales), "--style", "chorale", "--width", "8", "--depth", "1", "--heads", "1"],
        "reid": [str(photographs), "--size", "32", "--batch-size", "16"],
    }[name]
    if (name, wrong) == ("reid", "mixer"):
        pytest.skip("an individual's model has one mechanism, that of its paper")
    if (name, wrong) == ("music", "start"):
        data = data[:3]
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "new" / "deep", tmp_path / "empty"):
        done = CliRunner().invoke(app, [name, "train", *data, "--out", str(out), *REFUSED[wrong]])
        assert done.exit_code in (1, 2) and done.stderr.splitlines()[-1].startswith("error: "), done.stderr
        assert wrong in done.stderr or "nowhere" in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


EVERYWHERE = {"precision": "65-maybe", "strategy": "no", "start": "no/folder"}
SETTINGS = {
    "chest": EVERYWHERE | {"mixer": "nonsense", "variant": "none"},
    "ctr": EVERYWHERE | {"mixer": "nonsense", "heads": "7", "dnn": "40,x", "shares": "nan,0"},
    "galaxy": EVERYWHERE | {"mixer": "nonsense", "variant": "none"},
    "music": EVERYWHERE | {"mixer": "nonsense", "heads": "7", "style": "punk"},
    "reid": EVERYWHERE | {"variant": "none", "heads": "7", "task": "guess"},
}


@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name, options in SETTINGS.items() for option in options]
)
def test_settings_are_refused_before_data_are_read(name: str, option: str, tmp_path: Path) -> None:
    """The data are not even there."""
    typed = [name, "train", str(tmp_path / "no.csv"), f"--{option}", SETTINGS[name][option]]
    done = CliRunner().invoke(app, [*typed, "--out", str(tmp_path / "out")])
    assert done.exit_code in (1, 2) and "no.csv" not in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


def test_a_failed_report_leaves_nothing(tmp_path: Path, labelled_table: Path, chest_model: Path) -> None:
    chest = str(chest_model)
    for command in (
        ["galaxy", "evaluate", str(labelled_table), "--model", "nowhere"],
        ["galaxy", "explain", str(tmp_path), "--model", "bundled"],
        ["galaxy", "calibrate", "nowhere.csv", "--model", "bundled"],
        ["ctr", "evaluate", "nowhere.csv"],
        ["ctr", "explain", str(click_table()), "--model", str(trained_click_model()), "--label", "nothing"],
        ["ctr", "calibrate", "nowhere.csv"],
        ["chest", "evaluate", "nowhere.csv", "--model", chest],
        ["chest", "explain", str(tmp_path), "--model", chest],
        ["chest", "calibrate", "nowhere.csv", "--model", chest],
        ["music", "evaluate", "nowhere"],
        ["music", "explain", "nowhere.mid"],
    ):
        done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out")])
        assert done.exit_code in (1, 2), (command, done.stdout)
        assert not [*tmp_path.iterdir()], command


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
