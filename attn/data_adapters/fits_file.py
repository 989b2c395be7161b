"""Opening a FITS file: the file itself, its HDUs, and astropy's complaints turned into flags or one
sentence.

The file is not memory-mapped: sections are read by seeking. A mapping of a survey image would count every
page ever touched as resident, a section is gone when its array is.
"""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from astropy.io import fits

from attn.core.errors import InputError
from attn.data_adapters.pictures import check_regular_file

# What astropy raises on damaged files, found by flipping bytes in real ones.
_DAMAGE = (
    OSError, ValueError, TypeError, LookupError, AttributeError, EOFError, ArithmeticError, MemoryError,
    RuntimeError, struct.error, zlib.error, fits.VerifyError,
)  # fmt: skip


@dataclass
class FitsFile:
    """An open file: its HDUs, all headers read, no data yet; `flags` fills as complaints come."""

    path: Path
    hdus: Any  # astropy.io.fits.HDUList
    compressed: bool
    flags: list[str] = field(default_factory=list)

    def flag(self, name: str) -> None:
        """Note something odd, once."""
        if name not in self.flags:
            self.flags.append(name)


@contextmanager
def open_fits(path: str | Path) -> Iterator[FitsFile]:
    """Open `path` and read every header. InputError when it cannot be opened or is not FITS."""
    path = Path(path)
    check_regular_file(path)
    packing = _packing(path)
    file = FitsFile(path, None, compressed=packing != "")
    with complaints(file, "cannot be opened as FITS"):
        file.hdus = fits.open(path, mode="readonly", memmap=False, lazy_load_hdus=False)
    try:
        yield file
    finally:
        with complaints(file, "cannot be closed"):
            file.hdus.close()


def _packing(path: Path) -> str:
    """`gz`, `bz2` or an empty string for plain FITS, by the first bytes."""
    try:
        with path.open("rb") as stream:
            start = stream.read(80)
    except PermissionError as error:
        raise InputError("no permission to read it", where=path, hint="check its access rights") from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path) from error
    if start.startswith(b"\x1f\x8b"):
        return "gz"
    if start.startswith(b"BZh"):
        return "bz2"
    if start.startswith(b"SIMPLE"):
        return ""
    head = start.lstrip()[:5].lower()
    what = "a web page, not a FITS file" if head in (b"<!doc", b"<html", b"<?xml") else "not a FITS file"
    raise InputError(f"{what}: it does not start with SIMPLE", where=path, hint="download the file again")


@contextmanager
def complaints(file: FitsFile, what: str) -> Iterator[None]:
    """Run astropy calls: warnings that matter become flags of `file`, failures become an InputError."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    except InputError:
        raise
    except _DAMAGE as error:
        reason = " ".join((str(error) or type(error).__name__).split())[:120]
        raise InputError(
            f"{what} ({reason})", where=file.path, hint="the file is damaged; get it again"
        ) from error
    finally:
        for warning in caught:
            if "truncated" in str(warning.message):
                file.flag("truncated")


def hdu_label(hdus: Any, index: int) -> str:
    """`1 (SCI)`: the index and the name, where there is one."""
    name = hdus[index].name.strip()
    return f"{index} ({name})" if name and name != "PRIMARY" else str(index)
