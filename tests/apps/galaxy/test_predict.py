"""The predictor: order, bad inputs, symmetries, streams, and what it says of a model that is not one."""

import json
import subprocess
import sys
from itertools import count, islice

import numpy as np
import pytest
import torch
from astropy.io import fits
from PIL import Image

from attn.apps.galaxy.predict import GalaxyPredictor
from attn.apps.galaxy.preprocess import symmetries
from attn.core.errors import InputError, ModelError


@pytest.fixture(scope="module")
def predictor(micro_model) -> GalaxyPredictor:
    return GalaxyPredictor.load(micro_model)


def disc(side: int = 48, seed: int = 0) -> np.ndarray:
    """A flattened disc on noise, as counts (H, W)."""
    y, x = np.indices((side, side)) - side / 2
    noise = np.random.default_rng(seed).normal(0, 1, (side, side))
    return (200 * np.exp(-np.hypot(x, 2 * y) / 6) + noise).astype(np.float32)


def test_order_is_kept_and_bad_inputs_are_rows(predictor, tmp_path):
    fits.writeto(tmp_path / "a.fits", disc())
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(tmp_path / "b.png")
    (tmp_path / "c.fits").write_text("<html>")
    inputs = [
        tmp_path / "a.fits",
        tmp_path / "c.fits",
        tmp_path / "b.png",
        disc(),
        InputError("off the image", where="source 7"),
        tmp_path / "absent.fits",
        np.zeros((3, 3, 7)),
    ]
    rows = list(predictor.predict_many(inputs, batch_size=2))
    assert [row.id for row in rows] == [*map(str, inputs[:3]), "array 3", "source 7", str(inputs[5]), "array 6"]
    assert [row.error is None for row in rows] == [True, False, True, True, False, False, False]
    assert all(sum(row.probabilities.values()) == pytest.approx(1) for row in rows if row.error is None)
    assert "off the image" in rows[4].error


def test_batches_do_not_change_the_answer(predictor):
    arrays = [disc(seed=seed) for seed in range(7)]
    one = [predictor.predict(array).probabilities for array in arrays]
    many = [row.probabilities for row in predictor.predict_many(arrays, batch_size=3)]
    for a, b in zip(one, many, strict=True):
        assert a == pytest.approx(b, abs=1e-5)


def test_a_stream_without_end_is_read_as_far_as_it_is_asked_for(predictor):
    read = count()
    endless = (disc(seed=next(read)) for _ in iter(int, 1))
    assert len(list(islice(predictor.predict_many(endless, batch_size=4), 5))) == 5
    assert next(read) < 40


def test_the_eight_symmetries_are_a_group():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    images = {tuple(view.flatten().tolist()) for view in symmetries(x)}
    assert len(images) == 8
    for view in symmetries(x):
        assert {tuple(again.flatten().tolist()) for again in symmetries(view)} == images


def test_averaging_over_symmetries_makes_orientation_irrelevant(predictor):
    side = predictor.preprocessing.side
    x = torch.rand(1, 3, side, side)
    plain = [predictor.log_probabilities(view) for view in symmetries(x)]
    assert max((a - plain[0]).abs().max() for a in plain) > 1e-4
    averaged = [predictor.log_probabilities(view, tta=True) for view in symmetries(x)]
    for again in averaged[1:]:
        torch.testing.assert_close(again, averaged[0], atol=1e-5, rtol=1e-5)


def test_one_file_per_band(predictor, tmp_path):
    for band, factor in zip("gri", (1, 2, 3), strict=True):
        fits.writeto(tmp_path / f"{band}.fits", factor * disc(), fits.Header({"FILTER": band}))
    paths = tuple(tmp_path / f"{band}.fits" for band in "gri")
    cube = np.stack([3 * disc(), 2 * disc(), disc()], axis=2)  # red to blue
    assert predictor.predict(paths).probabilities == pytest.approx(predictor.predict(cube).probabilities, abs=1e-5)


def test_grey_arrays_of_display_pixels_are_taken_as_they_are(predictor):
    grey = np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)
    colour = np.repeat(grey[:, :, None], 3, axis=2)
    assert predictor.predict(grey).probabilities == predictor.predict(colour).probabilities


def test_holes_in_an_array_are_filled_and_flagged(predictor):
    holed = disc()
    holed[:4] = np.nan
    assert any(flag.startswith("nan_filled") for flag in predictor.predict(holed).flags)


def test_embeddings_have_the_width_of_the_head(predictor):
    row = next(iter(predictor.predict_many([disc()], embeddings=True)))
    assert row.embedding.shape == (predictor.model.config.head,)
    assert np.abs(row.embedding).max() <= 1


def test_what_is_not_a_galaxy_model_says_so(micro_model, tmp_path):
    record = json.loads((micro_model / "model.json").read_text())
    for name in ("model.safetensors", "README.md"):
        (tmp_path / name).write_bytes((micro_model / name).read_bytes())
    (tmp_path / "model.json").write_text(json.dumps(record | {"app": "chest"}))
    with pytest.raises(ModelError, match="chest"):
        GalaxyPredictor.load(tmp_path)
    wide = record["architecture"] | {"head": 24}
    (tmp_path / "model.json").write_text(json.dumps(record | {"architecture": wide}))
    with pytest.raises(ModelError, match="does not fit"):
        GalaxyPredictor.load(tmp_path)
    with pytest.raises(ModelError):
        GalaxyPredictor.load(tmp_path / "absent")


def test_a_picture_is_classified_without_the_libraries_that_it_does_not_need(tmp_path):
    """Their import was a third of the time of a call: torch's compiler for weights of no memory, astropy, h5py, sep."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "x.png")
    code = (
        "import sys; from attn import GalaxyPredictor; GalaxyPredictor.load(device='cpu').predict(sys.argv[1]); "
        "print([name for name in ('sympy', 'torch._dynamo', 'astropy', 'h5py', 'sep') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.png")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_of_an_empty_sky_nothing_is_certain(predictor):
    sky = np.random.default_rng(0).normal(10, 1, (48, 48)).astype(np.float32)
    empty, galaxy = predictor.predict_many([sky, disc()])
    assert "empty" in empty.flags and empty.uncertainty == 1
    assert "empty" not in galaxy.flags and galaxy.uncertainty < 1
