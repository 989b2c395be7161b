"""What a result takes over from the image that it rests on: patient, study, and the reference to the image.

What is written must be valid even where the image is not (PS3.3 C.7.1.1 and C.7.2.1; types are those of PS3.5, 7.4):
a type 2 attribute that is missing or breaks its value representation becomes empty, and a study or series without a
valid UID gets one that depends on the image's own, so that all results of the image agree. Without a valid SOP
Instance UID nothing can refer to the image, and it is refused.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import dcmread
from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID
from pydicom.valuerep import validate_value

from attn.core.errors import InputError
from attn.data_adapters.dicom.file import sealed
from attn.data_adapters.dicom.privacy import Key

# Patient and study: type 2 of the modules Patient and General Study, which every result must have.
IDENTITY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
REMOVED = ("PatientBirthDate", "StudyDate", "StudyTime", "ReferringPhysicianName")  # under a pseudonym
REFERENCES = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
READ = (*IDENTITY, *REFERENCES, "SOPClassUID", "PatientOrientation")

_UID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
_ORIENTATION = re.compile(r"[APRLHF]{1,3}")
_FRAMES = re.compile("Multi-frame|Enhanced|Angiographic|Radiofluoroscopic|Tomosynthesis|Ultrasound|Nuclear")
_MADE_FROM = "attn made this UID from "


@dataclass(frozen=True)
class Evidence:
    """An image as the results of it name it.

    `identity` has the attributes IDENTITY and StudyInstanceUID, all valid or empty, and under a pseudonym a remark on
    that. The class and the other UIDs are the reference to the image, and `frame` counts from 1 where there are
    several. `notes` say what the image lacked or broke, by names of attributes and never by values.
    """

    identity: Dataset
    sop_class: str
    sop_instance: str
    series: str
    frame: int | None
    orientation: tuple[str, str] | None
    notes: tuple[str, ...]

    @property
    def study(self) -> str:
        """The study that results belong to."""
        return str(self.identity.StudyInstanceUID)

    @property
    def names_frames(self) -> bool:
        """Whether a reference may name the frame: only those to classes of several frames (PS3.3, table 10-3)."""
        return self.frame is not None and _FRAMES.search(UID(self.sop_class).name) is not None


def read_evidence(source: Path | BinaryIO, id: str, *, frame: int | None = None, key: Key | None = None) -> Evidence:
    """Read from a DICOM file what its results take over; `frame` counts from 1.

    With `key`, names and ids become keyed key, UIDs keyed UIDs, and dates and the referrer are left
    empty; sex stays. Raises InputError when the file is no DICOM, or nothing could refer to it.
    """
    with sealed(id, "has a header that cannot be read"):
        header = dcmread(source, force=True, stop_before_pixels=True, specific_tags=[*READ, "SpecificCharacterSet"])
        texts = {keyword: _text(header, keyword) for keyword in READ}
        letters = [str(letter) for letter in header.get("PatientOrientation") or ()]
    if not texts["SOPInstanceUID"] or not texts["SOPClassUID"]:
        missing = "SOPInstanceUID (0008,0018)" if not texts["SOPInstanceUID"] else "SOPClassUID (0008,0016)"
        raise InputError(f"has no {missing}, to which a report must refer", where=id, hint="no report is written")
    notes: list[str] = []
    identity = Dataset()
    for keyword in IDENTITY:
        valid = texts[keyword] if _is_valid(keyword, texts[keyword]) else ""
        if valid != texts[keyword]:
            notes.append(f"{keyword} is not valid and is left empty")
        setattr(identity, keyword, valid)
    uids = {keyword: texts[keyword] for keyword in REFERENCES}
    if key is not None:
        _replace_identity(identity, key)
        uids = {keyword: _uid(key.digest("uid", text)) if text else "" for keyword, text in uids.items()}
    for keyword, text in uids.items():
        if _is_uid(text):
            continue
        if keyword == "SOPInstanceUID":
            what = f"has a {keyword} (0008,0018) that is no valid UID, so that no report can refer to it"
            raise InputError(what, where=id, hint="with --pseudonym KEYFILE a report gets UIDs of its own")
        notes.append(f"{keyword} is {'not valid' if text else 'missing'}, and another is made")
        uids[keyword] = _uid(hashlib.sha256(f"{_MADE_FROM}{keyword} {uids['SOPInstanceUID']}".encode()).digest())
    identity.StudyInstanceUID = uids["StudyInstanceUID"]
    return Evidence(
        identity=identity,
        sop_class=texts["SOPClassUID"],
        sop_instance=uids["SOPInstanceUID"],
        series=uids["SeriesInstanceUID"],
        frame=frame,
        orientation=(letters[0], letters[1]) if _are_directions(letters) else None,
        notes=tuple(notes),
    )


def _replace_identity(identity: Dataset, key: Key) -> None:
    """One pseudonym for the patient, whose id is the better name of the two: names are spelled in many ways."""
    patient = str(identity.PatientID) or str(identity.PatientName)
    pseudonym = key.pseudonym("patient", patient) if patient else ""
    identity.PatientID = pseudonym
    identity.PatientName = f"{pseudonym}^" if pseudonym else ""
    for keyword in ("StudyID", "AccessionNumber"):
        text = str(identity[keyword].value)
        setattr(identity, keyword, key.pseudonym(keyword, text) if text else "")
    for keyword in REMOVED:
        setattr(identity, keyword, "")
    identity.PatientIdentityRemoved = "YES"
    identity.DeidentificationMethod = "attn: keyed pseudonyms, no dates"


def _text(header: Dataset, keyword: str) -> str:
    """The value as text; several values are joined as they are stored, which is valid for none of IDENTITY."""
    try:
        with sealed(keyword, "cannot be converted", warns=False):
            value = header.get(keyword)
    except InputError:  # a value that pydicom cannot convert is one that breaks its representation
        return "\\"
    if value is None:
        return ""
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value).strip(" \0")


def _is_valid(keyword: str, text: str) -> bool:
    """Whether the standard allows the value; empty is allowed. A character that could not be decoded is not.

    A backslash separates values, and pydicom would check each of them, but these attributes have one.
    """
    if "\ufffd" in text or "\\" in text or not text.isprintable():
        return False
    if keyword == "PatientSex":
        return text in ("", "M", "F", "O")
    try:
        validate_value(dictionary_VR(keyword), text, RAISE)
    except ValueError:
        return False
    return True


def _is_uid(text: str) -> bool:
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def _uid(digest: bytes) -> str:
    """A UID under 2.25 (ISO/IEC 9834-8, Rec. X.667): 128 bits as a decimal number."""
    return f"2.25.{int.from_bytes(digest[:16])}"


def _are_directions(letters: list[str]) -> bool:
    return len(letters) == 2 and all(_ORIENTATION.fullmatch(each) for each in letters)
