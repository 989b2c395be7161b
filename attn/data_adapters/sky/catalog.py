"""Catalogues of sources: which objects to cut from a survey image, and where they are in it.

Columns are found whatever their capitals, by the names catalogues use, or by the names that the caller gives:

- `id` (or name, objid, object_id, source_id, number, ...): else rows are numbered from 1;
- `ra` and `dec`, ICRS (or ra_deg, raj2000, alpha_j2000, target_ra, radeg and their counterparts), in degrees, in the
  unit that the table states, or as sexagesimal text in hours and degrees;
- `x` and `y` in pixels, 0 at the middle of the first pixel, x along the rows (or xcentroid, x_peak;
  x_image of SExtractor counts from 1 and is taken so). Used where the row has no ra, dec or the image no
  WCS;
- `size`, the side of the cut-out in pixels (or size_pix, side), or `size_arcsec`: optional.

Of several columns that may be meant, the first that holds positions is taken. Without one, a pair of columns whose
names differ by `ra` and `dec` (plug_ra and plug_dec) is, if there is just one, and no x and y. Motions and errors are
no positions.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from attn.core.errors import InputError
from attn.data_adapters.sky.catalog_tables import TableColumn, read_columns
from attn.data_adapters.sky.listed import carried
from attn.data_adapters.tables.small import LISTED

Column = NDArray[np.float64]

_ALIASES = {
    "id": "id name objid object_id objectid source_id number target targetid obj_id sourceid galaxy designation "
    "source label recno",
    "ra": "ra ra_deg radeg raj2000 _raj2000 ra_j2000 ra2000 ra_2000 _ra ra_icrs alpha_j2000 alphawin_j2000 "
    "alphapeak_j2000 alpha_sky right_ascension target_ra targ_ra raobj ramean meanra ra_mean coord_ra "
    "ra_1 s_ra alpha x_world",
    "dec": "dec decl dec_deg decdeg dedeg dej2000 _dej2000 decj2000 dec_j2000 dec2000 dec_2000 _de _dec de_icrs "
    "dec_icrs delta_j2000 deltawin_j2000 deltapeak_j2000 delta_sky declination target_dec targ_dec decobj "
    "decmean meandec dec_mean coord_dec dec_1 s_dec delta de y_world",
    "x": "x x_pix x_pixel xpix xcentroid x_centroid xcen x_peak x_0 x_fit xpos x_image xwin_image xpeak_image",
    "y": "y y_pix y_pixel ypix ycentroid y_centroid ycen y_peak y_0 y_fit ypos y_image ywin_image ypeak_image",
    "size": "size size_pix size_px side",
    "size_arcsec": "size_arcsec",
}
RESULT = ("id", "label", "uncertainty", "flags", "error", "model")
"""Columns of every table of results."""
POSITIONS = ("ra", "dec", "x", "y")
NAMES = {meaning: tuple(aliases.split()) for meaning, aliases in _ALIASES.items()}
_FROM_ONE = ("x_image", "xwin_image", "xpeak_image", "y_image", "ywin_image", "ypeak_image")
_NO_POSITION = re.compile(r"pm|err|sig|rms|unc|std|^e_")  # pmra, ra_err, e_raj2000
_SEXAGESIMAL = re.compile(r"[-+]?\d{1,3}[hd:\s]\s*\d{1,2}(?:[m':\s]\s*\d{1,2}(?:\.\d*)?\s*[s\"]?)?m?'?")
_DEGREES = {"deg": 1.0, "degree": 1.0, "degrees": 1.0, "d": 1.0, "rad": 180 / np.pi, "radian": 180 / np.pi,
            "hour": 15.0, "hourangle": 15.0, "h": 15.0, "hr": 15.0, "arcsec": 1 / 3600, "arcmin": 1 / 60}  # fmt: skip


@dataclass(frozen=True)
class Catalog:
    """Columns of one length; NaN where a cell is empty or not a number. x, y count from 0."""

    ids: Sequence[str]
    ra: Column
    dec: Column
    x: Column
    y: Column
    size: Column  # pixels
    size_arcsec: Column
    extra: Mapping[str, Any] = field(default_factory=dict)  # what else is known of the sources

    def __len__(self) -> int:
        return len(self.ids)


def read_catalog(path: str | Path, names: Mapping[str, str] | None = None, own: Collection[str] = RESULT) -> Catalog:
    """A table of sources in any of the formats of `read_columns`.

    names: the table's names for `ra`, `dec`, `x`, `y`, `id`, for those that are to be chosen. The columns that are not
    taken for one of these are the catalogue's `extra`; one with one of the names `own` is called `given_...`.
    InputError: unreadable, without rows, without ra, dec or x, y, or without a chosen column (it lists the columns
    there are).
    """
    path = Path(path)
    table = read_columns(path)
    count = max((len(column.cells) for column in table.values()), default=0)
    if not count:
        raise InputError("the catalogue has no rows", where=path)
    found = {meaning: _columns(table, meaning, names or {}, path) for meaning in NAMES}
    if not names or not {"x", "y"} & names.keys():
        found["x"], found["y"] = _same_origin(found["x"], found["y"])
    if not any(found[meaning] for meaning in POSITIONS):
        found["ra"], found["dec"] = _pair(table)
    on_sky, in_pixels = (bool(found[one] and found[other]) for one, other in (("ra", "dec"), ("x", "y")))
    if not on_sky and not in_pixels:
        raise InputError(
            f"no columns ra and dec, or x and y; it has {_listed(table)}",
            where=path,
            hint="name the columns with --ra and --dec, or --x and --y",
        )
    numbers: dict[str, Any] = {}
    taken = [*found["id"]][:1]
    for meaning in NAMES.keys() - {"id"}:
        use = on_sky if meaning in ("ra", "dec") else in_pixels if meaning in ("x", "y") else True
        numbers[meaning], name = _numbers(found[meaning] if use else {}, meaning, count)
        taken += [name] if meaning in POSITIONS else []
    if on_sky and not in_pixels and not np.isfinite(numbers["ra"] + numbers["dec"]).any():
        raise _no_angle({**found["ra"], **found["dec"]}, path)
    others = (pl.Series(name, column.cells) for name, column in table.items() if name not in taken)
    return Catalog(_ids(found["id"], count), **numbers, extra=carried(others, {*own, *POSITIONS}))


def _same_origin(
    x: dict[str, TableColumn], y: dict[str, TableColumn]
) -> tuple[dict[str, TableColumn], dict[str, TableColumn]]:
    """Columns that both count from 0, else columns that both count from 1."""
    for from_one in (False, True):
        some_x, some_y = (
            {name: column for name, column in columns.items() if (_plain_name(name) in _FROM_ONE) == from_one}
            for columns in (x, y)
        )
        if some_x and some_y:
            return some_x, some_y
    return {}, {}


def _pair(table: Mapping[str, TableColumn]) -> tuple[dict[str, TableColumn], dict[str, TableColumn]]:
    """The only two columns of positions whose names differ by `ra` and `dec` alone."""
    plain = {_plain_name(name): name for name in table if not _NO_POSITION.search(_plain_name(name))}
    pairs = {
        (plain[name], plain[other])
        for name in plain
        for part in re.finditer("ra", name)
        for word in ("dec", "de")
        if (other := name[: part.start()] + word + name[part.end() :]) in plain
    }
    if len(pairs) != 1:
        return {}, {}
    ra, dec = pairs.pop()
    return {ra: table[ra]}, {dec: table[dec]}


def _columns(
    table: Mapping[str, TableColumn], meaning: str, names: Mapping[str, str], path: Path
) -> dict[str, TableColumn]:
    """The columns that may be meant by `ra` and so on, the best first."""
    if chosen := names.get(meaning):
        if chosen not in table:
            raise InputError(
                f"no column {chosen!r}; it has {_listed(table)}", where=path, hint=f"choose one with --{meaning}"
            )
        return {chosen: table[chosen]}
    plain = {_plain_name(name): name for name in reversed(list(table))}
    return {plain[alias]: table[plain[alias]] for alias in NAMES[meaning] if alias in plain}


def _listed(table: Mapping[str, TableColumn]) -> str:
    names = " ".join(", ".join(table).split())
    return names if len(names) <= LISTED else f"{names[:LISTED]}..."


def _plain_name(name: str) -> str:
    """`RA [deg]` is `ra`."""
    return re.sub(r"\s+", "_", re.sub(r"\s*[\[(][^\])]*[\])]\s*$", "", name).strip().lower())


def _ids(columns: Mapping[str, TableColumn], count: int) -> list[str]:
    """The names of the sources; a row without a name has its number, from 1."""
    cells = next((column.cells.astype(str).tolist() for column in columns.values()), [""] * count)
    return [cell.strip() or str(row) for row, cell in enumerate(cells, 1)]


def _numbers(columns: Mapping[str, TableColumn], meaning: str, count: int) -> tuple[Column, str]:
    """The first of the columns that has numbers (N,), in degrees or pixels from 0, and its name; NaN without one."""
    angle = meaning in ("ra", "dec")
    for name, column in columns.items():
        values = _as_numbers(column.cells)
        unit = _DEGREES.get(column.unit.strip().strip("\"'").lower(), 1.0) if angle else 1.0
        if np.isfinite(values).any():
            values = values * unit - (_plain_name(name) in _FROM_ONE)
            if angle and column.cells.dtype.kind == "U":
                values = np.where(np.isfinite(values), values, _sexagesimal(column.cells, hours=meaning == "ra"))
            return values, name
    for name, column in columns.items():
        if angle and column.cells.dtype.kind == "U":
            values = _sexagesimal(column.cells, hours=meaning == "ra")
            if np.isfinite(values).any():
                return values, name
    return np.full(count, np.nan), ""


def _no_angle(columns: Mapping[str, TableColumn], path: Path) -> InputError:
    """Why a table of ra and dec has no position: the first text that is no angle."""
    for name, column in columns.items():
        for cell in column.cells.astype(str).tolist():
            if cell.strip() and not np.isfinite(_as_numbers(np.array([cell]))).any():
                what = f"{cell.strip()[:40]!r} in its column {name!r} is no angle"
                hint = "write degrees, or hours and degrees as 10:00:00.5 +01:59:54.9"
                return InputError(what, where=path, hint=hint)
    return InputError("no row has both ra and dec", where=path, hint="check the columns with the positions")


def _as_numbers(cells: NDArray[Any]) -> Column:
    if cells.dtype.kind != "U":
        return cells.astype(np.float64)
    values = np.full(cells.shape, np.nan)
    for k, cell in enumerate(cells.tolist()):
        try:
            values[k] = float(cell)
        except ValueError:
            continue
    return values


def _sexagesimal(cells: NDArray[Any], *, hours: bool) -> Column:
    """Degrees of `10:00:00.5`, `10 00 00.5` or `10h00m00.5s`; NaN for other text."""
    from astropy.coordinates import Angle

    values = np.full(cells.shape, np.nan)
    for k, cell in enumerate(cells.tolist()):
        if _SEXAGESIMAL.fullmatch(text := cell.strip()):
            with suppress(ValueError):  # 25 hours, 61 minutes
                values[k] = Angle(text, unit="hourangle" if hours and "d" not in text else "deg").deg
    return values
