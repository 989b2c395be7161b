"""ONNX: the file, fed with its own past as its metadata says, gives what PyTorch gives for the whole sequence."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from music_fixtures import tiny_generator

from attn.apps.music.export import export
from attn.apps.music.styles import Chorale, Piano
from attn.core.errors import UsageError

# Tables and blocks that 40 tokens leave behind; with the tokens that each sees of the past.
MODELS = {
    "softmax": (Piano(), {"mixer": "softmax", "depth": 1}, lambda t: t),
    "relative": (Piano(), {"mixer": "relative", "length": 16, "depth": 1}, lambda t: t),
    "relative_local": (Piano(), {"mixer": "relative_local:block=4", "depth": 1}, lambda t: min(t, 4 + t % 4)),
    "relative_places": (Chorale(), {"mixer": "relative_places+relative:clip=true", "length": 16}, lambda t: t),
}


# The two that ship are exported each time; the others take as long and differ less.
SHIPPED = {"relative_local", "relative_places"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in SHIPPED else pytest.mark.slow) for name in MODELS]
)
def test_the_file_alone_decodes_as_the_model_reads_a_whole_sequence(name, tmp_path):
    style, settings, seen = MODELS[name]
    generator = tiny_generator(style, **settings)
    answer = export(generator, tmp_path / "step.onnx")
    assert 0 < answer.pop("largest_difference") < 1e-4
    assert answer == {"steps": 40, "batches": [1, 3]}

    session = onnxruntime.InferenceSession(tmp_path / "step.onnx")
    config = generator.model.config
    ids_bl = torch.randint(config.vocabulary, (2, 24), generator=torch.Generator().manual_seed(1))
    keys = values = np.zeros((config.depth, 2, config.heads, 0, config.width // config.heads), np.float32)
    coordinates = {"past_coordinates": np.zeros((2, 0, 2), np.int64)} if name == "relative_places" else {}
    logits = []
    for position, ids_b in enumerate(ids_bl.numpy().T):
        first = keys.shape[3] - seen(position)
        past = {"past_keys": keys[..., first:, :], "past_values": values[..., first:, :]} | coordinates
        inputs = {"ids": ids_b[:, None], "position": np.array(position)} | past
        logits_bv, keys, values, *more = session.run(None, inputs)
        coordinates = dict(zip(coordinates, more, strict=True))
        logits.append(logits_bv)
    with torch.no_grad():
        expected_blv = generator.model(ids_bl).numpy()
    np.testing.assert_allclose(np.stack(logits, 1), expected_blv, atol=1e-4)

    model = onnx.load(tmp_path / "step.onnx")
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert (metadata["app"], metadata["model"], metadata["first_id"]) == ("music", "tiny", "1")
    assert json.loads(metadata["style"]) == style.model_dump(mode="json")
    assert ("4 + position % 4" in metadata["past"]) == (name == "relative_local")


@pytest.mark.slow
def test_an_accompaniment_is_decoded_beside_a_melody_that_was_read_once(tmp_path):
    style = Chorale()
    generator = tiny_generator(style, source_vocabulary=style.size)
    assert 0 < export(generator, tmp_path / "four.onnx")["largest_difference"] < 1e-4
    melody, step = (onnxruntime.InferenceSession(tmp_path / f"four{name}.onnx") for name in ("-melody", ""))
    config = generator.model.config
    random = torch.Generator().manual_seed(2)
    ids_bl, source_bs = (torch.randint(3, style.size, (3, count), generator=random) for count in (20, 5))
    source_bs[1, 3:] = 0
    memory = dict(
        zip((o.name for o in melody.get_outputs()), melody.run(None, {"source": source_bs.numpy()}), strict=True)
    )
    keys = values = np.zeros((config.depth, 3, config.heads, 0, config.width // config.heads), np.float32)
    logits = []
    for position, ids_b in enumerate(ids_bl.numpy().T):
        inputs = {"ids": ids_b[:, None], "position": np.array(position), "past_keys": keys, "past_values": values}
        logits_bv, keys, values = step.run(None, inputs | memory)
        logits.append(logits_bv)
    with torch.no_grad():
        np.testing.assert_allclose(np.stack(logits, 1), generator.model(ids_bl, source_bs).numpy(), atol=1e-4)


def test_what_cannot_be_written_is_said_in_a_sentence_and_leaves_no_file(tmp_path):
    looking = tiny_generator(Chorale(), source_vocabulary=Chorale().size, mixer="relative_places")
    with pytest.raises(UsageError, match="looks at coordinates"):
        export(looking, tmp_path / "step.onnx")
    mixed = tiny_generator(Piano(), mixer="softmax+relative_local")
    with pytest.raises(UsageError, match="different parts of the past"):
        export(mixed, tmp_path / "step.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mixer", ["routing", "large_kernel", "axial", "deconstructed:variant=random"])
def test_a_mechanism_that_keeps_more_than_keys_and_values_is_not_exported(mixer, tmp_path):
    with pytest.raises(UsageError, match=f"the mixer '{mixer}' is not exported; choose mixers that step with keys"):
        export(tiny_generator(Piano(), mixer=mixer), tmp_path / "m.onnx")
    assert not [*tmp_path.iterdir()]
