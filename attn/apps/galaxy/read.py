"""One cut-out from whatever a caller has: a FITS file, one file per band, a picture, an array."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from attn.core.errors import InputError, UsageError
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.images.pictures import PICTURE_SUFFIXES
from attn.data_adapters.paths import expand_inputs
from attn.data_adapters.sky.band_files import read_bands
from attn.data_adapters.sky.catalog import read_catalog
from attn.data_adapters.sky.cutouts import catalog_cutouts
from attn.data_adapters.sky.detect import detected_cutouts
from attn.data_adapters.sky.fits import FITS_SUFFIXES, clean_pixels
from attn.data_adapters.sky.labelled import read_image
from attn.data_adapters.sky.looks import looks
from attn.data_adapters.sky.stretch import Stretch, render

SUFFIXES = FITS_SUFFIXES + PICTURE_SUFFIXES
"""The endings a folder is searched for."""

Source = str | Path | tuple[str | Path, ...] | np.ndarray | Cutout | InputError
"""What a predictor takes; a catalogue row that gave no cut-out is an InputError."""


def read_cutout(x: Source, stretch: Stretch, hdu: int | str | None = None) -> Cutout:
    """The display pixels (H, W, 3) of one galaxy, with what was done to get them as flags.

    Raises InputError when it cannot be read, or is a survey image and not a cut-out.
    """
    cutout = _read(x, stretch, hdu)
    return replace(cutout, flags=tuple(dict.fromkeys([*cutout.flags, *looks(cutout.pixels)])))


def _read(x: Source, stretch: Stretch, hdu: int | str | None) -> Cutout:
    if isinstance(x, Cutout):
        return x
    if isinstance(x, InputError):
        raise x
    if isinstance(x, np.ndarray):
        return _from_array(x, stretch)
    if isinstance(x, tuple):
        image = read_bands([Path(path) for path in x])
        pixels, flags = render(image.data, stretch)
        return Cutout(id=source_id(x), pixels=pixels, flags=(*image.flags, *flags))
    return read_image(x, stretch, hdu=hdu)


def list_sources(
    inputs: Sequence[str],
    stretch: Stretch,
    *,
    hdu: int | str | None = None,
    bands: bool = False,
    catalog: Path | None = None,
    columns: Mapping[str, str] | None = None,
    detect: bool = False,
) -> tuple[Iterable[Source], int | None]:
    """What the predictor is to read, and how many there are where that is known.

    `bands`: the inputs are one galaxy, a file per band. `catalog`, `detect`: the one input is a survey image, and
    its sources are those of the table, or those found in it; `columns` are the table's names for ra, dec, x, y and
    id. Raises UsageError for options that exclude each other.
    """
    if sum((bands, catalog is not None, detect)) > 1:
        raise UsageError("--bands, --catalog and --detect exclude each other", hint="use one of them")
    if bands:
        return [tuple(inputs)], 1
    if catalog is None and not detect:
        paths = list(expand_inputs(inputs, SUFFIXES))
        return paths, len(paths)
    if len(inputs) != 1:
        raise UsageError(f"a catalogue or a detection needs one survey image, not {len(inputs)} inputs")
    if catalog is None:
        return detected_cutouts(inputs[0], stretch, hdu=hdu), None
    rows = read_catalog(catalog, columns)
    return catalog_cutouts(inputs[0], rows, stretch, hdu=hdu), len(rows)


def source_id(x: Source) -> str:
    """What a result row calls this input."""
    if isinstance(x, Cutout):
        return x.id
    if isinstance(x, InputError):
        return x.where or ""
    if isinstance(x, np.ndarray):
        return "array"
    return "+".join(map(str, x)) if isinstance(x, tuple) else str(x)


def _from_array(x: np.ndarray, stretch: Stretch) -> Cutout:
    if x.ndim not in (2, 3) or (x.ndim == 3 and x.shape[2] not in (1, 3)) or 0 in x.shape:
        raise InputError(f"an array of shape {x.shape} is not an image", where="array", hint="give (H, W) or (H, W, 3)")
    x_hwc = x[:, :, None] if x.ndim == 2 else x
    if x_hwc.dtype == np.uint8:
        return Cutout(id="array", pixels=np.broadcast_to(x_hwc, (*x_hwc.shape[:2], 3)).copy())
    data, flags = clean_pixels(x_hwc.astype(np.float32), "array")
    pixels, seen = render(data, stretch)
    return Cutout(id="array", pixels=pixels, flags=(*flags, *seen))
