"""Stored values as a display shows them: one table over all stored values does a whole picture.

Shapes: H rows, W columns, C samples of a colour.
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from pydicom.dataset import Dataset

from attn.data_adapters.dicom.decode import Decoded
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.frame_layout import Layout
from attn.data_adapters.dicom.lut import Span, Voi, span_of_counts
from attn.data_adapters.dicom.steps import Steps
from attn.data_adapters.library_warnings import caught_warnings

Pixels = Float[np.ndarray, "H W"]
_BLOCK = 1 << 16  # pixels that go through a table at a time: the indices of more would not stay in the cache
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as the Y of YBR_FULL


def show_grey(decoded: Decoded, steps: Steps) -> tuple[Pixels, Voi]:
    """A grey picture by its modality step, VOI and polarity; padding is black. Also the VOI that was used."""
    stored, layout = decoded.pixels, decoded.layout
    if stored.dtype.kind == "f" or stored.itemsize > 2:
        return _direct(stored, layout, steps)
    words = np.ascontiguousarray(stored).astype(f"u{stored.itemsize}", copy=False).reshape(-1)
    # Codes above the highest one that is there have no entry: most pictures leave the upper half of 16 bits empty.
    values = _values(np.arange(int(words.max(initial=0)) + 1), layout)
    padded = _padded(values, steps)
    modality = steps.modality(values)
    voi: Voi
    if steps.voi is not None:
        voi = steps.voi
    else:
        counts = np.where(padded, 0, _counts(words, len(values)))
        voi = span_of_counts(modality, counts)
    table = _polar(voi.display(modality), padded, steps)
    return _through(table, words).reshape(stored.shape), voi


def show_colour(decoded: Decoded) -> Pixels:
    """The luminance of a picture in colours: red, green and blue, or Y and two colours, of which Y is it already."""
    samples, layout = decoded.pixels, decoded.layout
    white = np.float32(2**layout.stored - 1)
    if layout.photometric == "RGB":
        grey = samples.astype(np.float32) @ _LUMINANCE / white
    else:
        grey = samples[:, :, 0].astype(np.float32) / white
    return np.asarray(np.clip(grey, 0, 1), np.float32)


def show_palette(decoded: Decoded, dataset: Dataset) -> tuple[Pixels, tuple[Flag, ...]]:
    """The luminance of a picture that is stored as numbers of a palette."""
    from pydicom.pixels.processing import apply_color_lut

    stored = decoded.pixels
    words = np.ascontiguousarray(stored).astype(f"u{stored.itemsize}", copy=False).reshape(-1)
    values = _values(np.arange(256**stored.itemsize), decoded.layout).astype(np.int32)
    with caught_warnings():
        colours = apply_color_lut(values, dataset)
    white = float(np.iinfo(colours.dtype).max)
    table = (colours.astype(np.float32) @ _LUMINANCE / white).astype(np.float32)
    grey = bool((colours == colours[:, :1]).all())
    return _through(table, words).reshape(stored.shape), (Flag.PALETTE,) if grey else (Flag.PALETTE, Flag.COLOUR)


def _direct(stored: Any, layout: Layout, steps: Steps) -> tuple[Pixels, Voi]:
    """Values that are too many for a table, some rows at a time."""
    rows = max(1, _BLOCK // layout.columns)
    blocks = [slice(first, first + rows) for first in range(0, layout.rows, rows)]
    voi: Voi
    if steps.voi is not None:
        voi = steps.voi
    else:
        modality = np.empty(stored.shape, np.float32)
        for block in blocks:
            values = _values(stored[block], layout)
            modality[block] = np.where(_padded(values, steps), np.nan, steps.modality(values))
        known = modality[np.isfinite(modality)]
        voi = span_of_counts(*np.unique(known, return_counts=True)) if len(known) else Span(0.0, 0.0)
    out = np.empty(stored.shape, np.float32)
    for block in blocks:
        values = _values(stored[block], layout)
        out[block] = _polar(voi.display(steps.modality(values)), _padded(values, steps) | ~np.isfinite(values), steps)
    return out, voi


def _values(words: Any, layout: Layout) -> Any:
    """Stored values, float64: the `stored` bits of words, with their sign."""
    if layout.real:
        return words.astype(np.float64)
    values = (words.astype(np.int64) >> layout.shift) & (2**layout.stored - 1)
    if layout.signed:
        values = values - ((values >> (layout.stored - 1)) << layout.stored)
    return values.astype(np.float64)


def _padded(values: Any, steps: Steps) -> Any:
    if steps.padding is None:
        return np.zeros(values.shape, bool)
    return (values >= steps.padding[0]) & (values <= steps.padding[1])


def _polar(shown: Any, padded: Any, steps: Steps) -> Any:
    shown = 1 - shown if steps.inverse else shown
    return np.nan_to_num(np.where(padded, 0, shown), nan=0.0).astype(np.float32)


def _counts(words: Any, codes: int) -> Any:
    """How many pixels have each code."""
    total = np.zeros(codes, np.int64)
    step = 16 * _BLOCK
    for first in range(0, len(words), step):
        total += np.bincount(words[first : first + step], minlength=codes)
    return total


def _through(table: Any, words: Any) -> Any:
    out = np.empty(len(words), np.float32)
    for first in range(0, len(words), _BLOCK):
        np.take(table, words[first : first + _BLOCK], out=out[first : first + _BLOCK], mode="clip")
    return out
