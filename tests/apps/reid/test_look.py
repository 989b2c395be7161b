"""What `attn look` is given of a model of individuals: its own probabilities, a class token and patches."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from attn.apps.reid.look import probe
from attn.apps.reid.model import DCAL
from attn.apps.reid.predict import BUNDLED_MODEL
from attn.apps.reid.preprocess import Preprocessing
from attn.apps.reid.variants import variant
from attn.core.models import folder
from attn.core.models.record import ModelRecord
from attn.look.looking import cannot, look
from attn.look.sites import find_sites


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("pictures")
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(place / f"{seed}.png")
    return [str(place)]


def test_the_answer_is_the_models_and_all_layers_have_a_layout(tmp_path: Path, pictures: list[str]) -> None:
    config = variant("smallest", classes=5)
    record = ModelRecord(
        app="reid", verb="search", name="m", labels=[], architecture=config.model_dump(mode="json"),
        preprocessing=Preprocessing(size=(32, 32)).model_dump(mode="json"),
    )  # fmt: skip
    torch.manual_seed(0)
    folder.save(tmp_path / "m", DCAL(config).state_dict(), record)
    looked = probe(tmp_path / "m", "cpu")
    (batch,) = looked.examples(pictures)
    (x_b3st,) = batch.args
    torch.testing.assert_close(
        looked.answer(batch)[:, 0].exp(), looked.network.probabilities(x_b3st).double(), atol=1e-6, rtol=1e-5
    )
    sites = find_sites(looked, batch)
    assert [site.name for site in sites] == ["vit.blocks.0.mixer", "vit.blocks.1.mixer", "local.mixer"]
    layouts = [batch.layout(site.name, site.tokens) for site in sites]
    assert all(each is not None and each.grid == (4, 4) and each.before == 1 for each in layouts)
    report, figures = look(looked, pictures)
    assert len(report["heads"]) == 6 and len(figures) == 4
    rings = [sum(ring["share"] for ring in row["distance"]["rings"].values()) for row in report["heads"]]
    assert all(0 < each <= 1 + 1e-9 for each in rings)  # the class token has no distance


def test_the_bundled_model_has_no_attention_and_says_so(pictures: list[str]) -> None:
    looked = probe(BUNDLED_MODEL, "cpu")
    (batch,) = looked.examples(pictures)
    assert find_sites(looked, batch) == [] and "so that only what it answers can be said" in cannot(looked)
