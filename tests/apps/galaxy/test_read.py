"""From whatever a caller has to display pixels, and from display pixels to what the model sees."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from attn.apps.galaxy.preprocess import Preprocessing, to_unit
from attn.apps.galaxy.read import list_sources, read_cutout, source_id, source_values
from attn.core.errors import InputError, UsageError
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.sky.detect import Detection
from attn.data_adapters.sky.framing import frame, galaxy_share
from attn.data_adapters.sky.labelled import read_image
from attn.data_adapters.sky.stretch import Stretch, render

EXAMPLE = Path(__file__).parents[3] / "examples" / "disc_galaxy.fits"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint16, ">f4"])
def test_arrays_of_counts_are_stretched_whatever_their_type(dtype: str) -> None:
    counts = np.random.default_rng(0).normal(100, 5, (40, 50)).astype(dtype)
    counts[15:25, 20:30] += 60
    expected, _ = render(counts.astype(np.float32), Stretch())
    np.testing.assert_array_equal(read_cutout(counts, Stretch()).pixels, expected)
    np.testing.assert_array_equal(read_cutout(counts[:, :, None], Stretch()).pixels, expected)


def test_arrays_of_display_pixels_are_copied_not_stretched() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    cutout = read_cutout(pixels, Stretch())
    np.testing.assert_array_equal(cutout.pixels, pixels)
    assert not np.shares_memory(cutout.pixels, pixels)


@pytest.mark.parametrize("shape", [(5,), (0, 4), (4, 4, 2), (4, 4, 4), (2, 4, 4, 3), (3, 40, 40)])
def test_arrays_that_are_no_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"an array of shape \(.*\) is not an image; give \(H, W\) or \(H, W, 3\)"):
        read_cutout(np.zeros(shape), Stretch())


def test_an_array_without_one_number_is_refused() -> None:
    with pytest.raises(InputError, match="array"):
        read_cutout(np.full((30, 30), np.nan), Stretch())


def test_a_file_is_read_with_the_models_stretch() -> None:
    for stretch in (Stretch(), Stretch(kind="asinh", white=50)):
        np.testing.assert_array_equal(read_cutout(EXAMPLE, stretch).pixels, read_image(EXAMPLE, stretch).pixels)
        np.testing.assert_array_equal(read_cutout(str(EXAMPLE), stretch).pixels, read_image(EXAMPLE, stretch).pixels)


def test_cutouts_pass_and_reasons_are_raised() -> None:
    cutout = Cutout("7", np.zeros((9, 9, 3), np.uint8))
    read = read_cutout(cutout, Stretch())
    assert read.pixels is cutout.pixels and (read.id, read.flags) == ("7", ("empty",))
    with pytest.raises(InputError, match="7: masked"):
        read_cutout(InputError("masked", where="7"), Stretch())


def test_what_does_not_look_like_a_galaxy_has_a_flag() -> None:
    empty = Cutout("sky", np.full((40, 40, 3), 20, np.uint8))
    assert read_cutout(empty, Stretch()).flags == ("empty",)
    assert read_cutout(EXAMPLE, Stretch()).flags == ()


def test_ids_say_what_was_given() -> None:
    assert source_id(Path("a/b.fits")) == "a/b.fits"
    assert source_id(("g.fits", Path("r.fits"))) == "g.fits+r.fits"
    assert source_id(np.zeros((2, 2))) == "array"
    assert source_id(InputError("x", where="source 3")) == "source 3"


def test_sources_of_a_catalogue_are_counted_before_they_are_read(tmp_path: Path) -> None:
    pl.DataFrame({"x": [64.0, 9999.0], "y": [64.0, 3.0]}).write_csv(tmp_path / "sources.csv")
    sources, count = list_sources([str(EXAMPLE)], Stretch(), catalog=tmp_path / "sources.csv")
    assert count == 2
    first, second = sources
    assert isinstance(first, Cutout) and first.values["x"] == 64
    assert isinstance(second, InputError) and second.where == "2"


def test_bands_are_one_source_and_files_are_many(tmp_path: Path) -> None:
    assert list_sources(["g.fits", "r.fits"], Stretch(), bands=True) == ([("g.fits", "r.fits")], 1)
    assert list_sources(["g.fits", "r.fits"], Stretch()) == ([Path("g.fits"), Path("r.fits")], 2)
    with pytest.raises(UsageError, match="exclude each other"):
        list_sources(["a"], Stretch(), detect=Detection(), catalog=Path("c.csv"))
    with pytest.raises(UsageError, match="one survey image, not 2 inputs; say --bands"):
        list_sources(["a", "b"], Stretch(), detect=Detection())


def test_a_table_means_the_images_that_it_lists(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"path,label,z\n{EXAMPLE},spiral,0.1\nnone.fits,ring,0.2\n")
    sources, count = list_sources([str(tmp_path / "t.csv"), "x.fits"], Stretch(), own={"label"})
    assert count == 3
    first, second, third = sources
    assert (source_id(first), source_id(second), third) == (str(EXAMPLE), "none.fits", Path("x.fits"))
    cutout = read_cutout(first, Stretch())
    assert (cutout.id, cutout.values) == (str(EXAMPLE), {"given_label": "spiral", "z": 0.1})
    assert (source_values(second), source_values(third)) == ({"given_label": "ring", "z": 0.2}, {})
    with pytest.raises(InputError, match="no such file"):
        read_cutout(second, Stretch())


PREPROCESSING = Preprocessing(side=32, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))


def test_the_galaxy_is_framed_unless_the_model_says_no() -> None:
    cutout = read_cutout(EXAMPLE, Stretch())
    wide = np.pad(cutout.pixels, ((64, 64), (64, 64), (0, 0)), mode="edge")
    share = galaxy_share(wide)
    assert share < 0.7
    np.testing.assert_array_equal(PREPROCESSING.pixels(Cutout("w", wide)), frame(wide, 32, share))
    plain = PREPROCESSING.model_copy(update={"framed": False})
    np.testing.assert_array_equal(plain.pixels(Cutout("w", wide)), frame(wide, 32))


def test_an_upright_picture_is_the_same_from_all_sides() -> None:
    pixels = read_cutout(EXAMPLE, Stretch()).pixels
    upright = PREPROCESSING.model_copy(update={"upright": True})
    views = [np.rot90(each, quarter).copy() for each in (pixels, pixels[:, ::-1]) for quarter in range(4)]
    shown = [upright.pixels(Cutout("x", view)).astype(int) for view in views]
    assert max(np.abs(each - shown[0]).max() for each in shown) <= 2
    assert np.abs(PREPROCESSING.pixels(Cutout("x", views[1])).astype(int) - shown[0]).max() > 9


def test_how_wide_the_frame_is_matters_little() -> None:
    """The reason for framing: the same galaxy, with twice the sky around it."""
    pixels = read_cutout(EXAMPLE, Stretch()).pixels
    sky = np.random.default_rng(0).integers(pixels[:9].min(), np.median(pixels[:9]) + 8, (256, 256, 3), dtype=np.uint8)
    sky[64:192, 64:192] = pixels
    near, far = (PREPROCESSING.pixels(Cutout("g", picture)).astype(float) for picture in (pixels, sky))
    unframed = PREPROCESSING.model_copy(update={"framed": False}).pixels(Cutout("g", sky)).astype(float)
    assert np.abs(near - far).mean() < 0.5 * np.abs(near - unframed).mean()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normalised_per_band_in_the_inputs_type(dtype: torch.dtype) -> None:
    x = torch.tensor([0.6, 0.45, 0.3], dtype=dtype)[None, :, None, None].expand(2, 3, 4, 4)
    y = PREPROCESSING.normalise(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y[1, :, 2, 2], torch.tensor([1.0, 1.0, 0.0], dtype=dtype))


def test_unit_pixels_are_channels_first() -> None:
    pixels = torch.arange(2 * 4 * 5 * 3, dtype=torch.uint8).view(2, 4, 5, 3)
    x = to_unit(pixels)
    assert x.shape == (2, 3, 4, 5) and x.dtype == torch.float32
    assert x[1, 2, 3, 4] == pixels[1, 3, 4, 2] / 255


def test_preprocessing_survives_its_record() -> None:
    assert Preprocessing.model_validate_json(PREPROCESSING.model_dump_json()) == PREPROCESSING


def test_a_picture_file_keeps_its_colours(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20), (200, 100, 50)).save(tmp_path / "p.png")
    assert (read_cutout(tmp_path / "p.png", Stretch()).pixels == (200, 100, 50)).all()
