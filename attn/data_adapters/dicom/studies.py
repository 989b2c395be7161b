"""What people give for radiographs: files, folders, globs, list files, a DICOMDIR and zip archives.

Radiographs often have no suffix, so that every file of a folder counts; its reader says which are images.
"""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from attn.core.errors import InputError, UsageError
from attn.data_adapters.dicom.archive import list_members, read_member
from attn.data_adapters.dicom.directory import is_directory, list_images
from attn.data_adapters.images.pictures import check_regular_file
from attn.data_adapters.paths import LIST_SUFFIXES, expand_inputs, is_hidden, to_search


@dataclass(frozen=True)
class Entry:
    """One file: in a folder, or as `member` of the zip archive at `path`.

    `id` is its path; that of a member is the archive's path followed by the member's. Whoever replaces it by a
    pseudonym hides the path: errors have the id. An entry of which it is known that it cannot be read says why in
    `refusal`.
    """

    id: str
    path: Path
    member: str | None = None
    refusal: str = ""

    def open(self) -> BinaryIO:
        """The file's bytes. InputError, which names the id alone: refused, no regular file, empty, not to be opened."""
        if self.refusal:
            raise InputError(self.refusal, where=self.id)
        try:
            if self.member is not None:
                return read_member(self.path, self.member, self.id)
            check_regular_file(self.path)
            return self.path.open("rb")
        except InputError as error:
            raise InputError(error.what, where=self.id, hint=error.hint) from None


def list_entries(inputs: Iterable[str]) -> Iterator[Entry]:
    """Every file of the inputs once, in the order given.

    A folder means all its files at any depth, sorted, but for hidden ones and results of attn; a glob its matches,
    files and folders; a list file (.txt, .list, .lst) its lines, relative to the list. A zip archive means its members,
    a DICOMDIR the images it lists, those that are not there included. What cannot be read is an entry all the same,
    whose `open` says why, and the next one follows.

    Raises UsageError for a folder or a glob that holds nothing, InputError for a list that cannot be read.
    """
    seen: set[tuple[Path, str | None]] = set()
    for text in inputs:
        for path in _expand(text):
            for entry in _entries_of(path):
                key = entry.path, entry.member
                if key not in seen:
                    seen.add(key)
                    yield entry


def _expand(text: str) -> Iterator[Path | Entry]:
    path = Path(text)
    # Of os.path, as a Path raises for a name that is too long or may not be looked at; `open` says so better.
    if os.path.isdir(path):  # noqa: PTH112
        yield from _files_in(path)
    elif glob.has_magic(text) and not os.path.exists(path):  # noqa: PTH110
        for match in expand_inputs([text], ()):
            yield from _files_in(match) if match.is_dir() else [match]
    elif path.suffix.lower() in LIST_SUFFIXES:
        yield from expand_inputs([path], ())
    else:
        yield path


def _files_in(folder: Path) -> Iterator[Path | Entry]:
    """The regular files in a folder, sorted; folders that may not be read are refused, links to folders passed over."""
    unreadable: list[Entry] = []

    def remember(error: OSError) -> None:
        unreadable.append(Entry(error.filename, Path(error.filename), refusal=f"cannot be listed ({error.strerror})"))

    found: list[Path] = []
    for root, folders, names in os.walk(folder, onerror=remember):
        folders[:] = to_search(Path(root), [name for name in folders if not is_hidden(name)])
        found += [Path(root, name) for name in names if not is_hidden(name)]
    files = [path for path in sorted(found) if path.is_file()]
    if not files and not unreadable:
        raise UsageError("no files in this folder", where=folder, hint="check the path")
    yield from unreadable
    yield from files


def _entries_of(path: Path | Entry) -> Iterator[Entry]:
    if isinstance(path, Entry):
        yield path
        return
    listed: Callable[[Path], Iterator[Entry]] | None = None
    if os.path.isfile(path):  # noqa: PTH113
        listed = _members if path.name.lower().endswith(".zip") else _images if is_directory(path) else None
    if listed is None:
        yield Entry(str(path), path)
        return
    try:
        yield from listed(path)
    except InputError as error:
        yield Entry(str(path), path, refusal=error.what if error.hint is None else f"{error.what}; {error.hint}")


def _members(path: Path) -> Iterator[Entry]:
    for name, refusal in list_members(path):
        yield Entry(f"{path}/{name}", path, name, refusal)


def _images(path: Path) -> Iterator[Entry]:
    images = list(list_images(path))
    if not images:
        yield Entry(str(path), path)  # the reader says that it is no image
    for file_id, file in images:
        if file is None:
            missing = path.parent.joinpath(*file_id.split("\\"))
            yield Entry(
                str(missing),
                missing,
                refusal="is listed in the DICOMDIR, but is not there",
            )
        else:
            yield Entry(str(file), file)
