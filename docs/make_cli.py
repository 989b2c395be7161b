"""Make docs/cli.md from what `--help` prints: `python docs/make_cli.py`."""

from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

from attn.cli import APPS, LazyApp, app, verbs

PAGE = Path(__file__).with_name("cli.md")
HEAD = "# The commands\n\nWhat `--help` prints, written by `python docs/make_cli.py`. Do not edit this page.\n"


def page() -> str:
    """The text of docs/cli.md: the root, then each app and its verbs."""
    commands: list[list[str]] = [[]]
    for name in APPS:
        group = get_command(app).commands[name]
        assert isinstance(group, LazyApp)
        commands += [[name], *([name, verb] for verb in verbs(group.load()) if verb)]
    return HEAD + "".join(_section(command) for command in commands)


def _section(command: list[str]) -> str:
    printed = CliRunner().invoke(app, [*command, "--help"], prog_name="attn", env={"COLUMNS": "100"}).stdout
    lines = [line.rstrip() for line in printed.strip().splitlines()]
    text = "\n".join(lines)
    return f"\n{'#' * min(2 + len(command), 3)} {' '.join(['attn', *command])}\n\n```text\n{text}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
