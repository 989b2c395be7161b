"""Boxes: four formats of one crop, frames by EXIF, and boxes that do not fit."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attn.core.errors import InputError
from attn.data_adapters.images.boxes import Box, BoxFormat, crop
from attn.data_adapters.images.pictures import Picture, open_picture


def picture(width: int = 320, height: int = 240) -> Picture:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[60:150, 80:200] = (200, 30, 30)
    return Picture(pixels)


@pytest.mark.parametrize(
    ("format", "numbers"),
    [
        ("coco", (80, 60, 120, 90)),
        ("voc", (80, 60, 200, 150)),
        ("yolo", (0.4375, 0.4375, 0.375, 0.375)),
        ("megadetector", (0.25, 0.25, 0.375, 0.375)),
    ],
)
def test_four_formats_mean_one_crop(format: BoxFormat, numbers: tuple[float, float, float, float]) -> None:
    pixels, cut = crop(picture(), Box.of(numbers, format))
    assert pixels.shape == (90, 120, 3) and (pixels == (200, 30, 30)).all() and not cut


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_in_the_stored_picture_is_found_in_the_shown_one(tmp_path: Path, orientation: int) -> None:
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[30:39, 4:20] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "x.png", exif=exif)
    shown = open_picture(tmp_path / "x.png")
    assert shown.orientation == orientation
    pixels, _ = crop(shown, Box.of((4, 30, 16, 9), "coco", "stored"))
    assert pixels.size == 3 * 16 * 9 and (pixels == 255).all()


def test_a_box_of_the_other_frame_is_not_cropped_silently() -> None:
    turned = Picture(np.zeros((64, 48, 3), np.uint8), orientation=6)
    with pytest.raises(InputError, match=r"as shown \(48 x 64\), but as stored \(64 x 48\); say --box-frame stored"):
        crop(turned, Box.of((40, 4, 20, 10), "coco"))
    with pytest.raises(InputError, match=r"as stored \(64 x 48\), but as shown \(48 x 64\); say --box-frame shown"):
        crop(turned, Box.of((4, 40, 10, 20), "coco", "stored"))


def test_boxes_at_the_edge() -> None:
    assert crop(picture(), Box.of((-1, -1, 20, 20), "coco"))[1] is False  # rounding
    pixels, cut = crop(picture(), Box.of((310, 0, 20, 10), "coco"))
    assert pixels.shape == (10, 10, 3) and cut
    assert crop(picture(), Box.of((319.9, 239.9, 0.1, 0.1), "coco"))[0].shape == (1, 1, 3)
    with pytest.raises(InputError, match=r"the box 310,0,40,10 lies outside the picture, which has 320 x 240 pixels"):
        crop(picture(), Box.of((310, 0, 40, 10), "coco"))


@pytest.mark.parametrize("numbers", [(0, 0, 0, 5), (0, 0, -3, 5), (0, 0, float("nan"), 5), (float("inf"), 0, 1, 1)])
def test_a_box_without_a_size_is_refused(numbers: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError, match="has no size"):
        Box.of(numbers, "coco")


def test_pixels_are_not_taken_for_fractions() -> None:
    with pytest.raises(InputError, match="is not in fractions of the picture"):
        Box.of((80, 60, 120, 90), "megadetector")
