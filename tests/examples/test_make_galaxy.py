"""The example galaxy of the README: what the script writes, and that the file in the repository is that."""

import runpy
from pathlib import Path

import numpy as np

from attn.data_adapters.sky.fits import read_fits
from attn.data_adapters.sky.stretch import Stretch, render

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_committed_file_is_what_the_script_writes(tmp_path: Path) -> None:
    script = runpy.run_path(str(EXAMPLES / "make_galaxy.py"))
    script["main"](tmp_path / "again.fits")
    again, committed = read_fits(tmp_path / "again.fits"), read_fits(EXAMPLES / "disc_galaxy.fits")
    np.testing.assert_allclose(again.data, committed.data, rtol=1e-5, atol=1e-6)
    assert (EXAMPLES / "disc_galaxy.fits").stat().st_size < 300_000


def test_it_reads_as_a_galaxy_in_the_middle_of_a_colour_cutout() -> None:
    image = read_fits(EXAMPLES / "disc_galaxy.fits")
    assert (image.data.shape, image.bands, image.flags) == ((128, 128, 3), ("i", "r", "g"), ())
    assert image.wcs is not None
    middle = np.array([63.5])
    np.testing.assert_allclose(np.ravel(image.wcs.to_sky(middle, middle)), (150.1, 2.2))
    pixels, flags = render(image.data, Stretch())
    assert flags == () and pixels[60:68, 60:68].mean() > 120 and np.median(pixels[:10]) < 30
