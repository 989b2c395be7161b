"""The `attn` command. Apps are mounted by name and imported when called: `attn --help` is immediate."""

import os
import sys
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from attn import console, exits
from attn.overwriting import guarded

# One line per app, and one for what all share: the Typer app to import when it is called, and its line in
# `attn --help`.
APPS = {
    "chest": ("attn.apps.chest.cli:app", "Chest X-rays: DICOM files and pictures, for research."),
    "ctr": ("attn.apps.ctr.cli:app", "Clicks: tables of any size, scored by their fields."),
    "galaxy": ("attn.apps.galaxy.cli:app", "Galaxies: FITS files and pictures, classified by shape."),
    "lab": ("attn.lab.cli:app", "Experiments in which theory predicts what attention does."),
    "look": ("attn.look.cli:app", "Inside a trained model: its heads, and what happens without them."),
    "mixers": ("attn.mixers.cli:app", "Attention mechanisms: listed, timed, and compared in an app."),
    "music": ("attn.apps.music.cli:app", "Music: MIDI motifs continued, melodies accompanied."),
    "reid": ("attn.apps.reid.cli:app", "Individuals: photographs told apart and found again."),
}

PLAIN_HELP = None  # help drawn by rich takes 0.4 s, two thirds of it to import rich


class LazyApp(TyperGroup):
    """Stands for an app until the app is called: has its name and help line, and imports it to make a context."""

    def __init__(self, name: str, target: str, help: str) -> None:
        super().__init__(name=name, help=help)
        self.target = target

    def load(self) -> Any:
        """Import the app: a group of commands, or the only one where it has the app's own name."""
        module, _, attribute = self.target.partition(":")
        typer_app = getattr(import_module(module), attribute)
        typer_app.rich_markup_mode = PLAIN_HELP
        group = get_group(typer_app)
        only = group.commands.get(self.name or "") if len(group.commands) == 1 else None
        loaded = group if only is None else only
        for command in verbs(loaded).values():
            assert command.callback is not None
            command.callback = guarded(command.callback)
        return loaded

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the imported app: calling, help and completion all go through here."""
        return self.load().make_context(info_name, args, parent, **extra)


def verbs(app: Any) -> dict[str, Any]:
    """The commands of an app by name; an app that is one command has one without a name."""
    return dict(app.commands) if isinstance(app, TyperGroup) else {"": app}


class Root(TyperGroup):
    """The root command: mounts the apps, and says in one line what a user can mend."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (target, help) in APPS.items():
            self.add_command(LazyApp(name, target, help))

    def get_params(self, ctx: Any) -> list[Any]:
        """Give the root's flags the default False: with None, Typer imports pydantic to read them, which is slow."""
        params = super().get_params(ctx)
        for param in params:
            param.default = False
        return params

    def invoke(self, ctx: Any) -> Any:
        """Run a verb. Typer would give an interruption and a closed output exit codes of its own."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, BrokenPipeError) as stop:
            return exits.stopped(stop)

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run the command line and exit."""
        settings["standalone_mode"] = False

        def command() -> int:
            try:
                code = super(Root, self).main(*args, **settings)
            except typer.TyperException as error:
                return _explain(error)
            return code if isinstance(code, int) else 0

        sys.exit(exits.run(command))


app = typer.Typer(cls=Root, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=PLAIN_HELP)


def _print_version(wanted: bool) -> None:
    if wanted:
        console.show_line(f"attn {version('attn')}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """One attention core, five applications: galaxies, chest X-rays, click logs, music, individuals."""


def main() -> None:
    """Entry point of the `attn` command."""
    # The threads that share a small matrix product wait for each other in a busy loop. If another process needs the
    # processor, that loop takes most of the time. GNU's OpenMP reads this variable when torch is imported, and then
    # lets a waiting thread sleep soon.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    app()


def _explain(error: typer.TyperException) -> int:
    """Say what is wrong with the command line, as every other error is said, with the `--help` to look at."""
    context = getattr(error, "ctx", None)
    message = error.format_message()
    if context is not None and message == context.get_help():  # called without arguments
        console.show_line(message)
        return 2
    hint = f"; see `{context.command_path} --help`" if context is not None else ""
    console.say(f"error: {(_of_number(error) or message).rstrip('.')}{hint}")
    return error.exit_code


def _of_number(error: typer.TyperException) -> str:
    """What is wrong with a number, in our words; nothing for another error."""
    option, faults = getattr(error, "param", None), getattr(error.__cause__, "errors", None)
    least, most = getattr(option, "min", None), getattr(option, "max", None)
    if option is None or least is None or most is None or faults is None:
        return ""
    typed = str(faults()[0]["input"])
    kind = "a whole number" if option.type_descriptor.annotation is int else "a number"
    return f"{option.opts[0]} is {kind} from {least:,} to {most:,}, not {typed[:40]!r}"


if __name__ == "__main__":
    main()
