"""A survey image of one FITS file per band, read piece by piece as a file with all of them would be.

Shapes: H height and W width of a section, B bands.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attn.core.errors import InputError
from attn.data_adapters.sky.band_files import Grid, file_order, shift_between
from attn.data_adapters.sky.source import SkySource, open_sky
from attn.data_adapters.sky.wcs import SkyPositions


@dataclass(frozen=True)
class BandSources:
    """Open images of one band each, reddest first, on the pixels of the file that was named first.

    `shifts` are the whole pixels (x, y) from a place in the first file to the same place in each.
    """

    first: SkySource
    sources: tuple[SkySource, ...]
    shifts: tuple[tuple[int, int], ...]
    own_flags: tuple[str, ...]

    @property
    def where(self) -> str:
        """File and HDU, for messages."""
        return self.first.where

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.first.shape

    @property
    def wcs(self) -> SkyPositions | None:
        """Positions on the sky, of the file that was named first."""
        return self.first.wcs

    @property
    def flags(self) -> tuple[str, ...]:
        """What is odd about the files, so far."""
        return tuple(dict.fromkeys([*self.own_flags, *(flag for source in self.sources for flag in source.flags)]))

    def without_positions(self) -> InputError:
        """Why ra and dec have no place in this image."""
        return self.first.without_positions()

    def section(self, rows: slice, cols: slice) -> tuple[NDArray[Any], list[str]]:
        """Pixels (H, W, B) of one part, and flags, as those of `SkySource`; NaN where a shifted band has none."""
        planes: list[NDArray[Any]] = []
        flags: dict[str, None] = {}
        for source, (dx, dy) in zip(self.sources, self.shifts, strict=True):
            plane, hidden = _shifted(source, rows, cols, dx, dy)
            planes.append(plane)
            flags |= dict.fromkeys(hidden)
        return np.concatenate(planes, axis=2), list(flags)


@contextmanager
def open_survey(
    image: str | Path | Sequence[str | Path], hdu: int | str | None = None
) -> Iterator[SkySource | BandSources]:
    """Open a survey image: one file, or a sequence of files with a band each. No pixel is read.

    InputError: as `open_sky` and, of several files, as `read_bands`.
    """
    if isinstance(image, str | Path):
        with open_sky(image, hdu) as source:
            yield source
        return
    with ExitStack() as opened:
        sources = [opened.enter_context(open_sky(path, hdu)) for path in image]
        for source in sources:
            if len(source.planes) != 1:
                raise InputError(
                    f"has {len(source.planes)} bands", where=source.file.path, hint="give a single band per file"
                )
        grids = [Grid(source.file.path, source.shape, source.wcs) for source in sources]
        shifts = [shift_between(grids[0], grid) for grid in grids]
        order, _, flags = file_order(grids, [source.header for source in sources])
        moved = [f"shifted:{-dx},{-dy}" for dx, dy in shifts if (dx, dy) != (0, 0)]
        yield BandSources(
            first=sources[0],
            sources=tuple(sources[k] for k in order),
            shifts=tuple(shifts[k] for k in order),
            own_flags=(*flags, *moved),
        )


def _shifted(source: SkySource, rows: slice, cols: slice, dx: int, dy: int) -> tuple[NDArray[Any], list[str]]:
    """The section (H, W, 1) of `source` that lies (dx, dy) pixels further, NaN where it has none."""
    height, width = source.shape
    top, bottom = rows.start + dy, rows.stop + dy
    left, right = cols.start + dx, cols.stop + dx
    inner_rows, inner_cols = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
    if (inner_rows, inner_cols) == (slice(top, bottom), slice(left, right)):
        return source.section(inner_rows, inner_cols)
    plane = np.full((bottom - top, right - left, 1), np.nan, np.float32)
    if inner_rows.start >= inner_rows.stop or inner_cols.start >= inner_cols.stop:
        return plane, []
    part, flags = source.section(inner_rows, inner_cols)
    plane = plane.astype(np.result_type(part, np.float32))
    plane[inner_rows.start - top : inner_rows.stop - top, inner_cols.start - left : inner_cols.stop - left] = part
    return plane, flags
