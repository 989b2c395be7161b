"""Zip archives as studies: each member has its bytes or a reason, whatever the archive claims."""

import gc
import struct
import threading
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from attn.core.errors import InputError
from attn.data_adapters.dicom import archive
from attn.data_adapters.dicom.archive import list_members
from attn.data_adapters.dicom.studies import list_entries

NOISE = np.random.default_rng(0).bytes(5000)


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def read_member(path: Path, name: str) -> BinaryIO:
    return archive.read_member(path, name, f"{path}/{name}")


def refusals(path: Path) -> dict[str, str]:
    return dict(list_members(path))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_the_bytes_that_went_in_and_nothing_is_written(tmp_path: Path, method: int) -> None:
    members = {"study/série 2/IM1": NOISE, "study/a.dcm": NOISE[:77], "b": b"text"}
    path = zipped(tmp_path / "s.ZIP", members, method)
    entries = list(list_entries([str(path)]))
    assert {entry.member: entry.open().read() for entry in entries} == members
    assert [entry.id for entry in entries] == [f"{path}/{name}" for name in sorted(members)]
    assert list(tmp_path.iterdir()) == [path]


def test_an_archive_in_a_folder_is_read_where_it_stands(tmp_path: Path) -> None:
    zipped(tmp_path / "b.zip", {"x": NOISE, "y": NOISE})
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "c").write_bytes(b"1")
    assert [entry.id.removeprefix(f"{tmp_path}/") for entry in list_entries([str(tmp_path)])] == [
        "a", "b.zip/x", "b.zip/y", "c",
    ]  # fmt: skip


def test_folders_and_hidden_files_are_passed_over(tmp_path: Path) -> None:
    members = {"s/": b"", "__MACOSX/s/._a": b"1", "s/.DS_Store": b"1", ".hidden/a": b"1", "s/a": b"1"}
    assert refusals(zipped(tmp_path / "s.zip", members)) == {"s/a": ""}


def test_names_in_utf8_that_are_not_declared(tmp_path: Path) -> None:
    path = zipped(tmp_path / "s.zip", {"s/ae.dcm": b"1"})
    path.write_bytes(path.read_bytes().replace(b"s/ae.dcm", "s/ä.dcm".encode()))
    assert list(refusals(path)) == ["s/ä.dcm"]
    assert read_member(path, "s/ä.dcm").read() == b"1"


def test_a_large_member_that_was_packed_too_well_is_a_bomb(tmp_path: Path) -> None:
    path = zipped(tmp_path / "s.zip", {"bomb": bytes(archive.SMALL + 1), "blank": bytes(archive.SMALL // 4)})
    assert "no image has" in refusals(path)["bomb"]
    assert refusals(path)["blank"] == ""
    with pytest.raises(InputError, match=r"s\.zip/bomb: declares 16,777,217 bytes"):
        read_member(path, "bomb")


def test_a_member_that_lies_about_its_size_gives_no_more_than_it_declares(tmp_path: Path) -> None:
    path = zipped(tmp_path / "s.zip", {"bomb": bytes(1 << 22)})
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<L", 1 << 22), struct.pack("<L", 1000)))
    with pytest.raises(InputError, match="is damaged in the archive"):
        read_member(path, "bomb")


def test_a_declared_size_beyond_any_image(tmp_path: Path) -> None:
    path = zipped(tmp_path / "s.zip", {"huge": b"12345"}, zipfile.ZIP_STORED)
    at = path.read_bytes().index(b"PK\x01\x02") + 24
    content = bytearray(path.read_bytes())
    content[at : at + 4] = struct.pack("<L", 0xFFFFFFF0)
    path.write_bytes(content)
    assert "declares 4,294,967,280 bytes" in refusals(path)["huge"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b", "..\\..\\b"])
def test_names_that_lead_out_of_the_archive(tmp_path: Path, name: str) -> None:
    ((_, refusal),) = list_members(zipped(tmp_path / "s.zip", {name: b"1"}))
    assert refusal == "its name leads out of the archive"


def test_encrypted_members_say_so(tmp_path: Path) -> None:
    path = zipped(tmp_path / "s.zip", {"a": NOISE})
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert refusals(path)["a"].startswith("is encrypted")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as file:
        for content in (b"1", b"2"):
            file.writestr("a", content)
    assert "2 files of this name" in refusals(tmp_path / "s.zip")["a"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_whose_memory_the_header_chooses_are_refused(tmp_path: Path, method: int) -> None:
    assert f"method {method}" in refusals(zipped(tmp_path / "s.zip", {"a": NOISE}, method))["a"]


def test_archives_in_archives_are_not_followed(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", {"a": NOISE}).read_bytes()
    assert "archive within an archive" in refusals(zipped(tmp_path / "s.zip", {"inner.zip": inner}))["inner.zip"]


def test_members_that_overlap(tmp_path: Path) -> None:
    path = zipped(tmp_path / "s.zip", {f"a{i}": NOISE for i in range(3)}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    only = content.index(b"PK\x03\x04", 10)  # the second member
    del content[only:directory]
    end = content.index(b"PK\x05\x06")
    content[end + 16 : end + 20] = struct.pack("<L", only)
    for at in range(only, end):
        if content[at : at + 4] == b"PK\x01\x02":
            content[at + 42 : at + 46] = bytes(4)  # every member is the first one
    path.write_bytes(content)
    with pytest.raises(InputError, match="overlap"):
        refusals(path)


def test_a_directory_too_large_for_memory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_DIRECTORY", 1000)
    path = zipped(tmp_path / "s.zip", {f"member {i}": b"1" for i in range(100)})
    with pytest.raises(InputError, match="its directory declares"):
        refusals(path)


def test_what_is_no_archive_is_one_refused_entry(tmp_path: Path) -> None:
    good = zipped(tmp_path / "good.zip", {"a": NOISE}).read_bytes()
    broken = {
        "html.zip": b"<html>",
        "empty.zip": b"",
        "half.zip": good[: len(good) // 2],
        "nothing.zip": zipped(tmp_path / "nothing.zip", {}).read_bytes(),
        "directory.zip": good.replace(b"PK\x01\x02", b"PK\x01\x03"),
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        (entry,) = list_entries([str(tmp_path / name)])
        assert entry.id == str(tmp_path / name)
        with pytest.raises(InputError, match=r"is not a zip archive that can be read|holds no files"):
            entry.open()


def test_damaged_members_fail_by_themselves(tmp_path: Path) -> None:
    path = zipped(tmp_path / "s.zip", {"a": NOISE, "b": NOISE}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[100] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"s\.zip/a: is damaged in the archive \(BadZipFile"):
        read_member(path, "a")
    assert read_member(path, "b").read() == NOISE


def test_an_archive_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    path = zipped(tmp_path / "s.zip", {"a": b"1"})
    assert read_member(path, "a").read() == b"1"
    zipped(path, {"a": b"23"})
    assert read_member(path, "a").read() == b"23"


def test_many_threads_read_one_archive(tmp_path: Path) -> None:
    members = {f"m{i:03}": NOISE[i:] for i in range(200)}
    path = zipped(tmp_path / "s.zip", members)
    wrong: list[str] = []

    def read(names: list[str]) -> None:
        wrong.extend(name for name in names if read_member(path, name).read() != members[name])

    threads = [threading.Thread(target=read, args=(list(members)[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_archives_are_closed_in_time(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(30):
        zipped(tmp_path / f"{number}.zip", {"a": NOISE})
        (tmp_path / f"broken {number}.zip").write_bytes(b"PK")
    for entry in list_entries([str(tmp_path)]):
        with suppress(InputError):
            entry.open()
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 4
