"""Files that appear whole or not at all, and folders in which attn overwrites and removes only what it made.

A file whose name attn chooses, beside one that the user named, carries the words MADE_BY: by them attn knows its own.

A file that is being written is called `.stem.PID.part.suffix`, a folder for the time of a run `.name.PID.part`. A
process that is killed leaves them behind; the next one that works in the same folder removes them.
"""

import glob
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attn.core.errors import UsageError

MADE_BY = "made by attn"
_ENDS = 4096  # bytes at the beginning and at the end of a file, in which its format keeps such words
MADE = ".attn"  # marks a folder that attn made or was given empty
_RECORD = re.compile(rb'\s*\{\s*"schema_version"')  # how a model's record begins; older folders have no mark
_LEFT = re.compile(r"\..+\.(\d{1,10})\.part(\.\w+)?")


TABLE_SUFFIXES = (".csv", ".jsonl", ".parquet", ".fits", ".ecsv", ".vot", ".xml")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; what is written there becomes `path` when the block ends well.

    An exception, Ctrl-C included, removes the temporary file and leaves an older `path` as it was. The name
    keeps the suffix, since some writers choose their format by it, and the process number, since several may
    write at once.

    Raises UsageError where `path` is a folder, a device or a pipe, which a file would replace. An OSError from the
    block names `path`.
    """
    if path.exists() and not path.is_file():
        what = "is a folder" if path.is_dir() else "is a device or a pipe"
        raise UsageError(f"{what}, not a file", where=path, hint="give another --out")
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        if error.strerror and error.filename in (None, str(part)):  # of a full disk Python says only that
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def same_file(one: Path, other: Path) -> bool:
    """Whether both are there and are one file or folder, by whatever names and links."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def require_unread(path: Path, read: Iterable[Path]) -> None:
    """Raises UsageError if the file `path`, which is to be written, is one of those that are read."""
    if path.exists() and any(same_file(path, each) for each in read):
        raise UsageError("is read by this command, which must not overwrite it", where=path, hint="give another name")


def require_free(*paths: Path) -> None:
    """Raises UsageError where one of these files is there and attn did not write it.

    For names that attn chooses: a file that the user named as --out may be replaced.
    """
    for path in paths:
        if path.exists() and not _says_made_by(path):
            raise UsageError("is there, and attn did not write it", where=path, hint="move it, or give another --out")


@contextmanager
def scratch(parent: Path, name: str) -> Iterator[Path]:
    """A new folder in `parent`, removed after the block. Folders that killed processes left are removed too."""
    parent.mkdir(parents=True, exist_ok=True)
    sweep(parent)
    folder = parent / f".{name}.{os.getpid()}.part"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def claim(folder: Path) -> None:
    """Make a folder to write results to, and mark it as attn's.

    Raises UsageError for a file, and for a folder with files that attn did not write, because a result could overwrite
    one of them. Hidden files do not count.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError("is a file, not a folder", where=folder, hint="give another --out")
    if folder.is_dir() and not is_ours(folder):
        other = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if other:
            raise UsageError(
                f"holds {', '.join(other[:3])}{', ...' if len(other) > 3 else ''}, which attn did not write",
                where=folder,
                hint="give a new or empty folder as --out",
            )
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    mark = folder / MADE
    if not mark.exists():
        with replacing(mark) as part:
            part.write_text("attn made this folder: it overwrites its own results here.\n", encoding="utf-8")


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """`claim` for the time of a block. If the block raises before it has written anything, the claim is undone."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    mark = folder / MADE
    marked = mark.exists()
    try:
        claim(folder)
        yield folder
    except BaseException:
        if not marked and folder.is_dir() and {path.name for path in folder.iterdir()} <= {MADE}:
            mark.unlink(missing_ok=True)
            for place in missing:
                place.rmdir()
        raise


def is_ours(folder: Path) -> bool:
    """Whether attn made this folder: it has the mark, or a model's record."""
    if (folder / MADE).is_file():
        return True
    try:
        with (folder / "model.json").open("rb") as file:
            return _RECORD.match(file.read(64)) is not None
    except OSError:
        return False


def sweep(folder: Path, name: str = "") -> None:
    """Remove what killed processes left half-written in `folder`, of names that begin with `name`.

    The work of living processes stays.
    """
    for path in folder.glob(f".{glob.escape(name)}*"):
        found = _LEFT.fullmatch(path.name)
        if found is None or _lives(int(found[1])):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _says_made_by(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        ends = file.read(_ENDS)
        file.seek(max(0, path.stat().st_size - _ENDS))
        return MADE_BY.encode() in ends + file.read(_ENDS)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass  # somebody else's, or no process number at all
    return True


def table_suffix(path: Path) -> str:
    """The format of a table of results by its name's ending. Raises UsageError for another than TABLE_SUFFIXES."""
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise UsageError(
            f"cannot tell the table's format from {path.suffix or 'a name without suffix'!r}",
            where=path,
            hint=f"end the name in {', '.join(TABLE_SUFFIXES[:-1])} or {TABLE_SUFFIXES[-1]}",
        )
    return suffix


def legible(text: str) -> str:
    """A file's name as text that every format can hold: bytes that are not UTF-8, as in old archives, are spelt out."""
    return text.encode("utf-8", "backslashreplace").decode()
