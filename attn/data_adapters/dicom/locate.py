"""Where the images of a published list lie: the lists name files, and leave out the folders they are unpacked into."""

import os
from collections.abc import Sequence
from pathlib import Path

from attn.core.errors import InputError


def locate(source: Path, names: Sequence[str], *, prefer: str = "", suffixes: Sequence[str] = ("",)) -> list[str]:
    """The path of each image relative to the folder of `source`, the list it stands in.

    Names with folders lose those leading ones that are not there. A bare name is looked for at any depth, with the
    first of `suffixes` that exists; where more than one folder has it, that named `prefer` counts. A name that is
    nowhere stays as it is: reading it says so. InputError: a name that is in several folders.
    """
    root = source.parent
    if any("/" in name for name in names):
        return _without_leading_folders(root, names)
    wanted = {name + suffix for name in names for suffix in suffixes}
    found: dict[str, list[str]] = {}
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in wanted.intersection(files):
            found.setdefault(name, []).append(Path(folder, name).relative_to(root).as_posix())
    return [_one(source, number, name, found, prefer, suffixes) for number, name in enumerate(names, 1)]


def _without_leading_folders(root: Path, names: Sequence[str]) -> list[str]:
    for parts in (Path(name).parts for name in names[:100]):  # some files may be missing
        for dropped in range(len(parts)):
            if os.path.isfile(root.joinpath(*parts[dropped:])):  # noqa: PTH113, a Path raises for a long name
                return [Path(*Path(name).parts[dropped:]).as_posix() for name in names]
    return list(names)


def _one(
    source: Path, number: int, name: str, found: dict[str, list[str]], prefer: str, suffixes: Sequence[str]
) -> str:
    paths = next((found[name + suffix] for suffix in suffixes if name + suffix in found), [name])
    if len(paths) > 1:
        paths = [path for path in paths if path.split("/")[0] == prefer] or paths
    if len(paths) > 1:  # the name itself may tell who the patient is
        raise InputError(
            f"image {number} lies in {len(paths)} folders",
            where=source,
            hint="remove all but one of them, or write paths into the list",
        )
    return paths[0]
