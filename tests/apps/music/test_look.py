"""What `attn look` is given of a music model: the likelihood of `attn music evaluate`, and where its tokens lie."""

from pathlib import Path

import numpy as np
import pytest

from attn.apps.music.corpus import Piece
from attn.apps.music.likelihood import surprise
from attn.apps.music.look import probe, style_layout
from attn.apps.music.predict import BUNDLED_MODELS, load_model
from attn.apps.music.styles import EDGE, Chorale, stored_style
from attn.look.sites import find_sites

MELODY = Path(__file__).parents[3] / "examples" / "melody.mid"


@pytest.mark.parametrize("name", ["chorale", "accompany"])
def test_the_answers_have_the_likelihood_of_the_piece(name: str) -> None:
    looked = probe(BUNDLED_MODELS / name, "cpu")
    (batch,) = looked.examples([str(MELODY)])
    assert batch.targets_br is not None
    nll = -float(looked.answer(batch).gather(-1, batch.targets_br[..., None]).sum())
    model, record = load_model(None, name)
    style = stored_style(record.preprocessing)
    ids_l = style.read(MELODY)[: batch.args[0].shape[1]]
    (expected,) = surprise(model, style, [Piece("x", [ids_l])], length=1024, stride=512)
    assert (nll, batch.targets_br.numel()) == (pytest.approx(expected.nll, rel=1e-4), expected.tokens)
    sites = find_sites(looked, batch)
    with_layout = [site.name for site in sites if batch.layout(site.name, site.tokens) is not None]
    assert with_layout == [site.name for site in sites if not site.name.endswith("cross")]


def test_a_chorale_counts_struck_notes_and_bars() -> None:
    style = Chorale()
    grid_tv = np.array([[72, 67, 60, 48]] * 16 + [[72, 69, 60, 48]])  # one bar held, then the alto moves
    layout = style_layout(style, np.concatenate([[EDGE], style.encode(grid_tv)]))
    assert layout.tokens[0] == "the edge" and layout.tokens[65:67] == (
        "bar 2, sixteenth 1, Soprano",
        "bar 2, sixteenth 1, Alto",
    )
    notes, bars = layout.scales
    back = {scale.name: [scale.labels[scale.number_nn[66, key]] for key in (66, 65, 5, 1)] for scale in (notes, bars)}
    assert back == {"notes": ["0", "1", "1", "3-4"], "bars": ["0", "0", "1", "1"]}
