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
from attn.data_adapters.boundary import boundary
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.images.pictures import check_regular_file
from attn.data_adapters.worker import call

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
MAX_SIDE = 4096  # pixels of one image; a row is read whole
MAX_CHUNK = 1 << 28  # bytes unpacked to read one row
MAX_CLASSES = 10_000
_VALUES = ("ra", "dec", "redshift", "pxscale")
_HINT = "the file may be truncated: download it again"


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
        # HDF5 may hang on a damaged file or take gigabytes: the worker process goes through its index first.
        found = call(f"{__name__}:examine", self.path, "cannot be read as HDF5", path=str(self.path))
        self.shape = tuple(int(n) for n in found["shape"])
        self.labels = found["labels"]
        self.class_names = tuple(str(name) for name in found["class_names"])
        self._columns = [str(name) for name in found["columns"]]

    def __len__(self) -> int:
        return self.shape[0]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}

    def read(self, row: int) -> Cutout:
        """Row `row` as a cut-out with id `<file>#<row>` and the ra, dec, redshift, pxscale there are."""
        with boundary(self.path, f"row {row} cannot be read", _HINT):
            file = self._file()
            pixels = np.asarray(file["images"][row], dtype=np.uint8)
            values: dict[str, float | str] = {name: float(file[name][row]) for name in self._columns}
        return Cutout(id=f"{self.path.name}#{row}", pixels=pixels, values=values)

    def _file(self) -> h5py.File:
        # A handle that a forked worker inherits shares its file position with the parent.
        if self._handle is None or self._owner != os.getpid():
            self._handle, self._owner = h5py.File(self.path, "r"), os.getpid()
        return self._handle


def examine(path: np.ndarray) -> dict[str, object]:
    """Shape of `images`, labels, class names and columns of values; `attn.data_adapters.worker` calls this.

    InputError: another layout, images too large, or labels that are not the classes.
    """
    size = os.path.getsize(str(path))  # noqa: PTH202, a name that is not UTF-8 stays as it is
    with h5py.File(str(path), "r") as file:
        shape = _checked_shape(file, size)
        if (images := file["images"]).chunks is not None:
            images.id.chunk_iter(lambda chunk: None)  # the index of the chunks has an end
        labels = np.asarray(file["ans"][:], dtype=np.int64)
        names = _class_names(file, shape, highest=int(labels.max()))
        if labels.min() < 0 or labels.max() >= len(names):
            raise InputError(
                f"`ans` goes from {labels.min()} to {labels.max()}", hint=f"there are {len(names)} class names"
            )
        columns = [name for name in _VALUES if _is_column(file.get(name), shape[0])]
        return {
            "shape": np.array(shape, np.int64),
            "labels": labels,
            "class_names": np.array(names, dtype=np.str_),
            "columns": np.array(columns, dtype=np.str_),
        }


def _checked_shape(file: h5py.File, size: int) -> tuple[int, ...]:
    """Shape of `images`, from the declarations alone; `size` of the file in bytes."""
    for name in ("images", "ans"):
        if not isinstance(file.get(name), h5py.Dataset):
            raise InputError(f"no dataset `{name}`", hint=f"it has {', '.join(list(file)[:12]) or 'nothing'}")
    images, answers = file["images"], file["ans"]
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[3] != 3 or images.dtype != np.uint8 or 0 in shape:
        raise InputError(f"`images` is {images.dtype} {shape}", hint="it should be uint8 (N, H, W, 3)")
    if max(shape[1:3]) > MAX_SIDE:
        raise InputError(
            f"each image is declared {shape[2]:,} x {shape[1]:,} pixels",
            hint=f"at most {MAX_SIDE} x {MAX_SIDE} are read",
        )
    if images.chunks is not None and math.prod(images.chunks) > MAX_CHUNK:
        raise InputError(f"`images` is stored in chunks of {images.chunks}", hint="store one image per chunk")
    if shape[0] > size:
        raise InputError(f"{shape[0]:,} images are declared in {size:,} bytes", hint=_HINT)
    if answers.shape != shape[:1] or answers.dtype.kind not in "iu":
        raise InputError(
            f"`ans` is {answers.dtype} {answers.shape} for {shape[0]} images",
            hint="it should be one class number per image",
        )
    return shape


def _is_column(item: object, rows: int) -> bool:
    return isinstance(item, h5py.Dataset) and item.shape == (rows,) and item.dtype.kind in "fiu"


def _class_names(file: h5py.File, shape: tuple[int, ...], highest: int) -> tuple[str, ...]:
    own = file.attrs.get("class_names", file.get("class_names"))
    if own is not None:
        if getattr(own, "size", 1) > MAX_CLASSES:
            raise InputError(f"has {own.size:,} class names", hint=f"at most {MAX_CLASSES:,} are read")
        values = own[:] if isinstance(own, h5py.Dataset) else np.atleast_1d(own)
        return tuple(v.decode() if isinstance(v, bytes) else str(v) for v in values)
    if highest < 10:
        return SDSS_CLASSES if shape[1] == _SDSS_SIDE else DECALS_CLASSES
    if highest >= MAX_CLASSES:
        raise InputError(f"`ans` goes up to {highest:,}", hint=f"at most {MAX_CLASSES:,} classes are read")
    return tuple(f"class {k}" for k in range(highest + 1))
