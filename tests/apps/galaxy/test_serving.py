"""The exported script gives the labels of `predict`, without torch and attn."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from attn.apps.galaxy.export import export
from attn.apps.galaxy.predict import GalaxyPredictor
from attn.apps.galaxy.serving import score
from attn.core.errors import UsageError
from attn.data_adapters.sky import band_cards
from attn.data_adapters.sky.fits import CUTOUT_MAX_SIDE
from attn.data_adapters.sky.stretch import Stretch, render

# Modules that a machine with the script alone does not have.
WITHOUT = "import sys, runpy; sys.modules |= dict.fromkeys(('attn', 'torch', 'polars', 'pydantic')); "
RUN = WITHOUT + "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"


def galaxy(seed: int, bands: int, side: int = 70) -> np.ndarray:
    """Counts (side, side + 9, bands): an inclined disc of another size and colour for each seed, and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((side, side + 9)) - side / 2
    disc = np.exp(-np.hypot(x, y * rng.uniform(1, 3)) / rng.uniform(2, 9))[:, :, None]
    return 1000 + disc * rng.uniform(20, 3000, bands) + rng.normal(0, 3, (*disc.shape[:2], bands))


def written(path: Path, data: np.ndarray) -> Path:
    fits.writeto(path, data)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("drawn")
    for seed in range(18):
        bands = (1, 3, 3)[seed % 3]
        cube = np.moveaxis(galaxy(seed, bands), 2, 0)
        cube = cube.astype((np.float32, ">i2", np.float64)[seed // 3 % 3])
        fits.writeto(folder / f"{seed:02}.fits", cube[0] if bands == 1 else cube)
    for seed in range(8):
        shown = np.clip(galaxy(seed, 3) / 8 - 100, 0, 255).astype(np.uint8)
        Image.fromarray(shown if seed % 2 else shown[:, :, 0]).save(folder / f"{seed}.{('png', 'jpg')[seed // 4]}")
    (folder / "z.txt.fits").write_text("no image")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("model", ["bundled", "micro"])
def test_the_script_gives_the_answers_of_predict(
    model: str, files: list[Path], micro_model: Path, tmp_path: Path
) -> None:
    predictor = GalaxyPredictor.load(None if model == "bundled" else micro_model)
    export(predictor, tmp_path / "served")
    command = [sys.executable, "-c", RUN, str(tmp_path / "served" / "score.py"), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr  # for the file that is no image
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    for row, answer in zip(rows, predictor.predict_many(files), strict=True):
        assert row["id"] == answer.id and ("error" in row) == (answer.error is not None)
        if answer.error is None:
            assert row["label"] == answer.label
            assert [row[f"p_{label}"] for label in predictor.labels] == pytest.approx(
                [answer.probabilities[label] for label in predictor.labels], abs=2e-3
            )


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("kind", ["lupton", "asinh"])
@pytest.mark.parametrize("change", [lambda x: x, np.rint, lambda x: 1e6 * x, lambda x: np.where(x > 1020, x, 1000)])
def test_its_stretch_is_that_of_attn(kind: str, bands: int, change: object) -> None:
    stretch = Stretch(kind=kind)
    data = change(galaxy(3, bands))
    ours, theirs = render(data, stretch)[0].astype(int), score.render(data, stretch.model_dump()).astype(int)
    assert np.abs(ours - theirs).max() <= 1 and (ours != theirs).mean() < 1e-3


def test_display_values_are_left_alone() -> None:
    data = galaxy(0, 3).clip(0, 255).astype(np.uint8)
    assert np.array_equal(score.render(data, Stretch().model_dump()), render(data, Stretch())[0])


@pytest.mark.parametrize(
    ("card", "extension", "said"),
    [("BANDS", None, "BANDS names its bands; attn puts them in order"), (None, "MASK", "2 images .* attn tells masks")],
)
def test_what_needs_attn_is_an_error(card: str | None, extension: str | None, said: str, tmp_path: Path) -> None:
    hdus = fits.HDUList([fits.PrimaryHDU(np.moveaxis(galaxy(0, 3), 2, 0))])
    if card:
        hdus[0].header[card] = "grz"
    if extension:
        hdus.append(fits.ImageHDU(np.zeros((70, 79), np.uint8), name=extension))
    hdus.writeto(tmp_path / "x.fits")
    with pytest.raises(ValueError, match=said):
        score.read(tmp_path / "x.fits", Stretch().model_dump())


@pytest.mark.parametrize("key", ["BAND", "PLANE0", "BAND_1", "COLOR1", "WAVELEN1", "LAMBDA1", "CTYPE3"])
def test_a_card_with_the_bands_of_planes_needs_attn(key: str, tmp_path: Path) -> None:
    fits.writeto(tmp_path / "x.fits", np.moveaxis(galaxy(0, 3), 2, 0), fits.Header({key: "g"}))
    with pytest.raises(ValueError, match=f"{key} names its bands"):
        score.read(tmp_path / "x.fits", Stretch().model_dump())


def test_the_script_knows_the_cards_of_attn() -> None:
    numbered = [f"{key}{k}" for key in (*band_cards.NUMBERED, *band_cards.NUMBERED_WAVELENGTHS) for k in (0, 1, 10)]
    assert all(score.BANDS.fullmatch(key) for key in (*band_cards.LISTS, *numbered))
    assert score.LARGEST == CUTOUT_MAX_SIDE


@pytest.mark.parametrize("value", [-999.0, 1e30])
def test_a_fill_needs_attn(value: float, tmp_path: Path) -> None:
    data = galaxy(0, 1)[:, :, 0]
    score.read(written(tmp_path / "good.fits", data), Stretch().model_dump())
    data[20:24, 3:8] = value
    with pytest.raises(ValueError, match="far from all others; attn fills them"):
        score.read(written(tmp_path / "x.fits", data), Stretch().model_dump())


def test_a_border_of_zeros_needs_attn(tmp_path: Path) -> None:
    data = galaxy(0, 1)[:, :, 0] - 985  # sky of 15, noise of 3
    data[:, :4] = 0
    with pytest.raises(ValueError, match="attn fills them"):
        score.read(written(tmp_path / "x.fits", data), Stretch().model_dump())


def test_a_large_image_and_a_map_need_attn(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1030 x 8 pixels; attn finds"):
        score.read(written(tmp_path / "x.fits", np.zeros((8, 1030), np.uint8)), Stretch().model_dump())
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(galaxy(0, 1)[:, :, 0], name="WHT")]).writeto(tmp_path / "y.fits")
    with pytest.raises(ValueError, match="called WHT; attn tells images from maps"):
        score.read(tmp_path / "y.fits", Stretch().model_dump())


def test_a_file_is_no_folder(micro_model: Path, tmp_path: Path) -> None:
    (tmp_path / "served").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        export(GalaxyPredictor.load(micro_model), tmp_path / "served")
