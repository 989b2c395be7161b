"""Beginning a galaxy training from ImageNet weights or another model, and the variants made for it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tolerances import assert_close
from typer.testing import CliRunner

from attn.apps.galaxy.explain import explain
from attn.apps.galaxy.export import export
from attn.apps.galaxy.model import Astroformer, AstroformerConfig, variant
from attn.apps.galaxy.predict import GalaxyPredictor
from attn.apps.galaxy.start import architecture, begin
from attn.apps.galaxy.train import Recipe, train
from attn.cli import app
from attn.core import starts
from attn.core.blocks.convolution import fold_batch_norms
from attn.core.errors import TrainingError, UsageError
from attn.core.models.folder import load_record
from attn.core.training.config import FitConfig
from attn.data_adapters.images.labelled import LabelledImages

LITE = ("lite0", "lite0-attention")
ONE = FitConfig(epochs=1)


def small(name: str = "lite0-attention") -> AstroformerConfig:
    return architecture(name, "lite0", image_size=32)


@pytest.fixture(scope="module")
def begun_run(
    tmp_path_factory: pytest.TempPathFactory, labelled: LabelledImages, recipe: Recipe
) -> tuple[Path, LabelledImages]:
    """A run of one epoch from `lite0`. Not to be changed."""
    out = tmp_path_factory.mktemp("begun") / "run"
    train(labelled, out, small(), recipe, ONE, start="lite0")
    return out, labelled


@pytest.mark.parametrize("name", LITE)
@pytest.mark.parametrize("size", [(32, 32), (75, 61), (96, 128)])
def test_lite_variants_take_any_size_and_fold(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model, x = Astroformer(variant(name, classes=5)).eval(), torch.randn(2, 3, *size)
    assert len(begin(model, "lite0")) == len([p for n, p in model.named_parameters() if n.startswith("stem.")])
    before = model(x)
    assert before.shape == (2, 5)
    assert_close(fold_batch_norms(model)(x), before, torch.bfloat16)


def test_the_start_chooses_the_variant() -> None:
    assert architecture(None, "lite0") == variant("lite0-attention")
    assert architecture("lite0", "lite0") == variant("lite0")
    assert architecture(None, None, drop_path=0.1) == variant("nano", drop_path=0.1)


def test_a_model_as_the_start_brings_its_architecture(begun_run: tuple[Path, LabelledImages]) -> None:
    folder, _ = begun_run
    own = architecture(None, str(folder), drop_path=0.2)
    assert own == AstroformerConfig(**load_record(folder).architecture).model_copy(update={"drop_path": 0.2})
    assert architecture(None, str(folder), mixer="halo:block=2").mixer == "halo:block=2"
    assert architecture("nano", str(folder)) == variant("nano")


def test_the_bundled_model_is_gone_on_with() -> None:
    config = architecture(None, "bundled")
    model = Astroformer(config)
    begin(model, "bundled")
    bundled = GalaxyPredictor.load().record
    assert config.model_dump(mode="json") == AstroformerConfig(**bundled.architecture).model_dump(mode="json")


def test_what_cannot_begin_from_it_is_told_what_can() -> None:
    with pytest.raises(UsageError, match="the variant 'nano' cannot begin from 'lite0'; these can: lite0, lite0-att"):
        architecture("nano", "lite0")
    with pytest.raises(UsageError, match="no attention that could be 'halo'"):
        architecture("lite0", "lite0", mixer="halo")
    with pytest.raises(UsageError, match="5 stages of lite0 have a stem of 112"):
        variant("lite0-attention", stem=64)


def test_a_run_begins_from_the_imagenet_weights(tmp_path: Path, labelled: LabelledImages, recipe: Recipe) -> None:
    still = replace(recipe, learning_rate=0.0)
    train(labelled, tmp_path / "run", small(), still, ONE, start="lite0")
    trained, given = load_file(tmp_path / "run" / "model.safetensors"), starts.load("lite0")
    learned = [name for name in trained if name.startswith("stem.") and name.endswith((".weight", ".bias"))]
    assert len(learned) > 50
    assert all(torch.equal(trained[name], given[name.removeprefix("stem.")]) for name in learned)


@pytest.mark.slow
def test_a_begun_model_predicts_explains_and_exports(tmp_path: Path, begun_run: tuple[Path, LabelledImages]) -> None:
    folder, labelled = begun_run
    predictor = GalaxyPredictor.load(folder)
    assert predictor.predict(labelled.read(0)).label in labelled.classes
    explanation = explain(predictor, labelled.read(0))
    assert explanation.attention.shape == (32, 32) and explanation.attention.mean() == pytest.approx(1, abs=0.1)
    assert np.isfinite(explanation.occlusion).all()
    assert export(predictor, tmp_path / "model.onnx") < 1e-4


def test_without_attention_there_is_no_map_of_it(
    labelled: LabelledImages, begun_run: tuple[Path, LabelledImages]
) -> None:
    record = load_record(begun_run[0])
    plain = GalaxyPredictor(Astroformer(small("lite0").model_copy(update={"classes": 3})), record)
    with pytest.raises(UsageError, match="no attention"):
        explain(plain, labelled.read(0))


def test_a_run_is_resumed_from_its_start_only(
    tmp_path: Path, labelled: LabelledImages, recipe: Recipe, begun_run: tuple[Path, LabelledImages]
) -> None:
    with pytest.raises(TrainingError, match="started with start = lite0, now it is absent"):
        train(labelled, begun_run[0], small(), recipe, FitConfig(epochs=2), resume=True)


def test_the_command_of_the_readme(tmp_path: Path, labelled_table: Path) -> None:
    command = ["galaxy", "train", str(labelled_table), "--label", "kind", "--start", "lite0", "--epochs", "1"]
    settings = ["--size", "32", "--batch-size", "8", "--json"]
    done = CliRunner().invoke(app, [*command, *settings, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["architecture"]["lite0"] == 5
    refused = CliRunner().invoke(app, [*command, *settings, "--variant", "nano", "--out", str(tmp_path / "other")])
    assert isinstance(refused.exception, UsageError) or refused.exit_code == 2
    assert not (tmp_path / "other").exists()
