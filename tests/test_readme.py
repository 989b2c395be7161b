"""The README: its commands exist, its first one works, and what it promises of the bundled model holds."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from attn import GalaxyPredictor
from attn.cli import LazyApp, app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(?:.*uv run )?(attn [^#\n]+?)\s*(?:#.*)?$", README, flags=re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_command_line_is_understood(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    command = get_command(app).commands[name]
    if isinstance(command, LazyApp):
        verb, *arguments = arguments
        command = command.load().commands[verb]
    command.make_context(name, arguments)  # raises for an option or an argument that does not exist


def test_commands_were_found() -> None:
    assert any(line.startswith("attn galaxy predict examples/") for line in COMMANDS)
    assert len(COMMANDS) > 8


def test_first_command_classifies_the_example() -> None:
    path = ROOT / "examples" / "disc_galaxy.fits"
    done = CliRunner().invoke(app, ["galaxy", "predict", str(path), "--json"], prog_name="attn")
    row = json.loads(done.stdout)
    assert done.exit_code == 0
    assert row["label"] == "spiral"
    assert row["model"] == "astroformer-nano"


def test_bundled_model_describes_itself() -> None:
    record = GalaxyPredictor.load().record
    assert record.labels == ["elliptical", "irregular", "lenticular", "spiral"]
    assert record.metrics["tta_true"]["colour_balanced_accuracy"] > 0.8
    assert record.limits and record.data["sha256"]
    assert not [id for id in record.data["held_out"] if id.startswith("/")]


@pytest.mark.real_data
@pytest.mark.slow
def test_evaluating_on_the_real_set_gives_the_numbers_of_the_record(data_dir: Path) -> None:
    table = data_dir / "galaxy" / "efigi" / "labels.csv"
    arguments = ["galaxy", "evaluate", str(table), "--image", "path", "--label", "coarse", "--json"]
    report = json.loads(CliRunner().invoke(app, arguments, prog_name="attn").stdout)
    stored = GalaxyPredictor.load().record.metrics
    assert report["measured_on"].startswith("the 892 rows held out")
    for key in ("balanced_accuracy", "macro_f1", "ece"):
        assert report[key]["value"] == pytest.approx(stored[key], abs=2e-3)
