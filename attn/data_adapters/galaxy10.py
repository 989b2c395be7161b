"""Galaxy10 as published: one HDF5 file with `images` (N, H, W, 3) uint8 and `ans` (N,) class numbers.

Galaxy10 DECaLS has 256 px images with `ra`, `dec`, `redshift`, `pxscale`; Galaxy10 SDSS has 69 px and
only the first two (Leung and Bovy, astroNN; class names from its documentation). A file of that layout
with the user's own classes names them in a dataset or attribute `class_names`.
"""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from attn.core.errors import InputError
from attn.data_adapters.pictures import Cutout, check_regular_file

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
            self.shape, self.labels, self.class_names, self._columns = self._survey(self._file())
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def __len__(self) -> int:
        return self.shape[0]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}

    def read(self, row: int) -> Cutout:
        """Row `row` as a cut-out with id `<file>#<row>` and the values the file has (ra, dec, redshift, pxscale)."""
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

    def _survey(
        self, file: h5py.File
    ) -> tuple[tuple[int, ...], np.ndarray, tuple[str, ...], tuple[str, ...]]:
        there = ", ".join(file) or "nothing"
        for name in ("images", "ans"):
            if not isinstance(file.get(name), h5py.Dataset):
                raise InputError(
                    f"no dataset `{name}`, it has {there}",
                    where=self.path,
                    hint="Galaxy10 files have `images` and `ans`",
                )
        images, answers = file["images"], file["ans"]
        shape = tuple(images.shape)
        if len(shape) != 4 or shape[3] != 3 or images.dtype != np.uint8 or 0 in shape:
            raise InputError(
                f"`images` is {images.dtype} {shape}", where=self.path, hint="it should be uint8 (N, H, W, 3)"
            )
        if max(shape[1:3]) > MAX_SIDE:
            raise InputError(
                f"each image is declared {shape[2]:,} x {shape[1]:,} pixels",
                where=self.path,
                hint=f"at most {MAX_SIDE} x {MAX_SIDE} are read",
            )
        if images.chunks is not None and np.prod(images.chunks, dtype=float) > MAX_CHUNK:
            raise InputError(
                f"`images` is stored in chunks of {images.chunks}", where=self.path, hint="rechunk by row"
            )
        if answers.shape != shape[:1] or answers.dtype.kind not in "iu":
            raise InputError(
                f"`ans` is {answers.dtype} {answers.shape} for {shape[0]} images",
                where=self.path,
                hint="it should be one class number per image",
            )
        labels = np.asarray(answers[:], dtype=np.int64)
        names = _class_names(file, shape, int(labels.max()))
        if labels.min() < 0 or labels.max() >= len(names):
            raise InputError(
                f"`ans` goes from {labels.min()} to {labels.max()}, but there are {len(names)} class names",
                where=self.path,
            )
        columns = tuple(
            name
            for name in _VALUES
            if isinstance(file.get(name), h5py.Dataset)
            and file[name].shape == shape[:1]
            and file[name].dtype.kind in "fiu"
        )
        return shape, labels, names, columns

    def _damaged(self, error: BaseException, row: int | None = None) -> InputError:
        what = "cannot be read as HDF5" if row is None else f"row {row} cannot be read"
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        return InputError(
            f"{what} ({reason})", where=self.path, hint="the file may be truncated: download it again"
        )


def _class_names(file: h5py.File, shape: tuple[int, ...], highest: int) -> tuple[str, ...]:
    own = file.attrs.get("class_names", file.get("class_names"))
    if own is not None:
        values = own[:] if isinstance(own, h5py.Dataset) else np.atleast_1d(own)
        return tuple(v.decode() if isinstance(v, bytes) else str(v) for v in values)
    if highest < 10:
        return SDSS_CLASSES if shape[1] == _SDSS_SIDE else DECALS_CLASSES
    return tuple(f"class {k}" for k in range(highest + 1))
