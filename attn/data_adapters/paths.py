"""What people type for inputs: files, folders, globs and list files."""

import glob
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from attn.core.errors import InputError, UsageError
from attn.core.files import is_ours

LOG = logging.getLogger("attn")
LIST_SUFFIXES = (".txt", ".list", ".lst")


def expand_inputs(inputs: Iterable[str | Path], suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Every input file once, in the order given.

    A file is taken as it is. A folder means its files with one of `suffixes` (see `below`), a glob its
    matches, and a list file (.txt, .list, .lst) its lines, relative to the list's folder.

    A file named by itself is passed on whatever its name, also when it does not exist, so that its reader can say
    what is wrong with it. Suffixes are compared in lower case, against the end of the name (".fits.gz" works).

    Raises UsageError for a folder or a glob that holds nothing, InputError for a list that cannot be read.
    """
    seen: set[Path] = set()
    for text in inputs:
        for path in _expand(Path(text), suffixes):
            if path not in seen:
                seen.add(path)
                yield path


def below(folder: Path) -> list[Path]:
    """All that is in a folder, at any depth, sorted, but for what is in folders that attn made."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = to_search(Path(place), folders)
        found += [Path(place, name) for name in (*folders, *names)]
    return sorted(found)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name holds nothing that a person put there."""
    return name.startswith(".") or name == "__MACOSX"


def to_search(place: Path, folders: Iterable[str]) -> list[str]:
    """Those of the folders in `place` that attn did not make: the others hold results, and a log message names them."""
    made = {name for name in folders if is_ours(place / name)}
    if made:
        named = ", ".join(sorted(made)[:3]) + (", ..." if len(made) > 3 else "")
        LOG.warning("%s: not searched, because attn made it: %s", place, named)
    return [name for name in folders if name not in made]


def _expand(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    # Of os.path, as a Path raises for a name that is too long or may not be looked at; its reader says so better.
    if os.path.isdir(path):  # noqa: PTH112
        found = [p for p in below(path) if p.name.lower().endswith(suffixes)]
        if not found:
            raise UsageError("no readable files in this folder", where=path, hint=f"looked for {' '.join(suffixes)}")
        return found
    if path.suffix.lower() in LIST_SUFFIXES and os.path.isfile(path):  # noqa: PTH113
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()  # Windows begins a file with a mark
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the list cannot be read as text: {error}", where=path) from error
        names = [line.strip() for line in lines]
        return [path.parent / name for name in names if name and not name.startswith("#")]
    if glob.has_magic(str(path)) and not os.path.exists(path):  # noqa: PTH110
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207, a Path has no glob from any root
        found = [Path(match) for match in matches]
        if not found:
            raise UsageError("no file matches", where=path, hint="quote the pattern so that the shell leaves it alone")
        return found
    return [path]
