"""A radiograph whose header is full of texts that must never come out."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from chest_fixtures import write_dicom

CANARY = "ZZCANARY"
NAME = f"{CANARY}NAME^Jörgänsson"
TRACES = (CANARY, CANARY.lower(), "Jörgänsson", "jörgänsson", "18981231", "2.25.1898")


def plant(path: Path, pixels: np.ndarray | None = None, **typed: str) -> Path:
    """Write a chest radiograph with a canary in every place that holds a person, an institution or free text.

    pixels: another picture. typed: texts of elements that are to stand in the file as they are, valid or not.
    """
    from pydicom import dcmread
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.dataelem import RawDataElement
    from pydicom.dataset import Dataset, FileDataset
    from pydicom.tag import Tag

    def item(**elements: Any) -> Dataset:
        data = Dataset()
        for keyword, value in elements.items():
            setattr(data, keyword, value)
        return data

    write_dicom(path, pixels)
    data = dcmread(path)
    planted = {
        "SpecificCharacterSet": "ISO_IR 100",
        "PatientName": NAME,
        "PatientID": f"{CANARY}ID",
        "PatientBirthDate": "18981231",
        "OtherPatientNames": f"{CANARY}OTHER^TWO",
        "PatientComments": f"{CANARY}COMMENT",
        "ImageComments": f"{CANARY}IMAGE",
        "AccessionNumber": f"{CANARY}ACC",
        "StudyDate": "18981231",
        "StudyID": f"{CANARY}STUDY",
        "SOPInstanceUID": "2.25.18981",
        "StudyInstanceUID": "2.25.18982",
        "SeriesInstanceUID": "2.25.18983",
        "InstitutionName": f"{CANARY}HOSPITAL",
        "OperatorsName": f"{CANARY}OPERATOR",
        "ReferringPhysicianName": f"{CANARY}REFERRER",
        "SeriesDescription": f"{CANARY}SERIES pa",
        "WindowCenter": [128, 60],
        "WindowWidth": [256, 40],
        "WindowCenterWidthExplanation": [f"{CANARY}WINDOW", "Jörgänsson HARD"],
        "DeviceSerialNumber": f"{CANARY}DEVICE",
        "RequestAttributesSequence": [
            item(PatientName=f"{CANARY}NESTED", ScheduledProtocolCodeSequence=[item(CodeMeaning=f"{CANARY}CODE")])
        ],
        "OriginalAttributesSequence": [
            item(ModifiedAttributesSequence=[item(PatientName=f"{CANARY}ORIGINAL^OLD", PatientID=f"{CANARY}OLDID")])
        ],
    }
    for keyword, value in planted.items():
        setattr(data, keyword, value)
    block = data.private_block(0x0029, f"{CANARY}CREATOR", create=True)
    block.add_new(0x01, "LO", f"{CANARY}PRIVATE")
    block.add_new(0x02, "SQ", [item(PatientName=f"{CANARY}PRIVATENESTED")])
    block.add_new(0x03, "OB", CANARY.encode() * 2000)
    data.file_meta.SourceApplicationEntityTitle = f"{CANARY}AE"
    data.file_meta.PrivateInformationCreatorUID = "2.25.18984"
    data.file_meta.PrivateInformation = f"{CANARY}META".encode()
    assert isinstance(data, FileDataset)
    data.preamble = CANARY.encode().ljust(128, b"\0")
    for keyword, text in typed.items():
        tag, value = Tag(tag_for_keyword(keyword)), text.encode()
        value += b" " * (len(value) % 2)
        data[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, False, True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is typed breaks the rules
        data.save_as(path)
    return path


def traces(text: str | bytes) -> list[str]:
    """The canaries in a text, or in the bytes of a file in any usual encoding."""
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogateescape")
    encodings = ("utf-8", "latin-1", "utf-16-le", "utf-16-be")
    return [trace for trace in TRACES if any(trace.encode(encoding) in text for encoding in encodings)]
