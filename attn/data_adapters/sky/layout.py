"""Where the image is in a FITS file: which HDU, which planes, and the bands they show.

The image is the first usable HDU, or the one asked for. Usable is a 2-D image, or a cube whose band axis
(three planes, or as many as the header names with BAND1, BAND2, ... or FILTER1, FILTER2, ...) is the
first or the last. Axes of length one are dropped; of a Stokes axis only the intensity is read. Error, weight
and mask extensions are passed over.

Several 2-D extensions of one shape are bands of one image only when their own names (EXTNAME, else FILTER
or BAND) are distinct photometric bands, or when they are asked for: `hdu="i+r+g"`. Several SCI extensions
are several exposures: the first is read, with the flag `hdu:1 (SCI) of 4 images`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attn.core.errors import InputError
from attn.data_adapters.sky.band_cards import ABOUT, SINGLE, band_of, card, plane_bands
from attn.data_adapters.sky.band_names import wavelength
from attn.data_adapters.sky.bands import Band, all_known
from attn.data_adapters.sky.file import FitsFile, hdu_label

MIN_SIDE = 8  # pixels; below that there is no shape to see

_OTHERS = (
    "ERR ERROR ERRORS ERRMAP UNC UNCERT UNCERTAINTY SIGMA STD STDDEV NOISE RMS VAR VARIANCE IVAR INVVAR INVVARIANCE "
    "WHT WGT WEIGHT WEIGHTS WEIGHTMAP CONFIDENCE CONF MASK MSK BPM DQ DQA FLAGS FLAG QUALITY CTX CON SAMP TIME EXP "
    "EXPTIME NEXP COVERAGE COV HITS DEPTH GALDEPTH PSFSIZE BKG BACKGROUND SKY PSF SEG SEGM SEGMAP SEGMENTATION CHI2 "
    "WCSDVARR D2IMARR AREA"
)
_NOT_SCIENCE = frozenset(_OTHERS.split())
_MAP_FILES = frozenset(["WHT", "WEIGHT", "WEIGHTS", "WTMAP", "IVAR", "INVVAR", "VARIANCE", "RMS", "UNC", "BPM", "SEGM"])
_ENDINGS = ("PSF", "IVAR", "INVVAR", "WHT", "WEIGHT", "MASK", "ERR", "VARIANCE", "RMS")  # GPSF and GIVAR beside GIMG
_MAP = re.compile(r"(?:MAP|IMAGE|IMG|ARRAY|(?<!EXP)\d+)$")  # RMSMAP, WHT2; EXP1 may be an exposure
_KINDS = ("EXTNAME", "HDUCLAS2", "EXTTYPE", "IMTYPE", "IMAGETYP", "PRODTYPE", "PRODCATG")


@dataclass(frozen=True)
class Plane:
    """One 2-D band inside an HDU: `lead` indexes the axes before (rows, columns), `trail` those after."""

    hdu: Any  # astropy image HDU
    lead: tuple[int, ...] = ()
    trail: tuple[int, ...] = ()


@dataclass(frozen=True)
class Layout:
    """The image found: label of its HDU, shape (rows, columns), planes and their bands in file order."""

    hdu: str
    shape: tuple[int, int]
    planes: tuple[Plane, ...]
    bands: tuple[Band, ...]
    header: Any  # of the first plane, with what it inherits


def find_image(file: FitsFile, hdu: int | str | None) -> Layout:
    """The first usable image, or HDU `hdu`: an index, `SCI`, `SCI,2` (name, EXTVER) or bands `i+r+g`.

    InputError: no usable image (it says what is there instead), a map by the file's name, or no such HDU.
    """
    if hdu is not None:
        words = str(hdu).split("+")
        indices = [find_hdu(file, word.strip()) for word in words]
        if len(indices) == 1:
            return _layout_of(file, indices[0])
        return _from_extensions(file, indices, [_own_band(file.hdus[k]) for k in indices])

    images = [k for k, unit in enumerate(file.hdus) if is_image(unit)]
    if len(images) == 1 and (map_ := _map_by_name(file.path)):
        raise InputError(
            f"its name says that it is a map ({map_}) that belongs to an image",
            where=file.path,
            hint="give the image, or name the map with --hdu",
        )
    science = [k for k in images if not other_than_science(file.hdus[k])]
    if images and not science:
        raise InputError(
            f"no science image in it, only other maps: {contents(file)}",
            where=file.path,
            hint="give the image, or name the map with --hdu",
        )
    reasons: list[InputError] = []
    for index in science:
        try:
            layout = _layout_of(file, index)
        except InputError as error:
            reasons.append(error)
            continue
        siblings = [k for k in science if len(layout.planes) == 1 and file.hdus[k].shape == file.hdus[index].shape]
        bands = [_own_band(file.hdus[k]) for k in siblings]
        if len(siblings) > 1 and all_known(bands):
            return _from_extensions(file, siblings, bands)
        if len(science) > 1:
            file.flag(f"hdu:{layout.hdu} of {len(science)} images")
        return layout
    if reasons:
        raise reasons[0]
    raise InputError(f"no image in it: {contents(file)}", where=file.path, hint="give a file that has an image")


def _map_by_name(path: Path) -> str | None:
    """The word of a file's name, after its first, that says it is a map: `coadd.weight.fits`, `x_drz_wht.fits`."""
    words = re.split(r"[-_.]+", path.name)
    return next((word for word in words[1:] if word.upper() in _MAP_FILES), None)


def find_hdu(file: FitsFile, name: str) -> int:
    """Index of the HDU called `name`: `2`, `SCI` or `SCI,2`; capitals do not matter."""
    extname, _, version = name.partition(",")
    for index, unit in enumerate(file.hdus):
        if name.isdecimal():
            if index == int(name):
                return index
        elif unit.name.upper() == extname.strip().upper() and version.strip() in ("", str(unit.ver)):
            return index
    raise InputError(
        f"there is no HDU {name}: the file has {contents(file)}", where=file.path, hint="choose one of those"
    )


def contents(file: FitsFile) -> str:
    """What is in the file, for a message: `HDU 0 empty, HDU 1 (RATE) table of 53 rows`."""
    listed = [f"HDU {hdu_label(file.hdus, k)} {what_is(unit)}" for k, unit in enumerate(file.hdus[:8])]
    return ", ".join(listed) + (f" and {len(file.hdus) - 8} more" if len(file.hdus) > 8 else "")


def what_is(unit: Any) -> str:
    """One HDU in words; sizes as columns x rows (x planes), the order of the header."""
    kind = type(unit).__name__
    if kind == "GroupsHDU":
        return "random groups (visibilities)"
    if "Table" in kind:
        return f"table of {unit.header.get('NAXIS2', 0)} rows"
    shape = getattr(unit, "shape", ())
    if not shape:
        return "empty"
    packed = "compressed " if kind == "CompImageHDU" else ""
    return f"{packed}image {' x '.join(map(str, reversed(shape)))}"


def is_image(unit: Any) -> bool:
    """An image HDU that declares pixels, usable or not."""
    return bool(unit.is_image) and type(unit).__name__ != "GroupsHDU" and len(unit.shape) > 0


def _layout_of(file: FitsFile, index: int) -> Layout:
    unit = file.hdus[index]
    label = hdu_label(file.hdus, index)
    where = f"{file.path}, HDU {label}"
    if not is_image(unit):
        raise InputError(f"is {what_is(unit)}, not an image", where=where, hint="choose another HDU")
    shape = tuple(int(n) for n in unit.shape)
    if min(shape) < 1:
        raise InputError(f"{what_is(unit)} has no pixels", where=where, hint="give a file that has an image")
    header = _inherited(file, unit)
    lead, inner = _drop_outer(shape, header, file)
    if len(inner) == 1:
        raise InputError(f"{what_is(unit)} is a row of values, not a picture", where=where, hint="choose another HDU")
    if len(inner) == 2:
        planes = [Plane(unit, lead, (0,) * (len(shape) - len(lead) - 2))]
        return _checked(label, (inner[0], inner[1]), planes, [band_of(header)], header, where)
    named = plane_bands(header)
    if len(inner) == 3:
        for count in sorted({3, len(named)} - {0, 1}, key=lambda n: n != len(named)):
            bands = named if len(named) == count else [Band(str(k + 1)) for k in range(count)]
            if inner[0] == count and min(inner[1:]) >= MIN_SIDE:
                planes = [Plane(unit, (*lead, k)) for k in range(count)]
                return _checked(label, (inner[1], inner[2]), planes, bands, header, where)
            if inner[2] == count and min(inner[:2]) >= MIN_SIDE:
                planes = [Plane(unit, lead, (k,)) for k in range(count)]
                return _checked(label, (inner[0], inner[1]), planes, bands, header, where)
    raise InputError(
        f"{what_is(unit)} is a cube whose planes are not three bands",
        where=where,
        hint="write the planes to classify to their own files (--bands g.fits r.fits i.fits)",
    )


def _drop_outer(shape: tuple[int, ...], header: Any, file: FitsFile) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Leading axes fixed at 0 (length one, or Stokes: its first entry is the intensity), and the axes
    that remain.

    Radio images come as (stokes, frequency, rows, columns).
    """
    lead: list[int] = []
    while len(shape) - len(lead) > 2:
        axis = len(shape) - len(lead)  # FITS counts from the fastest
        length = shape[len(lead)]
        stokes = str(header.get(f"CTYPE{axis}", "")).strip().upper() == "STOKES"
        if length > 1 and not stokes:
            break
        if length > 1:
            file.flag("stokes_I")
        lead.append(0)
    inner = shape[len(lead) :]
    if len(inner) == 3 and inner[2] == 1:
        inner = inner[:2]
    return tuple(lead), inner


def _from_extensions(file: FitsFile, indices: Sequence[int], bands: Sequence[Band]) -> Layout:
    parts = [_layout_of(file, k) for k in indices]
    label = "+".join(str(k) for k in indices)
    for part in parts[1:]:
        if part.shape != parts[0].shape:
            raise InputError(
                f"HDU {parts[0].hdu} has {parts[0].shape[1]} x {parts[0].shape[0]} pixels and HDU {part.hdu} "
                f"{part.shape[1]} x {part.shape[0]}",
                where=file.path,
                hint="bands of one image have one shape",
            )
    if any(len(part.planes) > 1 for part in parts):
        raise InputError(f"HDUs {label} are not all 2-D", where=file.path, hint="name 2-D images, or one cube")
    planes = tuple(part.planes[0] for part in parts)
    return Layout(label, parts[0].shape, planes, tuple(bands), parts[0].header)


def _checked(
    label: str, shape: tuple[int, int], planes: list[Plane], bands: list[Band], header: Any, where: str
) -> Layout:
    if min(shape) < MIN_SIDE:
        raise InputError(
            f"{shape[1]} x {shape[0]} pixels are too few to see a galaxy",
            where=where,
            hint=f"an image needs at least {MIN_SIDE} x {MIN_SIDE}",
        )
    return Layout(label, shape, tuple(planes), tuple(bands), header)


def other_than_science(unit: Any) -> bool:
    """Whether an image HDU says that it is a map of errors, weights, masks, coverage or the like."""
    for key in _KINDS:
        text = card(unit.header, key).upper()
        words = re.split(r"[^A-Z0-9]+", text)
        if text.endswith(_ENDINGS) or _NOT_SCIENCE.intersection([*words, *(_MAP.sub("", word) for word in words)]):
            return True
    return False


def _inherited(file: FitsFile, unit: Any) -> Any:
    """The header of `unit`, with what the primary header says of band and instrument where it has none itself."""
    header = unit.header
    primary = file.hdus[0].header
    if unit is file.hdus[0] or not primary.get("EXTEND", True):
        return header
    own_band = any(card(header, key) for key in SINGLE)
    missing = {key: text for key in (*ABOUT, *(() if own_band else SINGLE)) if (text := card(primary, key))}
    missing = {key: text for key, text in missing.items() if key not in header}
    if missing:
        header = header.copy()
        header.update({key if len(key) <= 8 else f"HIERARCH {key}": text for key, text in missing.items()})
    return header


def _own_band(unit: Any) -> Band:
    """The band an extension itself says it is, without what it inherits."""
    name = str(unit.name).strip()
    if (wave := wavelength(name)) is not None:
        return Band(name, wave)
    band = band_of(unit.header)
    return band if band.nanometres is not None or not name else Band(name)
