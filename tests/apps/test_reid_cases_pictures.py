"""The pictures of `reid/cases`, made after public bug reports: what is read of each, or why it is not."""

from pathlib import Path

import numpy as np
import pytest

from attn.core.errors import AttnError, InputError
from attn.data_adapters.images.heif import formats
from attn.data_adapters.images.identities import open_individuals
from attn.data_adapters.images.photographs import Flag, read_photograph

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def cases(data_dir: Path) -> Path:
    return data_dir / "reid" / "cases"


def read(path: Path) -> np.ndarray:
    return read_photograph(path, path.name).pixels


RED = (200, 30, 30)


def test_exif6_box(cases: Path) -> None:
    folder = cases / "exif6_box"
    shown = open_individuals(folder / "boxes_shown.csv").read(0)
    stored = open_individuals(folder / "boxes_stored.csv", box_frame="stored").read(0)
    for pixels in (shown, stored):
        assert pixels.shape == (16, 16, 3)
        np.testing.assert_allclose(pixels.mean(axis=(0, 1)), RED, atol=12)


@pytest.mark.parametrize("name", ["o0.jpg", "o9.jpg", "text.jpg", "cut.jpg"])
def test_exif_broken(cases: Path, name: str) -> None:
    assert read(cases / "exif_broken" / name).shape == (120, 160, 3)


def test_png_16bit(cases: Path) -> None:
    twin = read(cases / "png_16bit/ramp8.png").astype(int)
    for name in ("ramp16.png", "ramp16.tif"):
        pixels = read(cases / "png_16bit" / name)
        assert np.abs(pixels - twin).max() <= 2 and pixels.mean() == pytest.approx(127.5, abs=1)
        assert len(np.unique(pixels)) >= 200


def test_cmyk_jpeg(cases: Path) -> None:
    rgb, cmyk = (read(cases / "cmyk_jpeg" / name).astype(int) for name in ("rgb.jpg", "cmyk.jpg"))
    assert np.abs(rgb - cmyk)[60, 80].max() < 25 and np.corrcoef(rgb.ravel(), cmyk.ravel())[0, 1] > 0.98


def test_odd_modes(cases: Path) -> None:
    paths = sorted((cases / "odd_modes").iterdir())
    assert len(paths) == 8
    assert all(read(path).shape == (120, 160, 3) for path in paths)
    assert read(cases / "odd_modes/float01.tif").mean() > 60


@pytest.mark.parametrize(("name", "frames"), [("a.gif", 2), ("a.webp", 2), ("a.tif", 3)])  # the files say so
def test_animated_and_pages(cases: Path, name: str, frames: int) -> None:
    found = read_photograph(cases / "animated_and_pages" / name, name)
    first, other = (read(cases / "animated_and_pages/ref" / f"{k}.jpg").astype(int) for k in (13, 14))
    assert Flag.SEVERAL_FRAMES in found.flags and found.values == {"frames": frames}
    assert np.abs(found.pixels - first).mean() < np.abs(found.pixels - other).mean() / 2


@pytest.mark.parametrize("name", ["IMG_0001.heic", "IMG_0002.jpg"])
def test_heic(cases: Path, name: str) -> None:
    if formats():
        twin = read(cases / "heic/twin.png").astype(int)
        assert np.corrcoef(read(cases / "heic" / name).ravel(), twin.ravel())[0, 1] > 0.98
        return
    with pytest.raises(InputError, match=rf"{name}: is a HEIC picture; pip install attn\[heif\]"):
        read(cases / "heic" / name)


def test_broken_files(cases: Path) -> None:
    good, reasons = [], {}
    for path in sorted((cases / "broken_files").iterdir()):
        try:
            read(path)
            good.append(path.name)
        except AttnError as error:
            reasons[path.name] = error.what
    assert good == ["good1.jpg", "good2.jpg", "really_png.jpg"] and len(reasons) == 5
    assert "empty" in reasons["zero.jpg"] and "truncated" in reasons["cut.jpg"]
    assert "not a picture" in reasons["error.jpg"] and "not a picture" in reasons["text.png"]


def test_tiny(cases: Path) -> None:
    flags = {path.name: read_photograph(path, "x").flags for path in sorted((cases / "tiny").iterdir())}
    tiny = {name for name, each in flags.items() if Flag.TINY in each}
    assert tiny == {"1x1.png", "1x500.png", "3x2000.png"}
    assert {name for name, each in flags.items() if Flag.BLANK in each} >= {"black.jpg", "white.jpg", "1x1.png"}


def test_names(cases: Path) -> None:
    found = open_individuals(cases / "names")
    assert found.paths == sorted(path.name for path in (cases / "names").iterdir())
    assert all(found.read(i).size for i in range(len(found)))


def test_not_pictures(cases: Path) -> None:
    found = open_individuals(cases / "not_pictures")
    assert found.paths == [f"cam1/{k}.jpg" for k in range(4)]
    assert found.notices == ["6 other files left out"]
