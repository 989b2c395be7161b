"""Galaxy10 as published: one HDF5 file with `images` (N, H, W, 3) uint8 and `ans` (N,) class numbers.

Galaxy10 DECaLS has 256 px images with `ra`, `dec`, `redshift`, `pxscale`; Galaxy10 SDSS has 69 px and
only the first two (Leung and Bovy, astroNN; class names from its documentation). A file of that layout
with the user's own classes names them in a dataset or attribute `class_names`.
"""

import math
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from attn.core.errors import InputError
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.images.pictures import check_regular_file

DECALS_CLASSES = (
    "Disturbed Galaxies",
    "Merging Galaxies",
    "Round Smooth Galaxies",
    "In-between Round Smooth Galaxies",
    "Cigar Shaped Smooth Galaxies",
    "Barred Spiral Galaxies",
    "Unbarred Tight Spiral Galaxies",
    "Unbarred Loose Spiral Galaxies",
    "Edge-on Galaxies without Bulge",
    "Edge-on Galaxies with Bulge",
)
SDSS_CLASSES = (
    "Disk, Face-on, No Spiral",
    "Smooth, Completely round",
    "Smooth, in-between round",
    "Smooth, Cigar shaped",
    "Disk, Edge-on, Rounded Bulge",
    "Disk, Edge-on, Boxy Bulge",
    "Disk, Edge-on, No Bulge",
    "Disk, Face-on, Tight Spiral",
    "Disk, Face-on, Medium Spiral",
    "Disk, Face-on, Loose Spiral",
)
_SDSS_SIDE = 69
HDF5_SUFFIXES = (".h5", ".hdf5")
MAX_SIDE = 4096  # pixels of one image; a row is read whole
MAX_CHUNK = 1 << 28  # bytes unpacked to read one row
_VALUES = ("ra", "dec", "redshift", "pxscale")
_DAMAGE = (OSError, ValueError, TypeError, KeyError, RuntimeError, MemoryError, OverflowError)


class Galaxy10:
    """The rows of one file, read one at a time; the handle is opened anew in each process that reads.

    labels: class number of each row, (N,) int. InputError: not HDF5, damaged, another layout, or images
    too large.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        check_regular_file(self.path)
        self._handle: h5py.File | None = None
        self._owner = 0
        try:
            file = self._file()
            self.shape = self._checked_shape(file)
            self.labels = np.asarray(file["ans"][:], dtype=np.int64)
            self.class_names = _class_names(file, self.shape, highest=int(self.labels.max()))
            self._columns = [name for name in _VALUES if _is_column(file.get(name), self.shape[0])]
        except _DAMAGE as error:
            raise self._damaged(error) from error
        if self.labels.min() < 0 or self.labels.max() >= len(self.class_names):
            raise self._wrong(
                f"`ans` goes from {self.labels.min()} to {self.labels.max()}",
                f"there are {len(self.class_names)} class names",
            )

    def __len__(self) -> int:
        return self.shape[0]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}

    def read(self, row: int) -> Cutout:
        """Row `row` as a cut-out with id `<file>#<row>` and the ra, dec, redshift, pxscale there are."""
        try:
            file = self._file()
            pixels = np.asarray(file["images"][row], dtype=np.uint8)
            values: dict[str, float | str] = {name: float(file[name][row]) for name in self._columns}
        except _DAMAGE as error:
            raise self._damaged(error, row) from error
        return Cutout(id=f"{self.path.name}#{row}", pixels=pixels, values=values)

    def _file(self) -> h5py.File:
        # A handle that a forked worker inherits shares its file position with the parent.
        if self._handle is None or self._owner != os.getpid():
            self._handle, self._owner = h5py.File(self.path, "r"), os.getpid()
        return self._handle

    def _checked_shape(self, file: h5py.File) -> tuple[int, ...]:
        """Shape of `images`, from the declarations alone."""
        for name in ("images", "ans"):
            if not isinstance(file.get(name), h5py.Dataset):
                raise self._wrong(f"no dataset `{name}`", f"it has {', '.join(file) or 'nothing'}")
        images, answers = file["images"], file["ans"]
        shape = tuple(images.shape)
        if len(shape) != 4 or shape[3] != 3 or images.dtype != np.uint8 or 0 in shape:
            raise self._wrong(f"`images` is {images.dtype} {shape}", "it should be uint8 (N, H, W, 3)")
        if max(shape[1:3]) > MAX_SIDE:
            raise self._wrong(
                f"each image is declared {shape[2]:,} x {shape[1]:,} pixels",
                f"at most {MAX_SIDE} x {MAX_SIDE} are read",
            )
        if images.chunks is not None and math.prod(images.chunks) > MAX_CHUNK:
            raise self._wrong(f"`images` is stored in chunks of {images.chunks}", "store one image per chunk")
        if answers.shape != shape[:1] or answers.dtype.kind not in "iu":
            raise self._wrong(
                f"`ans` is {answers.dtype} {answers.shape} for {shape[0]} images",
                "it should be one class number per image",
            )
        return shape

    def _wrong(self, what: str, hint: str) -> InputError:
        return InputError(what, where=self.path, hint=hint)

    def _damaged(self, error: BaseException, row: int | None = None) -> InputError:
        what = "cannot be read as HDF5" if row is None else f"row {row} cannot be read"
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        return InputError(f"{what} ({reason})", where=self.path, hint="the file may be truncated: download it again")


def _is_column(item: object, rows: int) -> bool:
    return isinstance(item, h5py.Dataset) and item.shape == (rows,) and item.dtype.kind in "fiu"


def _class_names(file: h5py.File, shape: tuple[int, ...], highest: int) -> tuple[str, ...]:
    own = file.attrs.get("class_names", file.get("class_names"))
    if own is not None:
        values = own[:] if isinstance(own, h5py.Dataset) else np.atleast_1d(own)
        return tuple(v.decode() if isinstance(v, bytes) else str(v) for v in values)
    if highest < 10:
        return SDSS_CLASSES if shape[1] == _SDSS_SIDE else DECALS_CLASSES
    return tuple(f"class {k}" for k in range(highest + 1))
