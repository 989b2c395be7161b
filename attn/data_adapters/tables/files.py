"""The files that are typed for a table, and what is in each: by its first bytes, its suffix, its first line."""

import glob
import os
import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import unquote

from attn.core.errors import InputError
from attn.data_adapters.paths import below
from attn.data_adapters.tables.columnar import MAGIC
from attn.data_adapters.tables.header import SEPARATORS
from attn.data_adapters.tables.rows import PACKED, opened
from attn.data_adapters.tables.source import reading
from attn.data_adapters.tables.sparse import sparse_kind

SUFFIXES = {
    ".csv": "csv",
    **dict.fromkeys((".tsv", ".tab"), "tsv"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "arrow"),
    **dict.fromkeys((".libsvm", ".svm", ".svmlight", ".libfm"), "libsvm"),
    **dict.fromkeys((".libffm", ".ffm"), "libffm"),
}
HEAD = 1 << 16
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
VERSIONED = ("_delta_log", ".hoodie")  # in which Delta Lake and Hudi note the files that a version has
UTF16 = (b"\xff\xfe", b"\xfe\xff")


def files_of(source: str | Path) -> list[Path]:
    """The files that a path or a glob means, sorted.

    A folder means its files with a table's suffix, at any depth, or else its .txt files; names that begin with a dot
    or an underscore are not data. InputError: nothing there.
    """
    path = Path(source)
    if re.match(r"[a-z][a-z0-9+]+://", str(source)):
        raise InputError("is an address, and only files of this machine are read", where=str(source))
    # Of os.path, as a Path raises for a name that is too long or may not be looked at.
    if os.path.isdir(path):  # noqa: PTH112
        for log in VERSIONED:
            if (path / log).is_dir():
                hint = "write the version that you mean as Parquet files"
                raise InputError(f"has a {log}: its files are of several versions of a table", where=path, hint=hint)
        inside = [each for each in below(path) if each.is_file()]
        shown = [e for e in inside if not any(part.startswith((".", "_")) for part in e.relative_to(path).parts)]
        tables = [each for each in shown if _suffix(each) in SUFFIXES]
        found = tables or [each for each in shown if _suffix(each) == ".txt"]
        if not found:
            raise InputError("holds no table", where=path, hint=f"looked for {' '.join(SUFFIXES)} .txt")
        return found
    if os.path.isfile(path):  # noqa: PTH113
        return [path]
    if os.path.exists(path):  # noqa: PTH110
        raise InputError("is neither a file nor a folder", where=path)
    if not glob.has_magic(str(path)):
        raise InputError("is not there", where=path)
    matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207, a Path has no glob from any root
    if not matches:
        raise InputError("no file matches", where=path, hint="quote the pattern so that the shell leaves it alone")
    return [found for match in matches for found in files_of(match)]


def keys_of(path: Path, source: str | Path, expected: Collection[str] = ()) -> dict[str, str | None]:
    """The folders named `key=value` above a file, as Hive and Spark write them; None for their name of a null.

    Those between what was typed, a folder or a glob, and the file; and of what was typed those that are `expected`.
    """
    typed = Path(source)
    known = [part for part in typed.parts if not glob.has_magic(part)] if typed != path else path.parts
    keys: dict[str, str | None] = {}
    for place, part in enumerate(path.parts[:-1]):
        match = re.fullmatch(r"(\w+)=(.*)", part)
        if match and (place >= len(known) or match[1] in expected):
            keys[match[1]] = None if match[2] == HIVE_NULL else unquote(match[2])
    return keys


def kind_of(path: Path, asked: str | None) -> str:
    """One of the values of SUFFIXES. asked: what the caller says it is. InputError: not a table."""
    with reading(path):
        with path.open("rb") as file:
            head = file.read(HEAD)
        columnar = next((kind for kind, magic in MAGIC.items() if head.startswith(magic)), None)
        kind = asked or columnar or SUFFIXES.get(_suffix(path))
        if kind in MAGIC:
            return str(kind)
        with opened(path) as text:
            head = text.read(HEAD)
    if head.startswith(UTF16):
        raise InputError("is UTF-16", where=path, hint="save the file as UTF-8")
    if head.startswith(b"PK\x03\x04"):
        raise InputError("is a ZIP archive or a spreadsheet", where=path, hint="unpack it, or save it as CSV")
    if b"\0" in head:
        raise InputError("is not a table (it is binary)", where=path, hint=f"one of {' '.join(SUFFIXES)} can be read")
    return kind or _kind_of_text(head.decode(errors="replace"), path)


def _kind_of_text(head: str, path: Path) -> str:
    line = head.lstrip().partition("\n")[0]
    if len(head) >= HEAD // 4 and "\n" not in head:
        line = line.rpartition(" ")[0]  # the last entry may be cut in two
    if (sparse := sparse_kind(line)) is not None:
        return sparse
    if line.startswith(("{", "[")):
        raise InputError("is JSON", where=path, hint="write it as CSV or Parquet")
    if line and not any(separator in line for separator in SEPARATORS):
        raise InputError("is not a table that can be recognised", where=path, hint="name its format")
    return "csv"


def _suffix(path: Path) -> str:
    """The suffix in lower case, of what is inside when it is packed."""
    name = path.name.lower()
    for packed in PACKED:
        name = name.removesuffix(packed)
    return Path(name).suffix
