"""Files that appear whole or not at all; nothing that attn did not make is overwritten or removed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from attn.core.errors import UsageError
from attn.core.files import MADE_BY, claim, replacing, require_free, require_unread, scratch, sweep


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def dead() -> int:
    """The number of a process that is no more."""
    return int(subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True).stdout)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as part:
        part.write_text("first")
        assert not path.exists() and part.suffix == ".txt"
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "first" and names(tmp_path) == {"a.txt"}


def test_claim_takes_new_and_empty_folders_and_its_own(tmp_path: Path) -> None:
    claim(tmp_path / "new" / "folder")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".git").mkdir()
    claim(tmp_path / "empty")
    (tmp_path / "empty" / "picture.png").write_text("x")
    claim(tmp_path / "empty")
    assert names(tmp_path / "empty") == {".attn", ".git", "picture.png"}
    (tmp_path / "older").mkdir()
    (tmp_path / "older" / "model.json").write_text('{\n  "schema_version": 1,')
    claim(tmp_path / "older")


@pytest.mark.parametrize("name", ["README.md", "rows", "model.json"])
def test_claim_refuses_what_attn_did_not_make(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"mine": 1}')
    with pytest.raises(UsageError, match=f"holds {name}, which attn did not write; give a new or empty folder"):
        claim(tmp_path)
    assert names(tmp_path) == {name}
    with pytest.raises(UsageError, match="is a file, not a folder"):
        claim(tmp_path / name)


def test_leftovers_of_killed_processes_are_removed_and_nothing_else(tmp_path: Path) -> None:
    gone = dead()
    left = {f".last.{gone}.part.safetensors", f".best.{gone}.part", f".curves.best.{gone}.part.png"}
    kept = {f".last.{os.getpid()}.part.png", f".backup.{gone}", f"last.{gone}.part", ".a.part", f".a.{gone}.part.b.c"}
    for name in left | kept:
        (tmp_path / name).write_text("x")
    (tmp_path / f".rows.{gone}.part").mkdir()
    (tmp_path / f".rows.{gone}.part" / "x").write_text("x")
    sweep(tmp_path)
    assert names(tmp_path) == kept


def test_a_folder_for_the_time_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / f".rows.{dead()}.part").mkdir()
    with pytest.raises(KeyError), scratch(tmp_path, "rows") as folder:
        (folder / "x").write_text("x")
        assert names(tmp_path) == {"rows", folder.name}
        raise KeyError
    assert names(tmp_path) == {"rows"}


def test_a_name_that_attn_chose_is_free_or_of_a_file_that_attn_wrote(tmp_path: Path) -> None:
    ours, theirs, long = tmp_path / "ours.png", tmp_path / "theirs.png", tmp_path / "long.npz"
    ours.write_bytes(b"\x89PNG Software " + MADE_BY.encode() + bytes(9000))
    long.write_bytes(bytes(90_000) + MADE_BY.encode() + bytes(100))
    theirs.write_bytes(b"\x89PNG Software GIMP")
    require_free(ours, long, tmp_path / "new.png")
    with pytest.raises(UsageError, match=r"theirs\.png: is there, and attn did not write it; move it, or give another"):
        require_free(ours, theirs)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UsageError, match=r"folder\.png: is there"):
        require_free(tmp_path / "folder.png")
    (tmp_path / "link.mid").symlink_to(ours)
    require_unread(ours, [tmp_path / "missing.mid", theirs])
    require_unread(tmp_path / "new.png", [tmp_path / "new.png"])
    with pytest.raises(UsageError, match=r"ours\.png: is read by this command"):
        require_unread(ours, [theirs, tmp_path / "link.mid"])
