"""Files in a zip archive, read one at a time into memory: nothing is unpacked to disk.

An archive comes from anybody, so that its sizes are checked before memory is taken: that of the directory, that of each
member, and how much smaller a member became when it was packed. Archives within archives are not followed.
"""

import io
import os
import weakref
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from attn.core.errors import InputError
from attn.data_adapters.boundary import boundary
from attn.data_adapters.paths import is_hidden

MOST_BYTES = 1 << 30  # of a member; 256 million pixels of 16 bits take half
MOST_RATIO = 200  # of a large member's size to its packed size; radiographs reach 10, an empty picture 1000
SMALL = 1 << 24  # bytes; members up to this size may have any ratio
MOST_DIRECTORY = 1 << 24  # bytes of the archive's own list of members, which is about 150,000 members
OFFERED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others take as much memory as their headers say
UNPACK = "unpack it and name the folder"
_ENCRYPTED, _UTF8 = 0x1, 0x800  # bits of a member's flags


def list_members(path: Path) -> Iterator[tuple[str, str]]:
    """The name of each file in a zip, sorted, and why it is refused ("" when it is not).

    Folders, hidden files and what macOS adds (`__MACOSX`) are passed over. InputError: not a zip, damaged, or a bomb.
    """
    if not _archive(path).members:
        raise InputError("holds no files", where=path)
    for name, infos in sorted(_archive(path).members.items()):
        parts = name.split("/")
        if name.startswith("/") or ".." in parts:
            yield name, "its name leads out of the archive"
        elif not any(is_hidden(part) for part in parts):
            yield name, _refusal(infos)


def read_member(path: Path, name: str, where: str) -> io.BytesIO:
    """The bytes of one file of `list_members`. InputError at `where`: refused or damaged."""
    archive = _archive(path)
    infos = archive.members.get(name, [])
    if refusal := "is not in the archive" if not infos else _refusal(infos):
        raise InputError(refusal, where=where)
    try:
        with archive.zip.open(infos[0]) as file:
            return io.BytesIO(file.read())
    except MemoryError:
        raise InputError("does not fit in memory", where=where) from None
    except Exception as error:  # its message may quote the name of a member, which may be a patient's
        what = f"is damaged in the archive ({type(error).__name__})"
        raise InputError(what, where=where, hint="get the archive again") from None


def _refusal(infos: list[zipfile.ZipInfo]) -> str:
    info = infos[0]
    if len(infos) > 1:
        return f"the archive holds {len(infos)} files of this name; {UNPACK}"
    if info.flag_bits & _ENCRYPTED:
        return f"is encrypted; {UNPACK}"
    if info.filename.lower().endswith(".zip"):
        return f"is an archive within an archive; {UNPACK}"
    if info.compress_type not in OFFERED:
        return f"is packed with method {info.compress_type}, not with deflate; {UNPACK}"
    if info.file_size > MOST_BYTES:
        return f"declares {info.file_size:,} bytes; up to {MOST_BYTES:,} are read"
    if info.file_size > max(SMALL, MOST_RATIO * info.compress_size):
        return f"declares {info.file_size:,} bytes in {info.compress_size:,} packed ones, which no image has; {UNPACK}"
    if info.file_size == 0:
        return "the file is empty (0 bytes)"
    return ""


class _Archive:
    """An open zip and its members by name. More than one member may have a name."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, descriptor)  # when the cache lets go of the archive
        self.zip = zipfile.ZipFile(_Bounded(io.FileIO(descriptor, closefd=False)))
        self.members: dict[str, list[zipfile.ZipInfo]] = {}
        infos = [info for info in self.zip.infolist() if not info.is_dir()]
        if sum(info.compress_size for info in infos) > path.stat().st_size:
            raise InputError("its members overlap, as those of a bomb do", where=path, hint="get the archive again")
        for info in infos:
            self.members.setdefault(_name(info), []).append(info)


class _Bounded(io.BufferedReader):
    """A file that refuses to be read in one piece when the piece is too large: zipfile reads its directory so."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > MOST_DIRECTORY:
            raise InputError(f"its directory declares {size:,} bytes", hint=UNPACK)
        return super().read(size)


def _archive(path: Path) -> _Archive:
    """The archive, its directory read once: reading it for each member would take quadratic time."""
    with boundary(path, "is not a zip archive that can be read", "get it again"):
        status = path.stat()
        # A process that was forked shares the position in an open file, so that each process opens its own.
        return _opened(path, (status.st_mtime_ns, status.st_size, os.getpid()))


@lru_cache(maxsize=4)
def _opened(path: Path, version: tuple[int, int, int]) -> _Archive:
    return _Archive(path)


def _name(info: zipfile.ZipInfo) -> str:
    """The name with forward slashes. Many programs write UTF-8 and do not say so; zipfile then reads code page 437."""
    name = info.filename
    if not info.flag_bits & _UTF8:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")
