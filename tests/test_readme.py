"""README and docs: their commands are understood, their Python runs, what they name exists, the first command works."""

import json
import re
import shlex
import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from attn import GalaxyPredictor
from attn.cli import LazyApp, app, verbs
from attn.core.mixers import registry

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# docs/cli.md is what `--help` prints, with a test of its own.
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(set(ROOT.glob("docs/*.md")) - {ROOT / "docs" / "cli.md"}),
]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PAGES}


def blocks(text: str, language: str) -> list[str]:
    """What stands in the page's fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """Every `attn` command with a verb: lines of blocks, and code within sentences."""
    lines = [line for block in blocks(text, "") for line in block.splitlines()]
    found = [re.sub(r"\s+#.*", "", line).split("uv run ")[-1] for line in lines]
    found += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", re.sub(r"(?ms)^```.*?^```$", "", text))]
    return [line for line in found if re.match(r"attn [a-z]+ ", line)]


COMMANDS = [(page, line) for page, text in TEXTS.items() for line in dict.fromkeys(commands(text))]


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_command_line_is_understood(page: str, line: str) -> None:
    _, name, *arguments = shlex.split(line)
    command = get_command(app).commands[name]
    if isinstance(command, LazyApp):
        by_verb = verbs(command.load())
        command = by_verb[arguments.pop(0) if "" not in by_verb else ""]
    if "--help" in arguments:
        return
    try:
        command.make_context(name, arguments)  # raises for an option or an argument that does not exist
    except Exception as error:
        if (
            type(error).__name__ != "MissingParameter" or f"`{line}`" not in TEXTS[page]
        ):  # a sentence may name the verb alone
            raise


def test_commands_were_found() -> None:
    assert ("README.md", "attn galaxy predict examples/disc_galaxy.fits") in COMMANDS
    assert {page for page, _ in COMMANDS} >= {
        "README.md",
        "docs/galaxy.md",
        "docs/music.md",
        "docs/ctr.md",
        "docs/results.md",
    }


@pytest.mark.parametrize(
    "page", [page for page, text in TEXTS.items() if blocks(text, "python") and page != "CONTRIBUTING.md"]
)
def test_python_of_the_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for number, code in enumerate(blocks(TEXTS[page], "python")):
        code = code.replace("seconds=30", "seconds=3")  # the same, sooner
        exec(compile(code, f"{page}, block {number}", "exec"), names)


@pytest.mark.parametrize("page", TEXTS)
def test_scripts_and_links_exist(page: str) -> None:
    text = TEXTS[page]
    scripts = re.findall(r"benchmarks/\w+\.py", text)
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    missing = [name for name in scripts if not (ROOT / name).exists()]
    missing += [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    assert missing == []


def test_first_command_classifies_the_example() -> None:
    path = ROOT / "examples" / "disc_galaxy.fits"
    done = CliRunner().invoke(app, ["galaxy", "predict", str(path), "--json"], prog_name="attn")
    row = json.loads(done.stdout)
    assert done.exit_code == 0
    assert row["label"] == "spiral"
    assert row["model"] == GalaxyPredictor.load().record.name


def test_the_answer_that_the_readme_prints_is_the_answer() -> None:
    done = CliRunner().invoke(
        app, ["galaxy", "predict", str(ROOT / "examples/disc_galaxy.fits"), "--json"], prog_name="attn"
    )
    row = json.loads(done.stdout)
    header, printed = (line.split("\t") for line in blocks(README, "")[1].splitlines())
    shown = dict(zip(header, printed, strict=True))
    assert (shown["label"], shown["model"]) == (row["label"], row["model"])
    numbers = [name for name in row if name.startswith("p_")]
    assert len(numbers) == 4
    assert [float(shown[name]) for name in numbers] == pytest.approx([row[name] for name in numbers], rel=1e-3)


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


MIXER = """
import torch
from attn.core import mixers
from attn.core.attention.watch import record
mixer = mixers.create("cosine", dims=1, channels=8, heads=2, size=(5,), causal=True).eval()
x = torch.randn(2, 5, 8)
cache = mixer.start(2, 5)
steps = torch.cat([mixer(x[:, i : i + 1], cache) for i in range(5)], 1)
torch.testing.assert_close(steps, mixer(x))
with record(mixer) as seen:
    torch.testing.assert_close(mixer(x), steps)
assert seen[""].weights.shape == (2, 2, 5, 5)
"""


def test_examples_of_contributing_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mixer registers itself, and is forgotten afterwards."""
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    mixer, app_code, reader = blocks(TEXTS["CONTRIBUTING.md"], "python")
    script = tmp_path / "contributing.py"  # a file, because Config's names are looked up in its module
    script.write_text(mixer + MIXER + app_code + reader, encoding="utf-8")
    spec = spec_from_file_location(script.stem, script)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, script.stem, module)
    spec.loader.exec_module(module)
