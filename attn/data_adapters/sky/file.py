"""Opening a FITS file: the file itself, its HDUs, and astropy's complaints turned into flags or one
sentence.

The file is not memory-mapped: sections are read by seeking. A mapping of a survey image would count every
page ever touched as resident, a section is gone when its array is.
"""

import bz2
import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from astropy.io import fits

from attn.core.errors import InputError
from attn.data_adapters.images.pictures import check_regular_file
from attn.data_adapters.library_warnings import caught_warnings
from attn.data_adapters.sky.guard import check_counts


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
    with path.open("rb") as stream:
        packing = _packing(stream.read(80), path)
        file = FitsFile(path, None, compressed=packing is not None)
        stream.seek(0)
        with complaints(file, "cannot be opened as FITS"):
            check_counts(packing(stream) if packing else stream, path)
            stream.seek(0)
            file.hdus = fits.open(stream, mode="readonly", memmap=False, lazy_load_hdus=False)
        yield file


def _packing(start: bytes, path: Path) -> Callable[[BinaryIO], BinaryIO] | None:
    """What unpacks a file with these first bytes, None for plain FITS; InputError when it is neither."""
    if start.startswith(b"\x1f\x8b"):
        return lambda stream: cast(BinaryIO, gzip.GzipFile(fileobj=stream))
    if start.startswith(b"BZh"):
        return lambda stream: cast(BinaryIO, bz2.BZ2File(stream))
    if start.startswith(b"SIMPLE"):
        return None
    head = start.lstrip()[:5].lower()
    what = "a web page, not a FITS file" if head in (b"<!doc", b"<html", b"<?xml") else "not a FITS file"
    raise InputError(f"{what}: it does not start with SIMPLE", where=path, hint="download the file again")


@contextmanager
def complaints(file: FitsFile, what: str) -> Iterator[None]:
    """Run astropy calls: warnings that matter become flags of `file`, failures become an InputError."""
    try:
        with caught_warnings() as caught:
            yield
    except InputError:
        raise
    except Exception as error:  # astropy's parsers and C decoders raise nearly anything on damaged bytes
        reason = " ".join((str(error) or type(error).__name__).split())[:120]
        raise InputError(f"{what} ({reason})", where=file.path, hint="the file is damaged; get it again") from error
    finally:
        for warning in caught:
            if "truncated" in str(warning.message):
                file.flag("truncated")


def hdu_label(hdus: Any, index: int) -> str:
    """`1 (SCI)`: the index and the name, where there is one."""
    name = hdus[index].name.strip()
    return f"{index} ({name})" if name and name != "PRIMARY" else str(index)
