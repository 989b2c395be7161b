"""Records and weights of attn 0.1: the bundled chorale model as it was written, and more forms than it has."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from attn.apps.music import predict
from attn.apps.music.model import MusicConfig
from attn.apps.music.older import old_settings, old_tensor
from attn.apps.music.predict import load_model

BUNDLED = Path(predict.__file__).with_name("weights")
OLD_MIXERS = {"mixer": "relative", "mixer_options": {}, "first_mixer": "relative_pitch_time"}


def test_the_chorale_model_of_then_has_its_first_layer_under_todays_name(tmp_path):
    folder = shutil.copytree(BUNDLED / "chorale", tmp_path / "chorale")
    record = json.loads((folder / "model.json").read_text())
    record["architecture"] |= OLD_MIXERS
    (folder / "model.json").write_text(json.dumps(record))
    assert "blocks.0.mixer.pitch_table" in load_file(folder / "model.safetensors"), "else this tests nothing"
    model, _ = load_model(folder, "chorale")
    assert model.config.mixer == "relative_places+relative+relative+relative"
    assert model.config == load_model(None, "chorale")[0].config
    mixer = model.layers[0].mixer
    assert (mixer.config.max_along, mixer.config.max_across) == (128, 64)
    assert mixer.along_table.abs().sum() > 0 and mixer.across_table.abs().sum() > 0


@pytest.mark.parametrize(
    ("old", "today"),
    [
        ({"mixer": "relative_local", "mixer_options": {"block": 256}}, "relative_local:block=256"),
        ({"mixer": "relative", "mixer_options": {}, "first_mixer": None}, "relative"),
        ({"first_mixer": "relative_pitch_time", "depth": 2}, "relative_places+relative"),
        (
            {"mixer": "relative_pitch_time", "mixer_options": {"max_pitch": 12, "max_time": 6}},
            "relative_places:max_across=12,max_along=6",
        ),
        (
            {"mixer": "relative", "mixer_options": {"clip": True}, "first_mixer": "softmax", "depth": 3},
            "softmax+relative:clip=true+relative:clip=true",
        ),
        (
            {"mixer": "relative", "mixer_options": {"clip": True}, "first_mixer": "relative", "depth": 2},
            "relative:clip=true+relative:clip=true",
        ),
    ],
)
def test_three_settings_are_one(old, today):
    config = MusicConfig(vocabulary=20, **old)
    assert config.mixer == today
    assert MusicConfig.model_validate(config.model_dump()) == config
    assert old_settings(config.model_dump()) == config.model_dump(), "today's records stay as they are"


def test_names_of_tensors():
    assert old_tensor("blocks.0.mixer.pitch_table") == "blocks.0.mixer.across_table"
    assert old_tensor("blocks.0.mixer.time_table") == "blocks.0.mixer.along_table"
    assert old_tensor("blocks.0.mixer.table") == "blocks.0.mixer.table"
