"""One cut-out from what Python programs of astronomers hold: arrays, masked ones, quantities, CCDData, NDData, HDUs."""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from attn.core.errors import InputError, UsageError
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.sky.holes import drop_fills
from attn.data_adapters.sky.listed import ListedImage
from attn.data_adapters.sky.stretch import Stretch, render

TAKEN = "give a path, an array (H, W) or (H, W, 3), a masked array, a Quantity, CCDData, NDData, an HDU or an HDUList"
_PATHS = ("path", "file", "filename", "image")


@dataclass(frozen=True)
class Numbered:
    """An object without a name of its own, and what its result row calls it."""

    value: Any
    id: str


def each_input(xs: Any) -> Iterator[Any]:
    """The inputs of a stream. A path, an image or an HDUList is one input, a table has one in each row of `path`.

    Objects without a name are numbered: `array 0`, `array 1`, ...
    """
    if isinstance(xs, str | Path | Cutout) or _is_image(xs):
        yield xs
        return
    for number, x in enumerate(_rows_of(xs)):
        yield (
            x
            if isinstance(x, str | Path | tuple | Cutout | InputError | ListedImage)
            else Numbered(x, f"array {number}")
        )


def _rows_of(xs: Any) -> Iterable[Any]:
    names = getattr(xs, "colnames", None)  # of an astropy table
    if names is None:
        return cast(Iterable[Any], xs)
    column = next((name for name in _PATHS if name in names), None)
    if column is None:
        raise UsageError(
            f"the table has no column {' or '.join(_PATHS)}; it has {', '.join(names)}",
            hint="pass its paths, or its sources with a survey image as catalog_cutouts(image, table, stretch)",
        )
    return map(str, xs[column])


def _is_image(x: Any) -> bool:
    """Whether `x` is one image of the kinds that `read_object` takes."""
    if isinstance(x, np.ndarray):
        return x.ndim == 2 or (x.ndim == 3 and x.shape[2] in (1, 3))
    return _is_hdus(x) or hasattr(x, "to_hdu") or (hasattr(x, "mask") and hasattr(x, "data") and hasattr(x, "wcs"))


def _is_hdus(x: Any) -> bool:
    return hasattr(x, "fileinfo") and (hasattr(x, "header") or hasattr(x, "writeto"))


def read_object(x: Any, stretch: Stretch, hdu: int | str | None, id: str) -> Cutout:
    """The display pixels of an object. InputError: it is of another kind, or there is nothing to see in it.

    HDUs and CCDData are read as their FITS file would be, with masks and bands. uint8 arrays are display pixels from
    the top; other arrays are counts with row 0 at the bottom, as FITS has it. What is masked is missing.
    """
    if _is_hdus(x) or hasattr(x, "to_hdu"):
        return _from_hdus(x, stretch, hdu, id)
    from attn.data_adapters.sky.fits import clean_pixels  # astropy, which pictures do without

    mask = getattr(x, "mask", None)
    values = np.ma.getdata(getattr(x, "data", x)) if not isinstance(x, np.ndarray) else np.ma.getdata(x)
    values = np.asarray(getattr(values, "value", values))
    if values.dtype.kind not in "buif":
        raise InputError(f"an object of type {type(x).__name__} is no image", where=id, hint=TAKEN)
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (1, 3)) or 0 in values.shape:
        raise InputError(f"an array of shape {values.shape} is not an image", where=id, hint="give (H, W) or (H, W, 3)")
    bad = np.broadcast_to(np.asarray(False if mask is None else mask, bool), values.shape)
    x_hwc, bad_hwc = (part[:, :, None] if values.ndim == 2 else part for part in (values, bad))
    if x_hwc.dtype == np.uint8:
        shown = np.where(bad_hwc, np.uint8(0), x_hwc)
        return Cutout(id=id, pixels=np.broadcast_to(shown, (*shown.shape[:2], 3)).copy())
    exact = np.float32 if x_hwc.dtype in (np.float16, np.float32) else np.float64
    counts, fills = drop_fills(np.where(bad_hwc, exact(np.nan), x_hwc.astype(exact)))
    data, flags = clean_pixels(counts, id)
    pixels, seen = render(data, stretch)
    return Cutout(id=id, pixels=pixels, flags=(*fills, *flags, *seen))


def _from_hdus(x: Any, stretch: Stretch, hdu: int | str | None, id: str) -> Cutout:
    from astropy.io import fits

    from attn.data_adapters.sky.fits import read_fits

    hdus = x.to_hdu() if hasattr(x, "to_hdu") else x
    if not isinstance(hdus, list):
        hdus = fits.HDUList([hdus] if isinstance(hdus, fits.PrimaryHDU) else [fits.PrimaryHDU(), hdus])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "object.fits"
        fits.HDUList([unit.copy() for unit in hdus]).writeto(path, output_verify="silentfix+ignore")
        try:
            image = read_fits(path, hdu=hdu)
        except InputError as error:
            raise InputError(error.what, where=id, hint=error.hint) from error
    pixels, flags = render(image.data, stretch)
    return Cutout(id=id, pixels=pixels, flags=(*image.flags, *flags))
