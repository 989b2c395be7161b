"""Cut-outs from a survey image: one per catalogue row or per detected source, read as sections.

Only the pixels of one cut-out are in memory at a time, whatever the size of the image.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from attn.core.errors import InputError
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.sky.background import percent
from attn.data_adapters.sky.band_sources import BandSources, open_survey
from attn.data_adapters.sky.catalog import RESULT, Catalog, read_catalog
from attn.data_adapters.sky.fits import CUTOUT_MAX_SIDE, clean_pixels
from attn.data_adapters.sky.layout import MIN_SIDE
from attn.data_adapters.sky.source import SkySource
from attn.data_adapters.sky.stretch import Stretch, render

DEFAULT_SIDE = 64  # pixels, where the catalogue has no size
MOST_MISSING = 0.5  # of a cut-out's pixels; with more, the source counts as masked


class CutoutError(InputError):
    """Why a row has no cut-out; `where` is the row's id, `values` are what its cut-out would have."""

    def __init__(self, error: InputError, id: str, values: Mapping[str, float | str | None]) -> None:
        super().__init__(error.what, where=id, hint=error.hint)
        self.values = values


def catalog_cutouts(
    image: str | Path | Sequence[str | Path],
    catalog: str | Path | Catalog,
    stretch: Stretch,
    *,
    hdu: int | str | None = None,
    own: Collection[str] = RESULT,
) -> Iterator[Cutout | CutoutError]:
    """A `Cutout` for each row of `catalog`, in order, or the reason why the row has no cut-out.

    `image` is one file, or a sequence of files with a band each. The reason is one of: no position, outside the image,
    masked, no size. The `values` are x, y, what else the catalogue has in `extra` and, when it has them, ra, dec; its
    columns do not keep the names in `own`, which the result has itself.
    Raises InputError when the image or the catalogue cannot be read, or the image has no WCS and the
    catalogue no x, y.
    """
    rows = catalog if isinstance(catalog, Catalog) else read_catalog(catalog, own=own)
    with open_survey(image, hdu) as source:
        yield from cut_rows(source, rows, stretch)


def cut_rows(source: SkySource | BandSources, rows: Catalog, stretch: Stretch) -> Iterator[Cutout | CutoutError]:
    """As `catalog_cutouts`, from an open image."""
    x, y = rows.x, rows.y
    sizes = rows.size
    on_sky = np.isfinite(rows.ra) & np.isfinite(rows.dec)
    if np.isfinite(rows.ra).any() or np.isfinite(rows.size_arcsec).any():
        if source.wcs is not None:
            sky_x, sky_y = source.wcs.to_pixels(rows.ra, rows.dec)
            x, y = np.where(on_sky, sky_x, x), np.where(on_sky, sky_y, y)
            sizes = np.where(np.isfinite(sizes), sizes, rows.size_arcsec / source.wcs.arcsec_per_pixel)
        elif not np.isfinite(x).any():
            raise source.without_positions()
    for k, id_ in enumerate(rows.ids):
        side = sizes[k] if np.isfinite(sizes[k]) else DEFAULT_SIDE
        values: dict[str, float | str | None] = {"x": float(x[k]), "y": float(y[k])}
        if on_sky.any():  # all rows have the same columns
            values = {"ra": float(rows.ra[k]), "dec": float(rows.dec[k]), **values}
        values |= {name: column[k] for name, column in rows.extra.items()}
        try:
            yield cut_out(source, id_, x[k], y[k], side, stretch, values)
        except InputError as error:
            yield CutoutError(error, id_, values)


def cut_out(
    source: SkySource | BandSources,
    id_: str,
    x: float,
    y: float,
    side: float,
    stretch: Stretch,
    values: Mapping[str, float | str | None],
) -> Cutout:
    """The square of `side` pixels around (x, y), counted from 0, as display pixels.

    What lies over the edge is filled as masked pixels are, with the flag `edge:12%`. InputError: no
    position, outside the image, a side below MIN_SIDE or above CUTOUT_MAX_SIDE, more than MOST_MISSING of
    it masked, or constant.
    """
    height, width = source.shape
    if not (np.isfinite(x) and np.isfinite(y)):
        raise InputError("has no position in this image", where=id_, hint="check its ra and dec, or x and y")
    if not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):
        raise InputError(f"lies at x = {x:.1f}, y = {y:.1f}, outside the image of {width} x {height} pixels", where=id_)
    if not MIN_SIDE <= side <= CUTOUT_MAX_SIDE:
        raise InputError(
            f"its size of {side:g} pixels cannot be cut",
            where=id_,
            hint=f"use {MIN_SIDE} to {CUTOUT_MAX_SIDE}",
        )
    n = round(side)
    top, left = round(y) - n // 2, round(x) - n // 2
    rows = slice(max(top, 0), min(top + n, height))
    cols = slice(max(left, 0), min(left + n, width))
    part, hidden = source.section(rows, cols)
    raw = np.full((n, n, part.shape[2]), 0 if part.dtype == np.uint8 else np.nan, part.dtype)
    raw[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left] = part
    missing = 1 - np.isfinite(part).all(axis=2).sum() / n**2
    if missing > MOST_MISSING:
        raise InputError(f"masked: {percent(missing)} of its pixels have no value", where=id_)
    data, flags = clean_pixels(raw, id_)
    over_edge = 1 - part.shape[0] * part.shape[1] / n**2
    if over_edge > 0:
        flags = [flag for flag in flags if not flag.startswith("nan_filled")] + [f"edge:{percent(over_edge)}"]
        if masked := missing - over_edge:
            flags.append(f"nan_filled:{percent(masked)}")
    pixels, faint = render(data, stretch)
    return Cutout(id=id_, pixels=pixels, flags=(*source.flags, *hidden, *flags, *faint), values=values)
