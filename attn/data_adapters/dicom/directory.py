"""The images that a DICOMDIR lists (PS3.3 F.3, PS3.10 8).

Its records also name patients. No value of a record but the file id leaves this module, not even in an error.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from attn.core.errors import InputError
from attn.data_adapters.library_warnings import caught_warnings

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MOST_BYTES = 1 << 28
HINT = "name the folder instead"
_PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")  # a deflated DICOMDIR, which no standard knows, could be a bomb
_NAME = re.compile(r"[^\x00-\x1f/\\:]{1,64}")  # of a component; the standard allows 8 capitals, digits and underscores


def is_directory(path: Path) -> bool:
    """Whether a file has the name that the standard prescribes; some file systems change its case."""
    return path.name.upper().rstrip(".") == "DICOMDIR"


def list_images(path: Path) -> Iterator[tuple[str, Path | None]]:
    r"""The file id of each image record, such as `PT000000\ST000001\IM000002`, and the file; None when it is not there.

    The records are taken in the order of the file: their offsets to one another, which damage can turn into circles,
    are not followed. InputError: not a DICOMDIR, or damaged.
    """
    for components in _file_ids(path):
        yield "\\".join(components), _find(path.parent, components)


def _file_ids(path: Path) -> list[list[str]]:
    import pydicom

    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"is a DICOMDIR of more than {MOST_BYTES:,} bytes", where=path, hint=HINT)
        with caught_warnings():  # which would quote values
            syntax = pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID", _PLAIN[1])
            if syntax not in _PLAIN:
                raise InputError(f"is a DICOMDIR in the transfer syntax {_uid(syntax)}", where=path, hint=HINT)
            records = pydicom.dcmread(path, specific_tags=["DirectoryRecordSequence"]).get("DirectoryRecordSequence")
            if records is None:
                raise InputError("is no DICOMDIR: it has no directory records (0004,1220)", where=path, hint=HINT)
            return [components for record in records if (components := _file_id(record)) is not None]
    except InputError:
        raise
    except Exception as error:  # its message may quote a patient
        raise InputError(f"is a damaged DICOMDIR ({type(error).__name__})", where=path, hint=HINT) from None


def _file_id(record: "Dataset") -> list[str] | None:
    """The components of an image's file id; None for other records and for those no longer in use."""
    if record.get("DirectoryRecordType") != "IMAGE" or record.get("RecordInUseFlag") == 0:
        return None
    file_id = record.get("ReferencedFileID") or []
    components = [file_id] if isinstance(file_id, str) else list(file_id)
    return [re.sub(r"[^\x20-\x7e]", "?", component.strip()) for component in components]


def _find(folder: Path, components: list[str]) -> Path | None:
    """The file below `folder`; file systems that change the case of names are allowed for."""
    for name in components or [""]:
        if name in (".", "..") or not _NAME.fullmatch(name):
            return None
        exact = folder / name
        if not exact.exists():
            there = sorted(folder.iterdir()) if folder.is_dir() else []
            exact = next((each for each in there if each.name.casefold() == name.casefold()), exact)
        folder = exact
    return folder if folder.is_file() else None


def _uid(text: str) -> str:
    return re.sub(r"[^0-9.]", "?", str(text))[:64]
