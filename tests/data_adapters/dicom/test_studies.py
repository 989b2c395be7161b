"""Inputs of radiographs: folders, globs, lists; archives and DICOMDIRs have files of their own."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from attn.core.errors import InputError, UsageError
from attn.core.files import claim
from attn.data_adapters.dicom.studies import Entry, list_entries


@pytest.fixture
def study(tmp_path: Path) -> Path:
    for name in ("b", "a.dcm", "series/IM0002", "series/deep/x.PNG", "notes.txt", ".DS_Store", "__MACOSX/._b", ".x/y"):
        (tmp_path / "study" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "study" / name).write_bytes(name.encode())
    return tmp_path / "study"


def ids(folder: Path, *inputs: str | Path) -> list[str]:
    return [os.path.relpath(entry.id, folder) for entry in list_entries(map(str, inputs))]


def test_every_file_of_a_folder_counts_whatever_its_suffix_but_hidden_ones(study: Path) -> None:
    assert ids(study, study) == ["a.dcm", "b", "notes.txt", "series/IM0002", "series/deep/x.PNG"]


def test_an_entry_opens_as_the_bytes_of_its_file(study: Path) -> None:
    for entry in list_entries([str(study)]):
        with entry.open() as file:
            assert file.read().decode() == os.path.relpath(entry.id, study)


def test_globs_match_files_and_folders(study: Path) -> None:
    assert ids(study, f"{study}/s*") == ["series/IM0002", "series/deep/x.PNG"]
    assert ids(study, f"{study}/**/*.PNG") == ["series/deep/x.PNG"]
    with pytest.raises(UsageError, match="no file matches"):
        ids(study, f"{study}/*.jpg")


def test_a_list_is_relative_to_itself_when_it_is_named_and_a_text_in_a_folder(study: Path) -> None:
    (study / "notes.txt").write_text("# mine\nseries/IM0002\n\nabsent\n", encoding="utf-8")
    assert ids(study, study / "notes.txt") == ["series/IM0002", "absent"]
    assert "notes.txt" in ids(study, study)


def test_what_is_named_twice_comes_once(study: Path) -> None:
    assert ids(study, study / "series/IM0002", study, study / "b") == [
        "series/IM0002", "a.dcm", "b", "notes.txt", "series/deep/x.PNG",
    ]  # fmt: skip


def test_a_folder_that_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()
    with pytest.raises(UsageError, match="no files in this folder"):
        ids(tmp_path, tmp_path)


def test_what_attn_made_is_not_searched(study: Path, caplog: pytest.LogCaptureFixture) -> None:
    claim(study / "explained")
    (study / "explained" / "a.png").write_bytes(b"1")
    assert "explained/a.png" not in ids(study, study)
    assert "not searched, because attn made it: explained" in caplog.text
    assert ids(study, study / "explained") == ["explained/a.png"]


def test_links_in_circles_pipes_and_broken_links_end_no_listing(study: Path) -> None:
    (study / "series" / "loop").symlink_to(study)
    (study / "broken").symlink_to(study / "absent")
    (study / "same").symlink_to(study / "b")
    os.mkfifo(study / "pipe")
    assert ids(study, study) == ["a.dcm", "b", "notes.txt", "same", "series/IM0002", "series/deep/x.PNG"]


@pytest.mark.parametrize("name", ["absent.dcm", "absent.zip", "DICOMDIR", "x" * 300, "x" * 300 + ".zip", "nul\0"])
def test_a_file_that_is_not_there_is_an_entry_whose_open_says_so(tmp_path: Path, name: str) -> None:
    (entry,) = list_entries([str(tmp_path / name)])
    with pytest.raises(InputError, match=r"no such file|cannot be opened"):
        entry.open()


def test_an_empty_file_and_a_pipe_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.dcm").touch()
    os.mkfifo(tmp_path / "pipe")
    empty, pipe = list_entries([str(tmp_path / "empty.dcm"), str(tmp_path / "pipe")])
    with pytest.raises(InputError, match=r"empty \(0 bytes\)"):
        empty.open()
    with pytest.raises(InputError, match="a device or a pipe"):
        pipe.open()


@pytest.mark.parametrize("name", ["absent.dcm", "x" * 300, "empty", "pipe", "folder", "s.zip"])
def test_whoever_replaces_the_id_hides_the_path(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "Jane Doe"
    (secret / "folder").mkdir(parents=True)
    (secret / "empty").touch()
    (secret / "s.zip").write_bytes(b"no archive")
    os.mkfifo(secret / "pipe")
    (entry,) = list_entries([str(secret / name)]) if name != "folder" else [Entry("", secret / name)]
    with pytest.raises(InputError, match=r"^pseudonym: ") as caught:
        replace(entry, id="pseudonym").open()
    assert "Doe" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_refused_and_the_others_are_listed(study: Path) -> None:
    (study / "series").chmod(0)
    try:
        entries = list(list_entries([str(study)]))
    finally:
        (study / "series").chmod(0o755)
    assert [Path(entry.id).name for entry in entries] == ["series", "a.dcm", "b", "notes.txt"]
    with pytest.raises(InputError, match="cannot be listed"):
        entries[0].open()


def test_entries_are_listed_while_they_are_asked_for(study: Path) -> None:
    entries = list_entries([str(study / "b"), str(study / "absent" / "*")])
    assert next(entries).path == study / "b"


@pytest.mark.real_data
def test_the_cases_of_bug_reports(data_dir: Path) -> None:
    cases = data_dir / "chest" / "cases"
    (there, missing) = list_entries([str(cases / "c37_dicomdir_file_missing" / "DICOMDIR")])
    assert there.path.read_bytes()[:132].endswith(b"DICM")
    with pytest.raises(InputError, match="PT000000/ST000001/SE000000/IM000000") as caught:
        missing.open()
    assert "PATIENT" not in str(caught.value)

    archived = list(list_entries([str(cases / "c39_study.zip")]))
    names = ["study/readme.txt", "study/series 1/IM0001", "study/series 1/IM0002.dcm", "study/série 2/deep/er/IMG.DCM"]
    assert [entry.id for entry in archived] == [f"{cases / 'c39_study.zip'}/{name}" for name in names]
    assert [entry.open().read(132)[128:] == b"DICM" for entry in archived] == [False, True, True, True]
