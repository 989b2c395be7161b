"""The command line: quick, quiet, and with no option changed by accident.

`ATTN_UPDATE_CLI_OPTIONS=1 pytest tests/test_cli.py` rewrites the snapshot `cli_options.json`; look at its
difference before committing it.
"""

import io
import json
import os
import re
import resource
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

import attn
from attn.cli import APPS, LazyApp, app
from attn.core.errors import AttnError

SNAPSHOT = Path(__file__).with_name("cli_options.json")
DOCS = Path(__file__).parents[1] / "docs"
HEAVY = ("torch", "numpy", "polars", "matplotlib", "astropy", "lightning", "pydantic", "rich")
HELP_SECONDS = 0.3


def attn_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "attn.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


def options(command: Any) -> dict[str, Any]:
    """The parameters of a command and of all below it, as a user types them."""
    if isinstance(command, LazyApp):
        command = command.load()
    tree: dict[str, Any] = {}
    for parameter in command.params:
        names = [*parameter.opts, *parameter.secondary_opts]
        name = " ".join(names) if parameter.param_type_name == "option" else parameter.name.upper()
        annotation = parameter.type_descriptor.annotation
        tree[name] = {
            "type": getattr(annotation, "__name__", str(annotation)),
            "required": parameter.required,
            "default": plain(parameter),
            "help": parameter.help,
        }
    if isinstance(command, TyperGroup):
        tree["commands"] = {name: options(below) for name, below in command.commands.items()}
    return tree


def plain(parameter: Any) -> Any:
    default = parameter.default
    return default if default is None or isinstance(default, bool | int | float | str) else str(default)


def test_options_are_those_of_the_snapshot() -> None:
    now = json.loads(json.dumps(options(get_command(app))))
    if os.environ.get("ATTN_UPDATE_CLI_OPTIONS"):
        SNAPSHOT.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
    assert now == json.loads(SNAPSHOT.read_text(encoding="utf-8")), "see this file's first lines"


IMAGES = ("chest", "galaxy", "reid")
ORDER = [
    "inspect", "train", "evaluate", "compare", "predict", "generate", "accompany", "index", "search", "confirm",
    "cluster", "similar", "anomalies", "explain", "calibrate", "profile", "export",
]  # fmt: skip


def verbs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """App, verb and parameters of every command of an app, as the snapshot has them."""
    tree = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    for name, below in tree["commands"].items():
        for verb, parameters in below.get("commands", {}).items():
            yield name, verb, parameters


def test_an_option_means_the_same_wherever_it_occurs() -> None:
    """The same name has one type and one help text; what `--out` is depends on the verb, but not on the app."""
    seen: dict[str, tuple[str, tuple[str, str]]] = {}
    for name, verb, parameters in verbs():
        for option, about in parameters.items():
            key = f"{option} of {verb}" if option == "--out" else option
            if key == "--out of compare":
                key += f" of {name}"  # `attn mixers compare` trains, `attn ctr compare` reads two tables
            if key == "SOURCE":
                key = f"{option} of {name}"  # a table, a labelled set, a collection
            if key == "--start":
                key += " of images" * (name in IMAGES)  # which have a start that ships for all
            where, first = seen.setdefault(key, (f"{name} {verb}", (about["type"], about["help"])))
            assert (about["type"], about["help"]) == first, f"{key}: {name} {verb} differs from {where}"


def test_every_option_has_a_help_text() -> None:
    assert [
        (name, verb, option) for name, verb, below in verbs() for option in below if not below[option]["help"]
    ] == []


def test_verbs_come_in_one_order_and_with_the_common_options() -> None:
    by_app: dict[str, list[str]] = {}
    for name, verb, parameters in verbs():
        if name in ("lab", "mixers"):  # of no app
            continue
        by_app.setdefault(name, []).append(verb)
        assert "--json" in parameters
        assert verb in ("inspect", "train") or {"--model", "MODEL"} & {*parameters}, (name, verb)
        assert verb in ("inspect", "train") or "--device" in parameters, (name, verb)
        assert "--out" in parameters, (name, verb)
    for names in by_app.values():
        assert names == sorted(names, key=ORDER.index)


@pytest.mark.parametrize(("name", "verb"), [(name, verb) for name, verb, below in verbs() if "--device" in below])
def test_a_device_that_is_not_there_is_a_usage_error(name: str, verb: str, tmp_path: Path) -> None:
    arguments = ["--device=cuda:99", "--out", str(tmp_path / "out.onnx")]
    parameters = next(below for app_name, verb_name, below in verbs() if (app_name, verb_name) == (name, verb))
    arguments += [str(tmp_path / "missing.csv")] * any(not option.startswith("--") for option in parameters)
    refused = raised_by(get_command(app).commands[name].load().commands[verb], verb, arguments)
    assert isinstance(refused, typer.BadParameter) and refused.format_message().endswith("has no cuda:99.")


def raised_by(command: Any, verb: str, arguments: list[str]) -> Exception:
    with pytest.raises((typer.BadParameter, AttnError)) as refused, redirect_stdout(io.StringIO()):
        command.main(arguments, prog_name=verb, standalone_mode=False)
    return refused.value


def test_the_page_of_commands_is_what_help_prints() -> None:
    page = runpy.run_path(str(DOCS / "make_cli.py"))["page"]()
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == page, "an option has changed: python docs/make_cli.py"


HUGE = ("nan", "inf", "1e999", str(10**30), "9" * 5000)


NUMBERS = ("int", "float", "tuple")  # a tuple is of numbers, but for --between, which takes two files


@pytest.mark.parametrize(("name", "verb"), [(name, verb) for name, verb, _ in verbs()])
def test_every_number_is_bounded(name: str, verb: str, tmp_path: Path) -> None:
    """Whatever number is typed: a usage error in one sentence, or the command stops at the input that is missing."""
    command = get_command(app).commands[name].load().commands[verb]
    parameters = next(below for app_name, verb_name, below in verbs() if (app_name, verb_name) == (name, verb))
    needed = [str(tmp_path / "missing.csv")] * any(not option.startswith("--") for option in parameters)
    needed += ["--motif", str(tmp_path / "missing.mid")] if "--motif" in parameters else []
    needed += ["--model", str(tmp_path / "no-model")] if "--model" in parameters else []
    needed += ["--out", str(tmp_path / "out" / "x.mid")]
    for option in (
        option for option, about in parameters.items() if about["type"] in NUMBERS and option != "--between"
    ):
        for value in ("0", "-1", "-0.0", "1e-45", *HUGE):
            typed = [f"{option}={value}"] if parameters[option]["type"] != "tuple" else [option, value, "0.1"]
            refused = raised_by(command, verb, [*typed, *needed])
            sentence = refused.format_message() if isinstance(refused, typer.BadParameter) else str(refused)
            assert "\n" not in sentence and len(sentence) < 6000, (option, value)
            if value in HUGE:
                assert isinstance(refused, typer.BadParameter) and option in sentence, (option, value, sentence)


@pytest.mark.parametrize("arguments", [(), *((name,) for name in APPS)], ids=lambda a: " ".join(("attn", *a)))
def test_help_is_immediate(arguments: tuple[str, ...]) -> None:
    """By processor time, which other processes do not change, above that of a Python that does nothing."""
    command = [sys.executable, "-X", "importtime", "-m", "attn.cli", *arguments, "--help"]
    seconds = [processor_seconds(command) - processor_seconds([sys.executable, "-c", ""]) for _ in range(3)]
    lines = re.findall(r"import time:\s+(\d+) \|\s+\d+ \| +(\S+)", run(command).stderr)
    imported = {module.split(".")[0] for _, module in lines}
    assert "typer" in imported
    assert imported.isdisjoint(HEAVY), sorted(imported & set(HEAVY))
    assert min(seconds) < HELP_SECONDS


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


def processor_seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("name", APPS)
def test_every_app_has_help_and_its_line_in_the_root(name: str) -> None:
    root = attn_command("--help")
    assert root.returncode == 0
    assert APPS[name][1] in " ".join(root.stdout.split())
    own = attn_command(name, "--help")
    assert own.returncode == 0
    assert own.stdout.startswith(f"Usage: python -m attn.cli {name} ")


def test_version() -> None:
    done = attn_command("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"attn {version('attn')}\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_offered(shell: str) -> None:
    # Without a shell among the parent processes there is none to detect, so it is named.
    done = attn_command("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="True")
    assert done.returncode == 0
    assert "COMPLETE" in done.stdout and shell in done.stdout


def test_completion_knows_the_apps() -> None:
    done = attn_command(_ATTN_COMPLETE="complete_bash", COMP_WORDS="attn gal", COMP_CWORD="1")
    if not done.stdout.strip():  # the variable is named after the program, which python -m calls otherwise
        done = CliRunner().invoke(
            app,
            [],
            prog_name="attn",
            env={"_ATTN_COMPLETE": "complete_bash", "COMP_WORDS": "attn gal", "COMP_CWORD": "1"},
        )
    assert "galaxy" in done.stdout


def test_mixers_lists_the_registry() -> None:
    done = CliRunner().invoke(app, ["mixers", "--json"])
    assert done.exit_code == 0
    rows = json.loads(done.stdout)
    assert {"name", "dims", "causal", "weights", "steps", "cost", "paper"} <= rows[0].keys()
    assert "softmax" in {row["name"] for row in rows}
    apps = {(row["name"], *row["dims"]): row["apps"] for row in rows}
    assert apps["gated_positional", 2] == ["chest", "galaxy", "reid"]
    assert apps["relative", 1] == ["music"]
    assert apps["interacting", 1] == ["ctr"]
    assert apps["softmax", 1] == ["ctr", "music"]
    plain_text = CliRunner().invoke(app, ["mixers"]).stdout
    assert plain_text.splitlines()[0].split("\t")[0] == "name"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mixers", "--nope"), "error: No such option: --nope; see `attn mixers --help`"),
        (("galxy",), "error: No such command 'galxy'. Did you mean 'galaxy'?; see `attn --help`"),
        (("mixers", "extra"), "error: No such command 'extra'; see `attn mixers --help`"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(arguments: tuple[str, ...], message: str) -> None:
    done = CliRunner().invoke(app, list(arguments), prog_name="attn")
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"{message}\n")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--seconds", "nan"), "--seconds is a number from 0.01 to 3,600, not 'nan'"),
        (("--seconds", "inf"), "--seconds is a number from 0.01 to 3,600, not 'inf'"),
        (("--top-p", "half"), "--top-p is a number from 1e-06 to 1, not 'half'"),
        (("--seed", "2.5"), "--seed is a whole number from 0 to 4,294,967,295, not '2.5'"),
        (("--samples", "9" * 5000), f"--samples is a whole number from 1 to 1,000, not '{'9' * 40}'"),
    ],
)
def test_a_wrong_number_is_said_with_its_option_and_bounds(typed: tuple[str, str], said: str) -> None:
    done = CliRunner().invoke(app, ["music", "generate", *typed], prog_name="attn")
    assert (done.exit_code, done.stderr) == (2, f"error: {said}; see `attn music generate --help`\n")


def test_no_arguments_show_the_help() -> None:
    done = CliRunner().invoke(app, [], prog_name="attn")
    assert done.exit_code == 2
    assert done.stdout.startswith("Usage: attn ")
    assert done.stderr == ""


def test_names_of_the_package_are_lazy() -> None:
    script = "import attn, sys; assert 'GalaxyPredictor' in dir(attn); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = attn.Nothing


def test_every_lazy_name_exists() -> None:
    for name in attn.__all__:
        assert getattr(attn, name).__name__ == name


def test_threads_that_wait_let_others_work():
    """Set before torch is imported, which is when GNU's OpenMP reads it; what the user has set stays."""
    script = (
        "import os, sys; from attn import cli; sys.argv = ['attn', '--version']\ntry: cli.main()\nexcept SystemExit: "
    )
    script += "print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    for given, found in ((None, "1000"), ("7", "7")):
        environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
        environment |= {} if given is None else {"GOMP_SPINCOUNT": given}
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
        )
        assert done.stdout.splitlines()[-1].split() == [found, "False"]
