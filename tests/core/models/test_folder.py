"""Model folders: what is saved comes back, no file of the user is overwritten, weights are those of the record."""

import json
from pathlib import Path

import pytest
import torch
from core.models.saved import edit, record, state

from attn.core.errors import ModelError, UsageError
from attn.core.models.folder import ModelRecord, load_record, load_state, save


def test_round_trip(folder: Path) -> None:
    loaded = load_state(folder, load_record(folder))
    assert loaded.keys() == state().keys()
    for name, tensor in state().items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)
    back = load_record(folder)
    assert back.metrics["auc"] is None
    assert back.model_dump(exclude={"metrics", "versions", "weights", "files"}) == record().model_dump(
        exclude={"metrics", "versions", "weights", "files"}
    )


def test_save_fills_in_versions_and_counts(folder: Path) -> None:
    back = load_record(folder)
    assert back.versions["torch"] == torch.__version__
    assert back.versions.keys() == {"attn", "torch", "python"}
    assert back.weights == {"tensors": 4, "parameters": 30, "bytes": 12 * 4 + 5 * 2 + 8 + 12 * 4}


def test_folder_holds_the_three_files_only(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "model.json", "model.safetensors"]


def test_saving_again_replaces(folder: Path) -> None:
    save(folder, {"weight": torch.ones(2)}, record(name="second"))
    assert load_record(folder).name == "second"
    assert load_state(folder, load_record(folder))["weight"].tolist() == [1, 1]


def test_tensors_that_share_memory(tmp_path: Path) -> None:
    tied = torch.arange(6.0)
    save(tmp_path, {"a": tied, "b": tied, "part": tied[2:4]}, record())
    loaded = load_state(tmp_path)
    assert loaded["b"].tolist() == tied.tolist()
    assert loaded["part"].tolist() == [2, 3]


def test_truncated_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for length in (0, 5, 40, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="copy the model again"):
            load_state(folder)


def test_hostile_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    huge = {"x": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}
    for header in (huge, {"x": 3}, {"x": {"data_offsets": ["a", "b"]}}, [1], "x"):
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text)
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            load_state(folder)
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_state(folder)


def test_shape_that_disagrees_with_its_bytes(folder: Path) -> None:
    text = json.dumps({"x": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_state(folder)


def test_weights_of_another_model(folder: Path, tmp_path: Path) -> None:
    save(tmp_path / "other", {"weight": torch.zeros(3)}, record())
    edit(folder, files={})  # as of an older version, which had no hash
    (folder / "model.safetensors").write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match=r"holds 3 parameters in 1 tensors.*30 in 4"):
        load_state(folder, load_record(folder))


def test_missing_weights_say_what_is_there(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"it holds README\.md, model\.json"):
        load_state(folder)


def test_who_may_read_the_folder_may_read_the_weights(tmp_path: Path) -> None:
    save(tmp_path, {"w": torch.ones(2)}, ModelRecord(app="galaxy", name="n", architecture={}, labels=["a"]))
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == tmp_path.stat().st_mode & 0o666


def test_record_names_its_files_and_binds_them(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save(folder, state(), record(), {"words.txt": lambda path: path.write_text("one two")})
    assert load_record(folder).files.keys() == {"model.safetensors", "words.txt", "README.md"}
    (folder / "README.md").write_text("edited")  # as people do
    load_state(folder, load_record(folder))
    (folder / "words.txt").write_text("one too")
    with pytest.raises(ModelError, match=r"words\.txt: is not the file that model\.json was written with"):
        load_state(folder, load_record(folder))
    (folder / "words.txt").unlink()
    with pytest.raises(ModelError, match=r"words\.txt: is missing"):
        load_state(folder, load_record(folder))


@pytest.mark.parametrize("kept", ["model.safetensors", "model.json"])
def test_half_of_a_saved_model_is_noticed(folder: Path, kept: str) -> None:
    """A kill between the two files, whichever comes first; the number of parameters is the same."""
    before = (folder / kept).read_bytes()
    save(folder, {name: tensor + 1 for name, tensor in state().items()}, record())
    (folder / kept).write_bytes(before)
    with pytest.raises(ModelError, match=r"is not the file that model\.json was written with") as caught:
        load_state(folder, load_record(folder))
    assert "interrupted" in str(caught.value) and "\n" not in str(caught.value)


def test_nothing_is_replaced_unless_all_is_written(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        save(folder, {"weight": torch.ones(2)}, record(name="second"), {"words.txt": fail})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_readme_of_the_user_is_never_overwritten(tmp_path: Path, folder: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "README.md").write_text("my project")
    with pytest.raises(UsageError, match=r"mine: holds a README\.md that attn did not write; give a new"):
        save(mine, state(), record())
    (folder / "README.md").write_text("my notes")
    with pytest.raises(UsageError, match=r"README\.md: is not as attn wrote it; move it away"):
        save(folder, state(), record())
    edit(folder, files={})
    with pytest.raises(UsageError, match=r"README\.md: is not as attn wrote it"):
        save(folder, state(), record())
    assert [path.read_text() for path in (mine / "README.md", folder / "README.md")] == ["my project", "my notes"]
    assert [path.name for path in mine.iterdir()] == ["README.md"]
