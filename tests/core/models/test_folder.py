"""Model folders: what is saved comes back, and every broken one is refused in one sentence."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import attn.core.models.record as model_record
from attn.core.errors import ModelError, UsageError
from attn.core.models.folder import ModelRecord, load_network, load_record, load_state, resolve, save


def record(**changes: Any) -> ModelRecord:
    values: dict[str, Any] = {
        "app": "galaxy",
        "name": "tiny-efigi",
        "architecture": {"name": "tiny", "mixer": "relative"},
        "labels": ["elliptical", "spiral"],
        "preprocessing": {"size": 64, "stretch": {"kind": "asinh"}},
        "calibration": {"temperature": 1.25},
        "metrics": {"accuracy": {"value": 0.9, "low": 0.85, "high": 0.94}, "auc": float("nan")},
        "data": {"files": 3, "hash": "ab12", "held_out": [f"PGC{i}" for i in range(50)]},
        "limits": ["Not tried on radio maps."],
        "seed": 7,
    }
    return ModelRecord(**(values | changes))


def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "weight": torch.randn(3, 4),
        "half": torch.randn(5).to(torch.bfloat16),
        "count": torch.tensor(12),
        "transposed": torch.randn(3, 4).t(),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "model", state(), record())
    return tmp_path / "model"


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


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


def test_card_tells_what_the_record_holds(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    for line in (
        "license: apache-2.0",
        "# tiny-efigi",
        "- spiral",
        "| accuracy | 0.900 | 0.850 to 0.940 |",
        "- temperature: 1.25",
        "- held out: 50 entries, listed in model.json",
        "- Not tried on radio maps.",
        "- seed: 7",
    ):
        assert line in card.splitlines()
    assert "nan" not in card


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("<html>", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "is not a JSON object"),
        ("{}", "schema_version is None"),
        ('{"schema_version": 99}', r"reads up to 2; update attn"),
        ('{"schema_version": 1}', r"app: field required, name: field required.*and 1 more"),
    ],
)
def test_broken_record_is_one_sentence(folder: Path, text: str, message: str) -> None:
    (folder / "model.json").write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        load_record(folder)
    assert str(folder / "model.json") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_unknown_key_is_named(folder: Path) -> None:
    edit(folder, temprature=2)
    with pytest.raises(ModelError, match="temprature"):
        load_record(folder)


def test_older_schema_is_migrated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def classes_became_labels(values: dict[str, Any]) -> dict[str, Any]:
        labels = values.pop("classes")
        return values | {"labels": labels}

    monkeypatch.setattr(model_record, "SCHEMA_VERSION", 3)
    monkeypatch.setitem(model_record.MIGRATIONS, 2, classes_became_labels)
    values = json.loads((folder / "model.json").read_text())
    values["classes"] = values.pop("labels")
    (folder / "model.json").write_text(json.dumps(values))
    assert load_record(folder).labels == ["elliptical", "spiral"]
    assert load_record(folder).schema_version == 3


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


def test_resolve_finds_a_folder(folder: Path) -> None:
    assert resolve(folder, "galaxy") == folder
    assert resolve(str(folder), "galaxy") == folder


def test_resolve_refuses_another_app(folder: Path) -> None:
    edit(folder, app="chest")
    with pytest.raises(ModelError, match="this is a chest model; use it with `attn chest`"):
        resolve(folder, "galaxy")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("nowhere", "there is no such folder"),
        ("empty", "the folder is empty"),
        ("full", "it holds notes.txt"),
        ("full/notes.txt", "give the folder"),
    ],
)
def test_resolve_says_what_is_there(tmp_path: Path, name: str, hint: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("x")
    with pytest.raises(ModelError, match=f"not a model folder: no model.json; {hint}"):
        resolve(tmp_path / name, "galaxy")


def test_resolve_without_a_bundled_model() -> None:
    for source, weights in ((None, None), ("bundled", Path("nowhere"))):
        with pytest.raises(ModelError, match=r"no sundial model ships.*attn sundial train"):
            resolve(source, "sundial", weights)


def test_hub_offline_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"^hf://nobody/nothing: could not be fetched.*network") as caught:
        resolve("hf://nobody/nothing", "galaxy")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("source", ["hf://", "hf://name", "hf://a/b/c"])
def test_hub_name_of_the_wrong_form(source: str) -> None:
    with pytest.raises(ModelError, match="hf://organisation/name"):
        resolve(source, "galaxy")


def test_who_may_read_the_folder_may_read_the_weights(tmp_path: Path) -> None:
    save(tmp_path, {"w": torch.ones(2)}, ModelRecord(app="galaxy", name="n", architecture={}, labels=["a"]))
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == tmp_path.stat().st_mode & 0o666


def test_bundled_is_a_name(folder: Path) -> None:
    assert resolve("bundled", "galaxy", folder) == resolve(None, "galaxy", folder) == folder


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


def test_card_names_the_verb_of_the_record(tmp_path: Path) -> None:
    save(tmp_path, state(), record(app="music", verb="generate"))
    assert "`attn music generate --model FOLDER`" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("name", ["../up", "a/b", "a\\b", "", ".hidden", "*.parquet", "model.json", "a\nb", "\ud800"])
def test_files_that_a_record_may_not_name(folder: Path, name: str) -> None:
    edit(folder, files={name: "ab"})
    with pytest.raises(ModelError, match=r"model\.json"):
        load_record(folder)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite(folder: Path, text: str) -> None:
    path = folder / "model.json"
    path.write_text(path.read_text().replace("1.25", text))
    with pytest.raises(ModelError, match=r"is not JSON.*not a finite number"):
        load_record(folder)


def test_text_that_is_not_unicode(folder: Path) -> None:
    edit(folder, name="x\ud800")
    with pytest.raises(ModelError, match=r"holds text that is not Unicode: '\\ud800'"):
        load_record(folder)
    saved = save(folder, state(), record(name="caf\udce9", data={"held_out": ["caf\udce9.fits"]}))
    assert saved.name == "caf\\udce9"
    assert load_record(folder).data == {"held_out": ["caf\\udce9.fits"]}


class Layer(nn.Module):
    def __init__(self, record: ModelRecord) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(record.architecture["rows"], 4))
        if record.architecture.get("error"):
            raise {"KeyError": KeyError, "MemoryError": MemoryError, "UsageError": UsageError}[
                record.architecture["error"]
            ]("why")


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    save(tmp_path / "layer", {"weight": torch.ones(3, 4)}, record(architecture={"rows": 3}))
    return tmp_path / "layer"


def test_network_with_its_weights(layer: Path) -> None:
    network, found, folder = load_network(layer, "galaxy", Layer)
    assert network.weight.tolist() == torch.ones(3, 4).tolist()
    assert found.architecture == {"rows": 3} and folder == layer
    assert not network.weight.is_meta


def test_half_precision_becomes_full(layer: Path) -> None:
    save(layer, {"weight": torch.full((3, 4), 0.5, dtype=torch.float16)}, record(architecture={"rows": 3}))
    network, _, _ = load_network(layer, "galaxy", Layer)
    assert network.weight.dtype == torch.float32 and network.weight[0, 0] == 0.5


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"rows": 2}, r"model\.safetensors: does not fit .* weight is F32 of shape \(3, 4\) there and .* \(2, 4\)"),
        ({"rows": 10**12}, r"model\.safetensors: does not fit"),  # without memory for it
        ({"rows": 10**30}, r"model\.json: does not describe a model that can be built"),
        ({"rows": -1}, r"model\.json: does not describe a model that can be built \(RuntimeError: .*negative"),
        ({"rows": "x"}, r"model\.json: does not describe a model that can be built \(TypeError"),
        ({}, r"model\.json: does not describe a model that can be built \(KeyError: 'rows'\)"),
        ({"rows": 3, "error": "KeyError"}, r"model\.json: .*KeyError: 'why'"),
        ({"rows": 3, "error": "MemoryError"}, r"model\.json: describes more than fits into memory"),
        ({"rows": 3, "error": "UsageError"}, r"model\.json: why$"),
    ],
)
def test_whatever_building_throws_is_a_sentence(layer: Path, architecture: dict[str, Any], message: str) -> None:
    edit(layer, architecture=architecture)
    with pytest.raises(ModelError, match=message) as caught:
        load_network(layer, "galaxy", Layer)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_finite_or_of_another_kind(layer: Path) -> None:
    for tensor, message in (
        (torch.full((3, 4), torch.nan), "holds numbers in weight that are not finite"),
        (torch.ones(3, 4, dtype=torch.int32), r"weight is I32 of shape \(3, 4\) there and torch.float32"),
        (torch.ones(3, 4, dtype=torch.complex64), "weight is C64"),
    ):
        save(layer, {"weight": tensor}, record(architecture={"rows": 3}))
        with pytest.raises(ModelError, match=message):
            load_network(layer, "galaxy", Layer)


def test_a_model_from_the_hub_is_found_without_a_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
) -> None:
    """As the Hub's client keeps what it has downloaded once."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    kept = tmp_path / "hub" / "models--somebody--galaxies"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = Path(shutil.copytree(folder, kept / "snapshots" / commit))
    assert resolve("hf://somebody/galaxies", "galaxy") == snapshot
    edit(snapshot, files={"../secret": "ab"})
    with pytest.raises(ModelError, match=r"'\.\./secret' cannot be a file of a model"):
        resolve("hf://somebody/galaxies", "galaxy")
    (snapshot / "model.json").unlink()
    with pytest.raises(ModelError, match=r"no model\.json; this repository was not written by attn"):
        resolve("hf://somebody/galaxies", "galaxy")
