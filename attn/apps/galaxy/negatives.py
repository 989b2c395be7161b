"""What is no galaxy, drawn as a survey shows it: counts in units of the sky's noise, through the stretch.

Every picture is drawn from its own seed: its side, seeing, bands, noise, sky and brightness differ. `as_elsewhere`
shows a galaxy as another survey or viewer would, so that what differs between surveys is not taken for no galaxy.

Shapes: S side of a picture, H height, W width. Light is in units of the noise of one pixel.
"""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from attn.data_adapters.sky.framing import frame
from attn.data_adapters.sky.stretch import Stretch, render

Draw = np.random.Generator
Light = NDArray[np.float64]
Display = NDArray[np.uint8]

SIDES = (48, 192)


def psf(draw: Draw, side: int, x: float, y: float, fwhm: float) -> Light:
    """A Moffat profile of height 1, slightly out of round."""
    beta, stretch, turn = draw.uniform(2.2, 4.5), draw.uniform(1, 1.12), draw.uniform(0, np.pi)
    dy, dx = np.mgrid[:side, :side] - np.array([y, x])[:, None, None]
    u, v = dx * np.cos(turn) + dy * np.sin(turn), (dy * np.cos(turn) - dx * np.sin(turn)) * stretch
    alpha = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
    profile: Light = (1 + (u**2 + v**2) / alpha**2) ** -beta
    return profile


def middle(draw: Draw, side: int) -> tuple[float, float]:
    """x and y of a source in the middle, not quite."""
    x, y = side / 2 + draw.normal(0, 0.02 * side, 2)
    return float(x), float(y)


def around(draw: Draw, side: int, fwhm: float, most: int = 4) -> Light:
    """A few faint stars anywhere but in the middle."""
    light = np.zeros((side, side))
    for _ in range(draw.integers(0, most + 1)):
        angle, far = draw.uniform(0, 2 * np.pi), draw.uniform(0.28, 0.65) * side
        x, y = side / 2 + far * np.cos(angle), side / 2 + far * np.sin(angle)
        light += draw.lognormal(3, 1) * psf(draw, side, x, y, fwhm)
    return light


def line(draw: Draw, side: int, width: float, length: float | None = None, near: float = 0.2) -> Light:
    """A straight streak of height 1, from border to border or short, past the middle within `near` of the side."""
    angle = draw.uniform(0, np.pi)
    y, x = np.mgrid[:side, :side] - side / 2 + draw.uniform(-near, near, 2)[:, None, None] * side
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    light: Light = np.exp(-0.5 * (across / width) ** 2)
    return light if length is None else light * (np.abs(along) < length / 2)


def empty(draw: Draw, side: int) -> Light:
    """Noise, a slope of the sky, and faint stars beside the middle."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    slope = draw.normal(0, draw.choice([0, 1, 4]), 2)
    sky: Light = slope[0] * x + slope[1] * y
    return sky + around(draw, side, draw.uniform(2, 5))


def star(draw: Draw, side: int) -> Light:
    """One star, of any brightness."""
    fwhm = draw.uniform(1.8, 6)
    return draw.lognormal(5, 1.3) * psf(draw, side, *middle(draw, side), fwhm) + around(draw, side, fwhm)


def double_star(draw: Draw, side: int) -> Light:
    """Two stars close together."""
    fwhm = draw.uniform(1.8, 5)
    x, y = middle(draw, side)
    dx, dy = draw.normal(0, 2.5 * fwhm, 2)
    light = draw.lognormal(5, 1) * psf(draw, side, x + dx / 2, y + dy / 2, fwhm)
    return light + draw.lognormal(5, 1) * psf(draw, side, x - dx / 2, y - dy / 2, fwhm) + around(draw, side, fwhm)


def saturated(draw: Draw, side: int) -> Light:
    """A star with a flat core, mostly with a bleeding column and the spikes of a spider."""
    fwhm = draw.uniform(2.5, 6)
    x, y = middle(draw, side)
    light = draw.uniform(5e3, 2e5) * psf(draw, side, x, y, fwhm)
    level = draw.uniform(300, 4000)
    if draw.random() < 0.7:  # charge bleeds along a column
        half, width = draw.uniform(0.1, 0.5) * side, draw.uniform(0.5, 2)
        rows, columns = np.mgrid[:side, :side]
        light = np.where((np.abs(columns - x) < width) & (np.abs(rows - y) < half), level, light)
    if draw.random() < 0.6:  # the spider
        dy, dx = np.abs(np.mgrid[:side, :side] - np.array([y, x])[:, None, None])
        if draw.random() < 0.5:
            dy, dx = np.abs(dy - dx) / 1.4, (dy + dx) / 1.4
        light = light + draw.uniform(50, 800) * (np.exp(-dx - dy / (0.15 * side)) + np.exp(-dy - dx / (0.15 * side)))
    return np.minimum(light, level)


def trail(draw: Draw, side: int) -> Light:
    """A satellite's trail, now and then two."""
    light = draw.lognormal(3.5, 0.8) * line(draw, side, draw.uniform(0.8, 3.5))
    if draw.random() < 0.2:
        light += draw.lognormal(3, 0.7) * line(draw, side, draw.uniform(0.8, 3))
    return light + around(draw, side, draw.uniform(2, 5))


def cosmic_rays(draw: Draw, side: int) -> Light:
    """A few sharp points and streaks."""
    light = np.zeros((side, side))
    for _ in range(draw.integers(1, 7)):
        light += draw.lognormal(5, 1) * line(draw, side, draw.uniform(0.3, 0.7), draw.uniform(1, 0.25 * side), 0.12)
    return light


def radio(draw: Draw, side: int) -> Light:
    """Two lobes, their jets and a core, at the resolution of a beam."""
    beam, angle, reach = draw.uniform(1.5, 4), draw.uniform(0, np.pi), draw.uniform(0.08, 0.3) * side
    light = np.zeros((side, side))
    x, y = middle(draw, side)
    for way in (-1, 1):
        bend = angle + draw.normal(0, 0.15)
        far = reach * draw.uniform(0.7, 1.3)
        for share in np.linspace(0.2, 1, 6):
            spot = psf(draw, side, x + way * far * share * np.cos(bend), y + way * far * share * np.sin(bend), 2 * beam)
            light += spot * (draw.lognormal(4, 0.8) if share == 1 else draw.lognormal(2, 1))
    return light + draw.lognormal(3, 1.2) * psf(draw, side, x, y, 2 * beam)


def cluster(draw: Draw, side: int) -> Light:
    """A crowded field of stars."""
    light, fwhm = np.zeros((side, side)), draw.uniform(1.8, 4)
    for x, y in draw.uniform(0, side, (draw.integers(30, 120), 2)):
        light += draw.lognormal(3.5, 1.2) * psf(draw, side, x, y, fwhm)
    return light


def defect(draw: Draw, side: int) -> Light:
    """Bad columns and rows, the border of a chip, bands of read-out noise."""
    light = empty(draw, side)
    kind = draw.integers(3)
    if kind == 0:
        light[:, draw.integers(0, side, draw.integers(1, 8))] += draw.lognormal(4, 1)
    elif kind == 1:
        light[:, : draw.integers(side // 4, 3 * side // 4)] -= draw.uniform(3, 60)
    else:
        light += draw.normal(0, draw.uniform(1, 8), (side, 1))
    return light if draw.random() < 0.5 else light.T


KINDS: dict[str, Callable[[Draw, int], Light]] = {
    "empty sky": empty,
    "star": star,
    "double star": double_star,
    "saturated": saturated,
    "trail": trail,
    "cosmic rays": cosmic_rays,
    "radio source": radio,
    "star cluster": cluster,
    "defect": defect,
}
GREY = ("radio source", "cosmic rays")


def picture(kind: str, seed: int) -> Display:
    """Display pixels (S, S, 3) uint8 of one of KINDS; every seed another."""
    draw = np.random.default_rng([*kind.encode(), seed])
    side = int(np.exp(draw.uniform(*np.log(SIDES))))
    light = KINDS[kind](draw, side)
    bands = 1 if kind in GREY or draw.random() < 0.35 else 3
    colour = draw.lognormal(0, 0.25, bands)
    return render(light[:, :, None] * colour + noise(draw, side, bands), Stretch())[0]


def noise(draw: Draw, side: int, bands: int) -> Light:
    """Of deviation 1, correlated between neighbours where an image was resampled."""
    grains = draw.normal(0, 1, (side, side, bands))
    if draw.random() < 0.5:
        grains = ndimage.gaussian_filter(grains, (draw.uniform(0.4, 1.2),) * 2 + (0,))
    same: Light = grains / grains.std()
    return same


def as_elsewhere(pixels_hwc: Display, draw: Draw) -> Display:
    """A galaxy (H, W, 3) as another survey or viewer would show it: coarser, smaller in its frame, in other colours."""
    x = pixels_hwc
    side = min(x.shape[:2])
    if draw.random() < 0.6:
        coarse = max(24, int(side * np.exp(draw.uniform(np.log(0.3), 0))))
        x = frame(x, coarse)
        if draw.random() < 0.5:
            x = np.array(Image.fromarray(x).resize((side, side), Image.Resampling.BICUBIC))
    y = x.astype(np.float64)
    if draw.random() < 0.4:
        y = ndimage.gaussian_filter(y, (draw.uniform(0.3, 1.5),) * 2 + (0,))
    if draw.random() < 0.4:
        y = _in_wider_frame(y, draw)
    y = np.clip(y, 0, 255) / 255
    if draw.random() < 0.4:
        y = _on_black(y, draw)
    y = y ** np.exp(draw.normal(0, 0.25)) * np.exp(draw.normal(0, 0.2) + draw.normal(0, 0.1, 3))
    y = y + draw.normal(0, 0.04) + draw.normal(0, 0.015, 3)
    if draw.random() < 0.25:
        y = np.repeat(y.mean(2, keepdims=True), 3, axis=2)
    if draw.random() < 0.5:
        y = y + draw.normal(0, draw.uniform(0, 0.05), y.shape)
    shown = np.rint(np.clip(y, 0, 1) * 255).astype(np.uint8)
    return _compressed(shown, int(draw.integers(50, 95))) if draw.random() < 0.4 else shown


def _on_black(y_hwc: Light, draw: Draw) -> Light:
    """As a viewer shows it that cuts the sky away, with most of its noise, and makes up for it in contrast."""
    sky = np.median(_rim(y_hwc), axis=0) - draw.uniform(0, 0.04)
    return np.clip((y_hwc - sky) / (1 - sky) * draw.uniform(0.8, 1.3), 0, 1)


def _rim(y_hwc: Light) -> Light:
    return np.concatenate([y_hwc[0], y_hwc[-1], y_hwc[:, 0], y_hwc[:, -1]])


def _in_wider_frame(y_hwc: Light, draw: Draw) -> Light:
    """On the sky of its own rim."""
    height, width = y_hwc.shape[:2]
    rim = _rim(y_hwc)
    side = int(max(height, width) * draw.uniform(1.2, 3))
    wide = draw.normal(np.median(rim, axis=0), 0.5 * rim.std(axis=0), (side, side, 3))
    top, left = (side - height) // 2, (side - width) // 2
    wide[top : top + height, left : left + width] = y_hwc
    return wide


def _compressed(pixels_hwc: Display, quality: int) -> Display:
    """As a JPEG gives it back."""
    held = io.BytesIO()
    Image.fromarray(pixels_hwc).save(held, "JPEG", quality=quality)
    return np.array(Image.open(held))
