"""Model folders that a stranger wrote: every damaged record, file of weights and vocabulary, loaded and used.

The targets share the number of inputs among them.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ctr_fixtures import click_log
from fuzz.mutate import fuzz, json_mutants, mutants
from galaxy_fixtures import galaxy, micro_config
from music_fixtures import record_of, tiny_model

from attn.apps.ctr.data import open_clicks, prepare
from attn.apps.ctr.folder import VOCABULARY, save_model
from attn.apps.ctr.model import AutoInt, configure, preset_named
from attn.apps.ctr.predict import CTRPredictor
from attn.apps.galaxy.model import Astroformer
from attn.apps.galaxy.predict import GalaxyPredictor
from attn.apps.galaxy.preprocess import Preprocessing
from attn.apps.music.predict import MusicGenerator
from attn.apps.music.styles import Chorale, Piano
from attn.core.models.folder import ModelRecord, save

RECORD, WEIGHTS = "model.json", "model.safetensors"
ROW = {"user_id": 101, "site": "s1", "price": 2.5, "tags": "jazz|news", "at": "2024-05-02 18:00:00"}
Made = tuple[Path, Callable[[Path], object]]


def galaxy_model(folder: Path) -> Made:
    config = micro_config(classes=3)
    record = ModelRecord(
        app="galaxy",
        name="micro",
        architecture=config.model_dump(mode="json"),
        labels=["disc", "ring", "round"],
        preprocessing=Preprocessing(side=32, mean=(0.1, 0.2, 0.3), std=(0.1, 0.2, 0.3)).model_dump(mode="json"),
        calibration={"temperature": 0.7, "fitted_on": 12},
        data={"held_out": ["a.png", "b.png"], "sha256": "ab"},
        metrics={"ece": 0.1},
    )
    save(folder, Astroformer(config).state_dict(), record)
    picture = galaxy("disc", 1)

    def use(changed: Path) -> None:
        answer = GalaxyPredictor.load(changed, device="cpu").predict(picture)
        assert answer.error or sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-4)

    return folder, use


def piano_model(folder: Path) -> Made:
    model = tiny_model(Piano(low=60, high=71), mixer="relative_local", mixer_options={"block": 16})
    save(folder, model.state_dict(), record_of(model, Piano(low=60, high=71)))
    return folder, lambda changed: listened(changed, "piano")


def chorale_model(folder: Path) -> Made:
    model = tiny_model(Chorale(), source_vocabulary=Chorale().size)
    record = record_of(model, Chorale()).model_copy(update={"metrics": {"context": 128}})
    save(folder, model.state_dict(), record)
    return folder, lambda changed: listened(changed, "accompany")


def listened(folder: Path, bundled: str) -> None:
    generator = MusicGenerator.load(folder, bundled=bundled, device="cpu")
    ids = torch.full((1, 6), generator.style.size - 1)
    with torch.inference_mode():
        generator.model(ids, ids if generator.accompanies else None)
    assert generator.context >= 2 and len(generator.style.notes(ids[0].numpy())) >= 0


def click_model(folder: Path) -> Made:
    folder.mkdir()
    click_log(300).write_parquet(folder / "clicks.parquet")
    with prepare(open_clicks(folder / "clicks.parquet", label="click"), folder) as data:
        settings = preset_named("official") | {"embedding": 4, "widths": (4, 4), "heads": 2, "dnn": (3,)}
        config = configure(data.codebook, **settings)
        record = ModelRecord(
            app="ctr",
            name="micro",
            architecture=config.model_dump(mode="json"),
            labels=["not click", "click"],
            preprocessing={"label": "click", "columns": list(data.columns), **data.codebook.described()},
            calibration={"slope": 0.9, "intercept": 0.1},
        )
        save_model(folder / "model", AutoInt(config).state_dict(), record, data.codebook)

    def use(changed: Path) -> None:
        predictor = CTRPredictor.load(changed)
        answers = list(predictor.predict_many([ROW, ROW | {"price": None, "site": "new"}, {}]))
        assert all(answer.error or 0 <= answer.probabilities[predictor.labels[1]] <= 1 for answer in answers)

    return folder / "model", use


MODELS = {"galaxy": galaxy_model, "piano": piano_model, "chorale": chorale_model, "ctr": click_model}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """An untrained model of each kind and what uses it; made once."""
    kept: dict[str, Made] = {}

    def make(name: str) -> Made:
        if name not in kept:
            torch.manual_seed(0)
            kept[name] = MODELS[name](tmp_path_factory.mktemp("models") / name)
        return kept[name]

    return make


def rewritten(folder: Path, document: Any) -> Path:
    (folder / RECORD).write_text(json.dumps(document))
    return folder


def unhashed(good: Path, to: Path) -> Path:
    """A copy whose record knows no hashes, as records of older versions."""
    return rewritten(Path(shutil.copytree(good, to)), json.loads((good / RECORD).read_text()) | {"files": {}})


@pytest.mark.parametrize("name", MODELS)
def test_records(made: Callable[[str], Made], name: str, tmp_path: Path, fuzz_count: int) -> None:
    good, use = made(name)
    folder = Path(shutil.copytree(good, tmp_path / "model"))
    document = json.loads((good / RECORD).read_text())
    document.pop("versions")
    use(rewritten(folder, document))
    inputs = json_mutants(document, fuzz_count // 8, f"record of {name}")
    outcomes = fuzz(lambda changed: use(rewritten(folder, changed)), inputs)
    assert outcomes["ModelError"]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("file", [RECORD, WEIGHTS, VOCABULARY])
def test_files(made: Callable[[str], Made], name: str, file: str, tmp_path: Path, fuzz_count: int) -> None:
    """The bytes of each."""
    good, use = made(name)
    if not (good / file).exists():
        pytest.skip("only click models have a vocabulary")
    folder = unhashed(good, tmp_path / "model")
    seeds = [(folder / file).read_bytes()]

    def read(data: bytes) -> None:
        (folder / file).write_bytes(data)
        use(folder)

    outcomes = fuzz(read, mutants(seeds, fuzz_count // 16, f"{file} of {name}"))
    assert outcomes["ModelError"]


def test_headers_of_weights(made: Callable[[str], Made], tmp_path: Path, fuzz_count: int) -> None:
    """The file's JSON header with other types, shapes and offsets, its length mended."""
    good, use = made("piano")
    folder = unhashed(good, tmp_path / "model")
    data = (good / WEIGHTS).read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")

    def read(header: Any) -> None:
        text = json.dumps(header).encode()
        (folder / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text + data[end:])
        use(folder)

    outcomes = fuzz(read, json_mutants(json.loads(data[8:end]), fuzz_count // 8, "header"))
    assert outcomes["ModelError"]
