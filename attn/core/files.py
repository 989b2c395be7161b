"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; what is written there becomes `path` when the block ends well.

    An exception, Ctrl-C included, removes the temporary file and leaves an older `path` as it was. The name
    keeps the suffix, since some writers choose their format by it, and the process number, since several may
    write at once.
    """
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
