"""What `attn look` is given of a classifier of radiographs: its own answers, and the body's smallest map as a grid."""

from pathlib import Path

import torch

from attn.apps.chest.look import probe
from attn.apps.chest.predict import BUNDLED_MODEL, ChestPredictor
from attn.look.sites import find_sites

PHANTOM = str(Path(__file__).parents[3] / "examples" / "chest_phantom.dcm")


def test_the_answer_is_the_models_and_the_layer_has_a_layout() -> None:
    looked, predictor = probe(BUNDLED_MODEL, "cpu"), ChestPredictor.load(device="cpu")
    (batch,) = looked.examples([PHANTOM])
    torch.testing.assert_close(
        looked.answer(batch)[:, 0], predictor.log_probabilities(*batch.args).double(), atol=1e-6, rtol=1e-5
    )
    (site,) = find_sites(looked, batch)
    layout = batch.layout(site.name, site.tokens)
    assert layout is not None and layout.grid == (8, 8) and batch.ids[0].endswith("chest_phantom.dcm")
