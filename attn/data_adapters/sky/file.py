"""Opening a FITS file: the file itself, its HDUs, and astropy's complaints turned into flags or one
sentence.

The file is not memory-mapped: sections are read by seeking. A mapping of a survey image would count every
page ever touched as resident, a section is gone when its array is.
"""

import bz2
import gzip
import lzma
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from astropy.io import fits
from astropy.io.fits import VerifyError

from attn.core.errors import InputError
from attn.data_adapters.boundary import boundary
from attn.data_adapters.images.pictures import check_regular_file
from attn.data_adapters.library_warnings import caught_warnings
from attn.data_adapters.sky.guard import check_counts
from attn.data_adapters.sky.kinds import HEAD, in_words

SMALL = 1 << 26  # bytes that any .gz, .bz2 or .xz may unpack to
MOST_TIMES = 100  # larger than its file, for one that unpacks to more than SMALL; images shrink 2 to 20 times
_PIECE = 1 << 20

_Packed = gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile


@dataclass
class FitsFile:
    """An open file: its HDUs, all headers read, no data yet; `flags` fills as complaints come.

    size: bytes, of what is inside when the file is packed.
    """

    path: Path
    hdus: Any  # astropy.io.fits.HDUList
    size: int
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
    with unpacked(path) as stream:
        file = FitsFile(path, None, stream.seek(0, 2))
        stream.seek(0)
        _check_start(stream.read(HEAD), path)
        stream.seek(0)
        with complaints(file, "cannot be opened as FITS"):
            check_counts(stream, path)
            stream.seek(0)
            file.hdus = fits.open(
                stream, mode="readonly", memmap=False, lazy_load_hdus=False, do_not_scale_image_data=True
            )
            for hdu in file.hdus:
                _drop_bad_names(hdu.header)
        yield file


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file. A packed file is unpacked once: to seek back in it would unpack it from its start."""
    with path.open("rb") as stream:
        start = stream.read(6)
        stream.seek(0)
        packed: _Packed
        if start.startswith(b"\x1f\x8b"):
            packed = gzip.GzipFile(fileobj=stream)
        elif start.startswith(b"BZh"):
            packed = bz2.BZ2File(stream)
        elif start == b"\xfd7zXZ\x00":
            packed = lzma.LZMAFile(stream)  # noqa: SIM115, the stream is closed
        else:
            yield stream
            return
        with tempfile.SpooledTemporaryFile(SMALL) as plain:
            with boundary(path, "cannot be unpacked", "the file is damaged; get it again"):
                _unpack(packed, cast(BinaryIO, plain), max(SMALL, MOST_TIMES * path.stat().st_size), path)
            plain.seek(0)
            yield cast(BinaryIO, plain)


def _unpack(packed: _Packed, plain: BinaryIO, most: int, path: Path) -> None:
    """Copy what is inside. A file that is cut off or damaged gives what comes before: its image may be whole."""
    size = 0
    while True:
        try:
            piece = packed.read1(_PIECE)  # read would drop what comes before the fault
        except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError):
            if not size:
                raise
            return
        if not piece:
            return
        size += plain.write(piece)
        if size > most:
            raise InputError(
                f"unpacks to more than {most:,} bytes, which no image does",
                where=path,
                hint="unpack it first if it is one",
            )


def _drop_bad_names(header: Any) -> None:
    """Take out a name of an HDU that cannot be understood: its pixels can."""
    for key in ("EXTNAME", "EXTVER"):
        try:
            header.get(key)
        except VerifyError:
            del header[key]


def _check_start(start: bytes, path: Path) -> None:
    if start.startswith(b"SIMPLE"):
        return
    words = in_words(start)
    if words is None or "web page" in words:
        what = f"{words}, not a FITS file" if words else "not a FITS file"
        raise InputError(f"{what}: it does not start with SIMPLE", where=path, hint="download the file again")
    hint = "unpack it first" if words.endswith("archive") or words.startswith("packed") else "give a FITS file"
    raise InputError(f"{words}, not a FITS file: it does not start with SIMPLE", where=path, hint=hint)


@contextmanager
def complaints(file: FitsFile, what: str) -> Iterator[None]:
    """Run astropy calls: warnings that matter become flags of `file`, failures become an InputError."""
    with boundary(file.path, what, "the file is damaged; get it again"), caught_warnings() as caught:
        try:
            yield
        finally:
            if any("truncated" in str(warning.message) for warning in caught):
                file.flag("truncated")


def hdu_label(hdus: Any, index: int) -> str:
    """`1 (SCI)`: the index and the name, where there is one."""
    name = hdus[index].name.strip()
    return f"{index} ({name})" if name and name != "PRIMARY" else str(index)
