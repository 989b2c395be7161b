"""What a frontal chest radiograph is not: turned, mirrored, negative and cropped ones, and drawn forms.

They teach the gate and measure it. All pictures are (S, S) float32, 0 black to 1 white.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

Picture = Float[np.ndarray, "S S"]
CROP = (0.35, 0.55)  # the sides of a crop as shares of the picture's: too little to see the chest
KEPT = (0.8, 1.0)  # the sides of a jittered picture: all of the chest that counts is there
GAMMA = (0.7, 1.4)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def spoiled(pixels_ss: Picture, draw: np.random.Generator) -> Iterator[tuple[str, Picture]]:
    """One of each kind made from a frontal chest; the kinds are those of the gate."""
    yield "mirrored", pixels_ss[:, ::-1]
    yield "turned", np.rot90(pixels_ss, int(draw.integers(1, 4)))
    yield "inverted", 1 - pixels_ss
    yield "other", crop(pixels_ss, draw)


def crop(pixels_ss: Picture, draw: np.random.Generator) -> Picture:
    """A random part of the picture, enlarged to its size."""
    side = len(pixels_ss)
    height, width = (draw.uniform(*CROP, 2) * side).astype(int)
    top, left = draw.integers(0, side - height), draw.integers(0, side - width)
    return _resized(Image.fromarray(np.ascontiguousarray(pixels_ss[top : top + height, left : left + width])), side)


def jittered(pixels_ss: Picture, draw: np.random.Generator, *, mirror: bool = False) -> Picture:
    """Another picture of the same kind: a little cropped, with other proportions, brighter or darker.

    With `mirror` perhaps mirrored too, which a frontal chest must not be.
    """
    side = len(pixels_ss)
    height, width = (draw.uniform(*KEPT, 2) * side).astype(int)
    top, left = draw.integers(0, side - height + 1), draw.integers(0, side - width + 1)
    part = pixels_ss[top : top + height, left : left + width] ** draw.uniform(*GAMMA)
    if mirror and draw.random() < 0.5:
        part = part[:, ::-1]
    return _resized(Image.fromarray(np.ascontiguousarray(part, dtype=np.float32)), side)


def form(side: int, draw: np.random.Generator) -> Picture:
    """A scanned page: lines of text and boxes, dark on white."""
    width, height = (int(length) for length in draw.integers(400, 900, 2))
    page = Image.new("L", (width, height), int(draw.integers(200, 256)))
    pen = ImageDraw.Draw(page)
    y = 20
    while y < height - 20:
        kind = draw.random()
        if kind < 0.15:
            bottom = min(y + int(draw.integers(20, 90)), height - 5)
            pen.rectangle(
                (20, y, width - 20, bottom), outline=int(draw.integers(0, 90)), width=int(draw.integers(1, 4))
            )
            y = bottom + 8
        elif kind < 0.85:
            x, end = 25, draw.uniform(0.4, 0.95) * width
            while x < end:
                word = "".join(LETTERS[letter] for letter in draw.integers(0, 26, int(draw.integers(2, 9))))
                pen.text((x, y), word, fill=int(draw.integers(0, 110)), font_size=int(draw.integers(10, 22)))
                x += 9 * len(word) + 8
            y += int(draw.integers(16, 28))
        else:
            y += int(draw.integers(10, 60))
    return _resized(page.convert("F").point(lambda value: value / 255), side)


def _resized(picture: Image.Image, side: int) -> Picture:
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32).clip(0, 1)
