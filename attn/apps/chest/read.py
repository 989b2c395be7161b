"""One radiograph from whatever a caller has: a file, an entry of a study, an array. A file may hold several frames."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from attn.core.errors import AttnError, InputError, UsageError
from attn.data_adapters.dicom.identity import read_identity
from attn.data_adapters.dicom.privacy import Key, hash_name, private_id, read_key
from attn.data_adapters.dicom.radiograph import Radiograph
from attn.data_adapters.dicom.read import read_radiographs
from attn.data_adapters.dicom.studies import Entry

Source = str | Path | Entry | np.ndarray | Radiograph | InputError
"""What a predictor takes; what a study lists but does not hold is an InputError."""

_WHITE = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}


@dataclass(frozen=True)
class Reading:
    """How files are read, and what they are called in results.

    `window` names another display of a DICOM file than its first, `frame` is the number of its only frame, from 1. A
    path in which the patient stands becomes a pseudonym under `key`; with `hash_names` every path does.
    """

    window: str | None = None
    frame: int | None = None
    key: Key = field(default_factory=lambda: read_key(None))
    hash_names: bool = False

    def frames(self, x: Source) -> Iterator[Radiograph]:
        """The frames of `x` one after the other.

        Arrays are (H, W): uint8 and uint16 over their whole range, floats from 0 black to 1 white. Raises InputError
        when `x` cannot be read, and its subclass NotAnImageError when there is no image in it.
        """
        if isinstance(x, InputError):
            raise x
        if isinstance(x, Radiograph):
            yield x
        elif isinstance(x, np.ndarray):
            yield _from_array(x)
        else:
            yield from self._of_entry(x if isinstance(x, Entry) else Entry(str(x), Path(x)))

    def frames_or_error(self, x: Source) -> Iterator[Radiograph | AttnError]:
        """`frames`, with an error as the last item instead of raised."""
        try:
            yield from self.frames(x)
        except AttnError as error:
            yield error

    def one(self, x: Source) -> Radiograph:
        """The only frame of `x`. Raises InputError also when there are several and `frame` does not say which."""
        found = list(islice(self.frames(x), 2))
        if len(found) > 1:
            raise InputError("has several frames", where=found[0].id.rpartition("#")[0], hint="say which: frame=1, ...")
        return found[0]

    def _of_entry(self, entry: Entry) -> Iterator[Radiograph]:
        if self.hash_names:
            entry = replace(entry, id=hash_name(entry.id, self.key))
        with closing(entry.open()) as stream:
            id = entry.id if self.hash_names else private_id(entry, read_identity(stream), self.key)
            try:
                yield from read_radiographs(stream, id, window=self.window, frame=self.frame)
            except UsageError as error:  # this file has no such window; the next one may have it
                raise InputError(error.what, where=id, hint=error.hint) from None


def source_id(x: Radiograph | AttnError) -> str:
    """What a result row calls this."""
    return x.id if isinstance(x, Radiograph) else x.where or ""


def _from_array(x: np.ndarray) -> Radiograph:
    if x.ndim != 2 or 0 in x.shape:
        raise InputError(f"an array of shape {x.shape} is no radiograph", where="array", hint="give (H, W), grey")
    pixels_hw = x.astype(np.float32) / _WHITE.get(x.dtype, 1)
    if not (np.isfinite(pixels_hw).all() and pixels_hw.min() >= 0 and pixels_hw.max() <= 1):
        raise InputError(
            f"an array of {x.dtype} goes beyond 0 to 1",
            where="array",
            hint="give uint8, uint16, or floats from 0 black to 1 white",
        )
    return Radiograph("array", pixels_hw)
