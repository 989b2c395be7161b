"""The bundled models answer as they did when `bundled_outputs.json` was written: a refactor changes no number.

A model that changes on purpose gets new answers: ATTN_UPDATE_BUNDLED=1 uv run pytest tests/test_bundled_models.py
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attn import ChestPredictor, CTRPredictor, GalaxyPredictor, MusicGenerator, ReIDPredictor
from attn.apps.music.decode import Sampling

ANSWERS = Path(__file__).with_name("bundled_outputs.json")
EXAMPLES = Path(__file__).parents[1] / "examples"
FIELDS = 8
PLAIN = Sampling()  # what the network says, whatever the style's usual sampling is


def galaxy() -> dict[str, Any]:
    """Log-probabilities of the example and of two drawn ones."""
    predictor = GalaxyPredictor.load(device="cpu")
    answer = predictor.predict(EXAMPLES / "disc_galaxy.fits")
    return {"probabilities": list(answer.probabilities.values()), "label": answer.label}


def chest() -> dict[str, Any]:
    """Probabilities and flags of the phantom."""
    answer = ChestPredictor.load(device="cpu").predict(EXAMPLES / "chest_phantom.dcm")
    return {"probabilities": list(answer.probabilities.values()), "flags": " ".join(answer.flags)}


def ctr() -> dict[str, Any]:
    """Logits of rows that a seed draws from what the model knows."""
    predictor = CTRPredictor.load(device="cpu")
    draw = np.random.default_rng(0)
    rows = [{column: str(draw.integers(1, 50)) for column in predictor.codebook.columns} for _ in range(FIELDS)]
    return {"logits": predictor.logits(predictor.codebook.encode(predictor.frame(rows))).tolist()}


def piano() -> dict[str, Any]:
    """A continuation of the example motif."""
    piece = MusicGenerator.load(device="cpu").generate(EXAMPLES / "motif.mid", seconds=8, seed=3, sampling=PLAIN)[0]
    return {"ids": piece.ids.tolist()}


def chorale() -> dict[str, Any]:
    """Two bars from nothing."""
    generator = MusicGenerator.load(bundled="chorale", device="cpu")
    return {"ids": generator.generate(bars=2, seed=1, sampling=PLAIN)[0].ids.tolist()}


def accompany() -> dict[str, Any]:
    """Three voices under the example melody."""
    generator = MusicGenerator.load(bundled="accompany", device="cpu")
    return {"ids": generator.accompany(EXAMPLES / "melody.mid", seed=1, sampling=PLAIN)[0].ids.tolist()}


def reid() -> dict[str, Any]:
    """Two drawn pictures as vectors, and their cosine."""
    predictor = ReIDPredictor.load(device="cpu")
    draw = np.random.default_rng(0)
    pictures = [np.kron(draw.integers(0, 256, (12, 16, 3)), np.ones((20, 20, 1))).astype(np.uint8) for _ in range(2)]
    vectors = predictor.embed(pictures)
    return {"vectors": vectors[:, :FIELDS].ravel().tolist(), "cosine": [predictor.similarity(*pictures)]}


@pytest.mark.parametrize("ask", [galaxy, chest, ctr, reid, piano, chorale, accompany], ids=lambda ask: ask.__name__)
def test_bundled_models_answer_as_before(ask: Any) -> None:
    answers = json.loads(ANSWERS.read_text()) if ANSWERS.exists() else {}
    now = ask()
    if os.environ.get("ATTN_UPDATE_BUNDLED"):
        ANSWERS.write_text(json.dumps(answers | {ask.__name__: now}, indent=1) + "\n")
        return
    before = answers[ask.__name__]
    assert now.keys() == before.keys()
    for name, value in before.items():
        if isinstance(value, str) or isinstance(value[0], int):
            assert now[name] == value, name
        else:
            np.testing.assert_allclose(now[name], value, rtol=1e-4, atol=1e-5)
