"""HEIC pictures, as phones keep them: read where the plug-in `pi-heif` is installed, else refused in one sentence."""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from attn.core.errors import InputError

HEIF_SUFFIXES = (".heic", ".heif")
_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


@cache
def formats() -> tuple[str, ...]:
    """The format's name for Pillow where the plug-in is installed, else none."""
    if find_spec("pi_heif") is None:
        return ()
    import_module("pi_heif").register_heif_opener()
    return ("HEIF",)


def refuse(path: Path) -> None:
    """Raise InputError when the file is HEIC by its first bytes, whatever its name, and no plug-in is installed."""
    with path.open("rb") as file:
        head = file.read(12)
    if not formats() and head[4:8] == b"ftyp" and head[8:12] in _BRANDS:
        raise InputError("is a HEIC picture", where=path, hint="pip install attn[heif], or save it as JPEG")
