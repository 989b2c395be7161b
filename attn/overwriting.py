"""What a command reads, it does not overwrite: an option that names a file which another one reads is refused.

The parameters that name files have the same names in all apps; a test compares them with those of the commands.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from attn.core.errors import AttnError, UsageError
from attn.core.files import same_file, sweep
from attn.data_adapters.paths import expand_inputs

READ = (
    "after", "against", "among", "answers", "before", "catalog", "clean", "corrupt", "data", "extra", "fields", "first",
    "gallery", "guide", "inputs", "key", "melody", "model", "motif", "music", "others", "photographs", "policy",
    "pseudonym", "query", "second", "soundfont", "source", "start", "test", "validation",
)  # fmt: skip
WRITTEN = ("out", "preview", "picture", "history", "dicom_out", "review", "camtrap")


def guarded(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same command; it first refuses what it may not write, and removes what a killed one left."""

    @wraps(command)
    def checked_first(**given: Any) -> Any:
        require_apart(given)
        for place in (Path(given[name]) for name in WRITTEN if given.get(name) is not None):
            require_writable(place)
            sweep(place.parent, place.stem)  # of a process that was killed while it wrote the same
        return command(**given)

    return checked_first


def require_writable(place: Path) -> None:
    """Raises UsageError where this user may not make `place`, before the work for it is done."""
    folder = place if place.is_dir() else place.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError("cannot be written: Permission denied", where=place, hint="give another place")


def require_apart(given: Mapping[str, Any]) -> None:
    """Raises UsageError where a parameter of WRITTEN names what another one names, or a file in a folder that is read.

    A folder may be both the model and the place of its calibration or report.
    """
    written = {name: Path(given[name]) for name in WRITTEN if given.get(name) is not None}
    named: dict[str, str] = {}
    for name, place in written.items():
        first = named.setdefault(os.path.abspath(place), name)  # noqa: PTH100, Path.resolve follows a link
        if first != name:
            raise UsageError(f"{_option(first)} and {_option(name)} name the same file", hint="give each its own")
    for name, place in written.items():
        if not place.exists():
            continue
        for other in READ:
            for source in _texts(given.get(other)):
                if other == "model" and place.is_dir():
                    continue
                if _reads(Path(source), place):
                    raise UsageError(
                        f"is read by this command, so {_option(name)} must not overwrite it",
                        where=place,
                        hint=f"give another {_option(name)}",
                    )


def _reads(source: Path, place: Path) -> bool:
    """Whether `source`, which may be a folder, a glob or a list, means the file or folder `place` as well."""
    if same_file(source, place):
        return True
    if os.path.isdir(source):  # noqa: PTH112, a Path raises for a name that is too long
        return place.is_file() and source.resolve() in place.resolve().parents
    try:
        return any(same_file(path, place) for path in expand_inputs([source], ()))
    except AttnError:
        return False  # the command says what is wrong with it


def _texts(value: Any) -> Iterable[str | Path]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str | Path) else value


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
