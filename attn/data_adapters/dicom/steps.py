"""What the header says is to be done with stored values: the modality step, the VOIs to choose from, the polarity."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from attn.core.errors import UsageError
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.frame_layout import Layout
from attn.data_adapters.dicom.header import Header, number
from attn.data_adapters.dicom.lut import Rescale, Table, Window

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclass(frozen=True)
class Steps:
    """The steps of one frame, and in words the windows and tables that its VOI was chosen from."""

    modality: Rescale | Table
    voi: Table | Window | None  # None: there is none
    inverse: bool
    padding: tuple[float, float] | None  # stored values, both included
    choices: str
    flags: tuple[Flag, ...]


def _choices(tables: list[Table], windows: list[Window | None]) -> str:
    """The windows by their indices, and the tables, for people."""
    there = [f"{index}: {window}" for index, window in enumerate(windows) if window is not None]
    return "; ".join([*there, *(str(table) for table in tables)])


def read_steps(header: Header, layout: Layout, little_endian: bool, window: str | None = None) -> Steps:
    """Read the steps and choose the VOI: `window` is INDEX, NAME or CENTER,WIDTH.

    Without it, the first VOI LUT, else the first window. UsageError when no window is of this index or name.
    """
    flags: list[Flag] = []
    modality = _modality(header, layout, little_endian, flags)
    negative = layout.signed or (isinstance(modality, Rescale) and (modality.intercept < 0 or modality.slope < 0))
    tables = [
        table
        for item in header.items("VOILUTSequence")
        if (table := _table(item, negative, little_endian, range(8, 17), flags)) is not None
    ]
    windows = _windows(header, flags)
    voi = _first(tables, windows) if window is None else _chosen(window, tables, windows)
    if voi is None and not windows:
        flags.append(Flag.WINDOW_MISSING)
    inverse = layout.photometric == "MONOCHROME1"
    shape = header.text("PresentationLUTShape").upper()
    if shape in ("IDENTITY", "INVERSE") and (shape == "INVERSE") != inverse:
        flags.append(Flag.POLARITY_CONTRADICTS)
    padding = _padding(header, layout, little_endian)
    return Steps(modality, voi, inverse, padding, _choices(tables, windows), tuple(dict.fromkeys(flags)))


def _modality(header: Header, layout: Layout, little_endian: bool, flags: list[Flag]) -> Rescale | Table:
    for item in header.items("ModalityLUTSequence")[:1]:
        table = _table(item, layout.signed, little_endian, (8, 16), flags)
        if table is not None:
            return table
    found = {keyword: header.number(keyword) for keyword in ("RescaleSlope", "RescaleIntercept")}
    slope, intercept = (None if value is None or math.isnan(value) else value for value in found.values())
    if (slope is None) != (intercept is None):
        flags.append(Flag.RESCALE_PARTIAL)
    if slope == 0:  # a constant picture is never meant
        slope = None
        flags.append(Flag.RESCALE_PARTIAL)
    if slope is not None and slope < 0:
        flags.append(Flag.SLOPE_NEGATIVE)
    return Rescale(1.0 if slope is None else slope, 0.0 if intercept is None else intercept)


def _table(item: Dataset, negative: bool, little_endian: bool, allowed: Any, flags: list[Flag]) -> Table | None:
    """A lookup table of an item; None when it has no entries. `negative`: the values that it maps may be negative."""
    descriptor = integers(item, "LUTDescriptor", little_endian)
    raw = item.get("LUTData")
    if len(descriptor) != 3 or raw is None or len(raw if hasattr(raw, "__len__") else [raw]) == 0:
        flags.append(Flag.LUT_NONSTANDARD)
        return None
    count, first, bits = (int(value) for value in descriptor)
    count = count % 65536 or 65536
    if negative and first >= 32768:
        first -= 65536
    entries = integers(item, "LUTData", little_endian) & 0xFFFF
    if bits == 8 and len(entries) == (count + 1) // 2:  # two entries in a word, the first in its low byte
        entries = entries.astype("<u2").view(np.uint8).astype(np.int64)
    entries = entries[:count]
    if bits not in allowed or len(entries) < count:
        flags.append(Flag.LUT_NONSTANDARD)
    if not 8 <= bits <= 16:
        bits = 8 if entries.max() < 256 else 16
    return Table(first, entries, bits, _name(item))


def integers(dataset: Dataset, keyword: str, little_endian: bool) -> Any:
    """The values of an element of 16-bit integers, which pydicom gives as bytes where it cannot know their sign."""
    value = dataset.get(keyword)
    if value is None:
        return np.zeros(0, np.int64)
    if isinstance(value, bytes):
        return np.frombuffer(value[: len(value) // 2 * 2], "<u2" if little_endian else ">u2").astype(np.int64)
    return np.asarray(value).reshape(-1).astype(np.int64)


def _windows(header: Header, flags: list[Flag]) -> list[Window | None]:
    """All windows in the file's order, None for one that is no number."""
    centers, widths = header.numbers("WindowCenter"), header.numbers("WindowWidth")
    names = header.texts("WindowCenterWidthExplanation")
    function = header.text("VOILUTFunction").upper() or "LINEAR"
    if centers and function not in FUNCTIONS:
        function = "LINEAR"
        flags.append(Flag.WINDOW_NONSTANDARD)
    found: list[Window | None] = []
    for index, (center, width) in enumerate(zip(centers, widths, strict=False)):
        window = _window(center, width, function, names[index] if index < len(names) else "")
        found.append(window)
        if window is None:
            flags.append(Flag.WINDOW_UNREADABLE)
        elif window.function != function:
            flags.append(Flag.WINDOW_NONSTANDARD)
    if len(centers) != len(widths):
        flags.append(Flag.WINDOW_UNREADABLE if not found else Flag.WINDOW_NONSTANDARD)
    return found or [None] * max(len(centers), len(widths))


def _window(center: float, width: float, function: str, name: str = "") -> Window | None:
    if not (math.isfinite(center) and math.isfinite(width) and width > 0):
        return None
    if function == "LINEAR" and width < 1:  # which the formula of LINEAR does not allow
        function = "LINEAR_EXACT"
    return Window(center, width, function, name)


def _first(tables: list[Table], windows: list[Window | None]) -> Table | Window | None:
    return next((voi for voi in (*tables, *windows) if voi is not None), None)


def _chosen(window: str, tables: list[Table], windows: list[Window | None]) -> Table | Window:
    text = window.strip()
    if text.isdecimal() and int(text) < len(windows) and (found := windows[int(text)]) is not None:
        return found
    named: list[Table | Window] = [*(entry for entry in windows if entry is not None), *tables]
    for entry in named:
        if entry.name and entry.name.casefold() == text.casefold():
            return entry
    center, comma, width = text.partition(",")
    if comma and (own := _window(number(center), number(width), "LINEAR")) is not None:
        return own
    raise UsageError(
        f"--window {window} is none of this file ({_choices(tables, windows) or 'it has none'})",
        hint="give an index, a name, or CENTER,WIDTH",
    )


def _padding(header: Header, layout: Layout, little_endian: bool) -> tuple[float, float] | None:
    kind = "" if not layout.real else "Float" if layout.bits == 32 else "DoubleFloat"
    ends = [_stored(header, f"{kind}PixelPadding{name}", layout, little_endian) for name in ("Value", "RangeLimit")]
    known = [end for end in ends if end is not None]
    return (min(known), max(known)) if ends[0] is not None else None


def _stored(header: Header, keyword: str, layout: Layout, little_endian: bool) -> float | None:
    scope = header.scope(keyword)
    if scope is None:
        return None
    if layout.real:
        value = header.number(keyword)
        return None if value is None or math.isnan(value) else value
    try:
        value = int(integers(scope, keyword, little_endian)[0])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return float(value - 65536 if layout.signed and value >= 32768 else value)


def _name(item: Dataset) -> str:
    return str(item.get("LUTExplanation") or "").strip()
