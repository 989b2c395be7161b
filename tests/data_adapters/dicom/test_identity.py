"""Who a file is about, and whether a path says it."""

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from attn.data_adapters.dicom.identity import Identity, read_identity

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


def header(syntax: UID = ExplicitVRLittleEndian, **elements: Any) -> bytes:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = ComputedRadiographyImageStorage, "1.2.3", "CR"
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def identity(content: bytes) -> Identity:
    file = io.BytesIO(b"before" + content)
    file.seek(6)
    found = read_identity(file)
    assert file.tell() == 6
    return found


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_names_and_ids_in_every_encoding(syntax: UID) -> None:
    found = identity(header(syntax, PatientName="Doe-Smith^Jane^Q", PatientID="MRN 12-34", AccessionNumber="ACC99"))
    assert found.names == {"doe", "smith", "doesmith", "jane"}
    assert found.ids == {"mrn1234", "acc99"}


def test_without_preamble_and_with_the_rest_cut_off() -> None:
    content = header(PatientName="Doe^Jane", PatientID="MRN1234", StudyInstanceUID="1.2.3")[132:-7]
    assert identity(content) == Identity(frozenset({"doe", "jane"}), frozenset({"mrn1234"}))


@pytest.mark.parametrize("moved", [0, 1, 2, 3])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_elements_at_any_byte_of_a_damaged_file(moved: int, syntax: UID) -> None:
    content = header(syntax, PatientName="Doe^Jane", PatientID="MRN1234", AccessionNumber="ACC99")
    found = identity(bytes(moved) + content[132:])
    assert found == Identity(frozenset({"doe", "jane"}), frozenset({"mrn1234", "acc99"}))


@pytest.mark.parametrize("length", range(12))
def test_a_few_bytes_are_nobody(length: int) -> None:
    assert identity(b"\x10\x00\x10\x00PN\x09\x00Doe^"[:length]).names <= {"doe"}


def test_names_in_sequences_count_too() -> None:
    inner = Dataset()
    inner.PatientName = "Roe^Richard"
    assert identity(header(PatientName="Doe", ReferencedStudySequence=[inner])).names == {"doe", "roe", "richard"}


@pytest.mark.parametrize(
    ("character_set", "name", "words"),
    [
        ("ISO_IR 192", "Müller^Jürgen", {"muller", "mueller", "jurgen", "juergen"}),
        ("ISO_IR 100", "Müller^Jürgen", {"muller", "mueller", "jurgen", "juergen"}),
        ("ISO_IR 144", "Люкceмбypг", {"люкceмбypг"}),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎", {"yamada", "tarou", "山田", "太郎"}),
        ("GB18030", "Wang^XiaoDong=王^小东", {"wang", "xiaodong", "小东"}),
    ],
)
def test_character_sets(character_set: Any, name: str, words: set[str]) -> None:
    assert words <= identity(header(SpecificCharacterSet=character_set, PatientName=name)).names


def test_a_character_set_that_is_none() -> None:
    content = header(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Täst")
    assert "mueller" in identity(content.replace(b"ISO_IR 100", b"NOT GIVEN ")).names


@pytest.mark.parametrize("content", [b"", b"\x89PNG", b"\x10\x00\x10\x00", b"\x10\x00\x10\x00PN\xff", b"text" * 99])
def test_other_files_are_about_nobody(content: bytes) -> None:
    assert identity(content) == Identity()


def test_a_deflated_bomb_is_not_inflated_and_damage_is_survived() -> None:
    content = header(DeflatedExplicitVRLittleEndian, PatientName="Doe^Jane")
    start = 144 + int.from_bytes(content[140:144], "little")
    squeeze = zlib.compressobj(wbits=-15)
    rest = squeeze.compress(b"\x10\x00\x10\x00PN\x08\x00Roe^Anna" + bytes(1 << 28)) + squeeze.flush()
    assert identity(content[:start] + rest).names == {"roe", "anna"}
    assert identity(content[:start] + b"\xff\xff\xff") == Identity()


def test_damaged_headers_raise_nothing() -> None:
    good = header(PatientName="Doe^Jane", PatientID="MRN1234", SpecificCharacterSet="ISO_IR 100")
    draw = np.random.default_rng(0)
    for _ in range(500):
        content = bytearray(good)
        for at in draw.integers(len(good), size=5):
            content[at] = draw.integers(256)
        identity(bytes(content))


@pytest.mark.parametrize(
    ("path", "stands"),
    [
        ("study/DOE_JANE/1.dcm", True),
        ("Jane.dcm", True),
        ("doe", True),
        ("does/janet.dcm", False),
        ("scans/jane2.dcm", False),  # a short name counts as a word
        ("studies.zip/x/Müllersohn.dcm", True),  # a long name counts anywhere
        ("MUELLER", True),
        ("mu\u0308ller", True),  # macOS takes letters and accents apart
        ("img12345678b.dcm", True),
        ("12-345_678.dcm", True),
        ("1234567/8.dcm", False),
        ("a7.dcm", False),
        ("x/a-7-1.dcm", True),
        ("\\\\server\\doe\\1", True),
        ("/data/chest/1.dcm", False),
        ("日本山田太郎.dcm", True),
        ("", False),
    ],
)
def test_a_patient_in_a_path(path: str, stands: bool) -> None:
    patient = Identity(frozenset({"doe", "jane", "muller", "mueller", "山田"}), frozenset({"12345678", "a71"}))
    assert patient.stands_in(path) == stands


@pytest.mark.parametrize("name", ["TEST^PATIENT", "Anonymous", "X", "A^B", "", "Phantom^Chest"])
def test_placeholders_are_nobody(name: str) -> None:
    assert identity(header(PatientName=name, PatientID="1")) == Identity()


def test_names_that_are_codes_count_when_they_are_long() -> None:
    assert identity(header(PatientName="Samples^RG1^A1B2C3")).names == {"samples", "a1b2c3"}


@pytest.mark.real_data
def test_the_collected_files_keep_their_names(data_dir: Path) -> None:
    """Nobody is named in these paths: their patients are called `PATIENT^TEST` and the like."""
    for path in sorted((data_dir / "chest").glob("*/*.dcm")):
        with path.open("rb") as file:
            assert not read_identity(file).stands_in(f"chest/{path.parent.name}/{path.name}"), path.name
