"""What a file is, by its first bytes and not by its name."""

from pathlib import Path

from attn.core.errors import InputError
from attn.data_adapters.images.pictures import PICTURE_SUFFIXES, check_regular_file

HEAD = 512  # bytes
HDF5_SUFFIXES = (".h5", ".hdf5")
FITS_SUFFIXES = tuple(
    end + packed for end in (".fits", ".fit", ".fts", ".fz") for packed in ("", ".gz", ".bz2", ".xz", ".z")
)
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x1f\x9d")  # gzip, bzip2, xz, compress
_PICTURES = {
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG\r\n\x1a\n": "a PNG picture",
    b"II*\x00": "a TIFF picture",
    b"MM\x00*": "a TIFF picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
}
_OTHERS = {
    b"\x1f\x9d": "packed with compress (.Z)",
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"#ASDF": "an ASDF file",
    b"PAR1": "a Parquet table",
    b"%PDF": "a PDF document",
    b"XTENSION": "an extension of a FITS file without its beginning",
    b"SQLite": "a database",
}
_PAGES = (b"<!doc", b"<html")


def is_picture(path: str | Path) -> bool:
    """Whether `path` is to be read as a picture, else as FITS. Where the first bytes do not tell, its name does.

    InputError: no such file, empty, not to be opened, or called a picture and known to be something else.
    """
    path = Path(path)
    check_regular_file(path)
    with path.open("rb") as file:
        start = file.read(HEAD)
    if start.startswith(b"SIMPLE") or start.startswith(_PACKED):
        return False
    if _picture(start):
        return True
    if not path.name.lower().endswith(PICTURE_SUFFIXES):
        return False
    if words := in_words(start):
        raise InputError(f"{words}, not a picture", where=path, hint="save or download it again")
    return True


def in_words(start: bytes) -> str | None:
    """What a file that begins so is, None where its first bytes do not tell: `a zip archive`, `a text file`."""
    if picture := _picture(start):
        return picture
    known = next((words for magic, words in _OTHERS.items() if start.startswith(magic)), None)
    if known is not None:
        return known
    text = start.lstrip().lower()
    if text.startswith(_PAGES):
        return "a web page"
    if text.startswith(b"<?xml"):
        return "a VOTable" if b"votable" in text else "a web page or another XML document"
    if text and not any(byte < 9 or 13 < byte < 32 or byte == 127 for byte in start):
        return "a text file"
    return None


def _picture(start: bytes) -> str | None:
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "a WebP picture"
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"mif1", b"avif", b"msf1"):
        return "a HEIC picture"
    return next((words for magic, words in _PICTURES.items() if start.startswith(magic)), None)
