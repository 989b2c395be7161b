"""Damaged images under a report: what is taken over from them is valid, or the image is refused."""

import io
import re

import pydicom
from dicom_result_fixtures import ALGORITHM, ANSWER, CLASSES, KEY, header
from fuzz.mutate import fuzz, mutants
from pydicom.config import RAISE
from pydicom.valuerep import validate_value

from attn.data_adapters.dicom.evidence import IDENTITY, read_evidence
from attn.data_adapters.dicom.report import write_report
from attn.data_adapters.library_warnings import caught_warnings

REPORTED = 40  # every so many inputs are written: a report takes longer than reading its image


def image(kind: str, syntax: str, **changes: object) -> bytes:
    dataset = header(kind, **changes)
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_what_a_report_takes_over(fuzz_count: int) -> None:
    explicit, implicit, big, deflated = ("1.2.840.10008.1.2" + end for end in (".1", "", ".2", ".1.99"))
    seeds = [
        image(kind, syntax) for kind, syntax in zip((*CLASSES, "CR"), (explicit, implicit, big, deflated), strict=True)
    ]
    seeds.append(image("CR", explicit, SpecificCharacterSet="ISO_IR 100", PatientOrientation=["L", "F"]))
    number = 0

    def read(data: bytes) -> None:
        nonlocal number
        number += 1
        evidence = read_evidence(io.BytesIO(data), "scan", key=KEY if number % 2 else None)
        for keyword in IDENTITY:
            element = evidence.identity[keyword]
            validate_value(element.VR, str(element.value), RAISE)
        for uid in (evidence.study, evidence.series, evidence.sop_instance):
            assert re.fullmatch(r"[0-2](\.(0|[1-9]\d*))+", uid) and len(uid) <= 64
        if number % REPORTED == 0 and evidence.sop_class in CLASSES.values():
            with caught_warnings():
                report = write_report(evidence, ANSWER, ALGORITHM)
            buffer = io.BytesIO()
            report.save_as(buffer, enforce_file_format=True)
            buffer.seek(0)
            assert pydicom.dcmread(buffer).StudyInstanceUID == evidence.study

    outcomes = fuzz(read, mutants(seeds, fuzz_count // 4, "dicom results"))
    assert outcomes["read"] and outcomes["InputError"]
