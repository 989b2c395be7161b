"""Which folder a user means: one of their own, one of the Hub's, or the one that ships."""

import shutil
from pathlib import Path

import pytest
from core.models.saved import edit

from attn.core.errors import ModelError
from attn.core.models.folder import resolve


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


def test_bundled_is_a_name(folder: Path) -> None:
    assert resolve("bundled", "galaxy", folder) == resolve(None, "galaxy", folder) == folder


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
