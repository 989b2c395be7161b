"""Pseudonyms, and paths with a patient's name in them."""

import hashlib
import hmac
from pathlib import Path

import pytest

from attn.core.errors import InputError
from attn.data_adapters.dicom.identity import Identity
from attn.data_adapters.dicom.privacy import Key, hash_name, private_id, read_key
from attn.data_adapters.dicom.studies import Entry

KEY = Key(b"0123456789abcdef")
DOE = Identity(names=frozenset({"jane", "doe"}), ids=frozenset({"mrn123456"}))


def test_a_pseudonym_is_the_beginning_of_an_hmac() -> None:
    expected = hmac.new(b"0123456789abcdef", b"patient\0Jane", hashlib.sha256).hexdigest()
    assert KEY.pseudonym("patient", "Jane") == expected[:16]
    assert KEY.digest("patient", "Jane").hex() == expected


def test_pseudonyms_differ_by_key_kind_and_text() -> None:
    said = {
        KEY.pseudonym("file", "a"),
        KEY.pseudonym("file", "b"),
        KEY.pseudonym("study", "a"),
        Key(b"0123456789abcdeg").pseudonym("file", "a"),
    }
    assert len(said) == 4
    assert KEY.pseudonym("file", "caf\udce9") != KEY.pseudonym("file", "café")


def test_a_key_does_not_show_itself() -> None:
    assert "0123" not in repr(KEY)
    assert "jane" not in repr(DOE)


def test_a_key_file_and_a_random_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"0123456789abcdef\r\n")
    assert read_key(tmp_path / "key") == KEY
    assert read_key(None) != read_key(None)
    assert len(read_key(None).secret) == 32


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 5000, b" " * 20])
def test_a_key_of_a_wrong_length(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(InputError, match="is to have 16 to 4,096 bytes"):
        read_key(tmp_path / "key")
    with pytest.raises(InputError, match=r"cannot be read as a key .*; write 32 random letters into the file"):
        read_key(tmp_path / "absent")


def test_a_path_with_the_patient_in_it_is_replaced_and_others_stay() -> None:
    entry = Entry("study/Doe, Jane/IM1.dcm", Path("study/Doe, Jane/IM1.dcm"))
    said = private_id(entry, DOE, KEY)
    assert said == hash_name(entry.id, KEY) == KEY.pseudonym("file", entry.id) + ".dcm"
    assert private_id(entry, Identity(), KEY) == entry.id
    assert private_id(Entry("a.zip/IM1", Path("a.zip"), "IM1"), DOE, KEY) == "a.zip/IM1"
    assert private_id(Entry("a.zip/jane/IM1", Path("a.zip"), "jane/IM1"), DOE, KEY) == hash_name("a.zip/jane/IM1", KEY)


def test_a_suffix_that_is_a_name_does_not_stay() -> None:
    assert hash_name("scan.Jane", KEY) == KEY.pseudonym("file", "scan.Jane")
