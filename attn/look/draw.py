"""Pictures of a report as text of the page itself: heat maps as SVG, images as PNG in a data URL."""

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Float, UInt8

CELL, LABEL = 26, 8  # pixels of a cell, and of a letter of a label
LOW, HIGH, NEGATIVE = (255, 255, 255), (178, 24, 43), (33, 102, 172)


def heat(
    values_rc: Float[np.ndarray, "R C"],
    rows: Sequence[str],
    columns: Sequence[str],
    alt: str,
    *,
    most: float | None = None,
) -> str:
    """Numbers as colours, red above zero and blue below. NaN is left empty. Each cell says its number.

    most: what the full colour means; the largest size when not given.
    """
    sizes = np.abs(values_rc[np.isfinite(values_rc)])
    most = most or (float(sizes.max()) if sizes.size else 0.0) or 1.0
    left = LABEL * max((len(row) for row in rows), default=0) + 6
    turned = max((len(column) for column in columns), default=0) > 3
    top = (LABEL * max(len(column) for column in columns) if turned else LABEL * 2) + 8 if columns else 4
    width, height = left + CELL * len(columns) + 4, top + CELL * len(rows) + 4
    parts = [
        f'<svg role="img" aria-label="{escape(alt)}" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<title>{escape(alt)}</title>",
    ]
    for c, column in enumerate(columns):
        x, y = left + CELL * c + CELL // 2, top - 6
        turn = f' transform="rotate(-90 {x} {y})"' if turned else ' text-anchor="middle"'
        parts.append(f'<text x="{x}" y="{y}"{turn}>{escape(column)}</text>')
    for r, row in enumerate(rows):
        parts.append(f'<text x="{left - 6}" y="{top + CELL * r + 18}" text-anchor="end">{escape(row)}</text>')
        for c, column in enumerate(columns):
            value = float(values_rc[r, c])
            if np.isfinite(value):
                box = f'x="{left + CELL * c}" y="{top + CELL * r}" width="{CELL - 1}" height="{CELL - 1}"'
                said = escape(f"{row}, {column}: {value:.4g}")
                parts.append(f'<rect {box} fill="{_colour(value / most)}"><title>{said}</title></rect>')
    return "".join([*parts, "</svg>"])


def _colour(share: float) -> str:
    towards, share = (HIGH if share >= 0 else NEGATIVE), min(1.0, abs(share))
    red, green, blue = (round(low + (end - low) * share) for low, end in zip(LOW, towards, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}"


def png(pixels_hwc: UInt8[np.ndarray, "H W 3"], alt: str, *, side: int = 160) -> str:
    """An image in the page, enlarged to about `side` pixels."""
    from PIL import Image

    picture = Image.fromarray(pixels_hwc)
    factor = side / max(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    file = io.BytesIO()
    picture.resize(size, Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BILINEAR).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{escape(alt)}" width="{size[0]}" height="{size[1]}" src="data:image/png;base64,{data}">'


def overlaid(pixels_hwc: UInt8[np.ndarray, "H W 3"], map_pq: Float[np.ndarray, "P Q"]) -> UInt8[np.ndarray, "H W 3"]:
    """The image in grey with a map over it, red where the map is largest."""
    from PIL import Image

    spread = float(map_pq.max() - map_pq.min()) or 1.0
    scaled = np.round(255 * (map_pq - map_pq.min()) / spread).astype(np.uint8)
    height, width = pixels_hwc.shape[:2]
    large_hw = np.asarray(Image.fromarray(scaled).resize((width, height), Image.Resampling.BILINEAR)) / 255
    grey_hw1 = pixels_hwc.mean(2, keepdims=True)
    red_hwc = np.broadcast_to(np.array(HIGH, dtype=float), pixels_hwc.shape)
    share_hw1 = 0.6 * large_hw[..., None]
    mixed: np.ndarray = np.round(grey_hw1 * (1 - share_hw1) + red_hwc * share_hw1).astype(np.uint8)
    return mixed


def grey(map_pq: Float[np.ndarray, "P Q"]) -> UInt8[np.ndarray, "P Q 3"]:
    """A map as an image, black where it is largest."""
    scaled = 255 - np.round(255 * map_pq / max(float(map_pq.max()), 1e-12))
    return np.repeat(scaled.astype(np.uint8)[..., None], 3, axis=2)
