"""The answer of a model as a Structured Report: Comprehensive SR, template TID 1500 (PS3.16).

One measurement group (TID 1501) has the algorithm (TID 4019) with the hash of its weights, the image that it saw, a
probability per class, the likeliest class, on which side of each operating point the image lies, and the flags. A
concept for which the standard has no code is in the private scheme 99ATTN; code values of probabilities are the columns
of the tables.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from attn.data_adapters.dicom.evidence import Evidence

RESEARCH = "Research use, not a medical device"
SCHEME = "99ATTN"
REPORT_SERIES = 9001  # far from the numbers that modalities give

logging.getLogger("highdicom").setLevel(logging.WARNING)  # it logs UIDs of the image as information


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A threshold of one class's probability; `meaning` says what it was chosen for."""

    threshold: float
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """What gave the answer. `sha256` is the hash of its weights, `settings` what else decides its numbers."""

    name: str
    version: str
    sha256: str
    operating_points: Mapping[str, OperatingPoint] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model says of one image."""

    label: str
    probabilities: Mapping[str, float]
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Series:
    """The series that new instances go to, and the number of the next one in it."""

    uid: str = field(default_factory=lambda: str(generate_uid(prefix=None)))
    number: int = 1


def write_report(evidence: Evidence, answer: Answer, algorithm: Algorithm, series: Series | None = None) -> Dataset:
    """The report of one answer, complete with file meta information; `save_as` writes it."""
    from highdicom.sr import ComprehensiveSR

    series = series or Series()
    report: Dataset = ComprehensiveSR(
        evidence=[_reference(evidence)],
        content=_content(evidence, answer, algorithm),
        series_instance_uid=series.uid,
        series_number=REPORT_SERIES,
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=series.number,
        is_complete=True,
        specific_character_set="ISO_IR 192",
        **equipment(algorithm),
    )
    report.update(evidence.identity)
    return report


def equipment(algorithm: Algorithm) -> dict[str, str]:
    """The attributes of what made an instance (General Equipment), and the description of its series."""
    return {
        "manufacturer": "attn",
        "manufacturer_model_name": short(algorithm.name),
        "software_versions": short(algorithm.version),
        "device_serial_number": algorithm.sha256[:64],
        "series_description": f"attn. {RESEARCH}",
    }


def short(text: str) -> str:
    """Text that a long string (LO) may hold: one value of at most 64 characters."""
    plain = "".join(letter if letter.isprintable() and letter != "\\" else "_" for letter in text)
    return plain.strip()[:64].strip() or "_"


def _reference(evidence: Evidence) -> Dataset:
    """The image as highdicom wants it, with empty identity: it would check names and print those that it doubts."""
    image = Dataset()
    for keyword in evidence.identity.dir():
        setattr(image, keyword, None)
    image.StudyInstanceUID = evidence.study
    image.SeriesInstanceUID = evidence.series
    image.SOPInstanceUID = evidence.sop_instance
    image.SOPClassUID = evidence.sop_class
    return image


def _content(evidence: Evidence, answer: Answer, algorithm: Algorithm) -> Dataset:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    observer = sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(prefix=None, entropy_srcs=[algorithm.name, algorithm.sha256]),
        manufacturer_name="attn",
        model_name=algorithm.name,
        serial_number=algorithm.sha256,
    )
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=generate_uid(prefix=None),
            identifier="whole image" if evidence.frame is None else f"frame {evidence.frame}",
        ),
        algorithm_id=sr.AlgorithmIdentification(
            name=algorithm.name, version=algorithm.version, manufacturer="attn", parameters=_parameters(algorithm)
        ),
        source_images=[
            sr.SourceImageForMeasurementGroup(
                evidence.sop_class, evidence.sop_instance, [evidence.frame] if evidence.names_frames else None
            )
        ],
        measurements=[
            sr.Measurement(_code(f"p_{label}", f"Probability of {label}"), float(f"{p:.6g}"), codes.UCUM.NoUnits)
            for label, p in answer.probabilities.items()
        ],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(_code(*name), _code(*value)) for name, value in _evaluations(answer, algorithm)
        ],
    )
    content: Dataset = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(codes.DCM.Device, observer)
        ),
        procedure_reported=codes.SCT.ChestImaging,
        imaging_measurements=[group],
        title=codes.DCM.ImagingMeasurementReport,
    )
    return content


def _parameters(algorithm: Algorithm) -> list[str]:
    """Everything that decides the numbers, a text each."""
    facts = {"sha256": algorithm.sha256, **algorithm.settings}
    for label, point in algorithm.operating_points.items():
        facts[f"operating point of {label}"] = f"{point.threshold:.6g} ({point.meaning})"
    return [f"{name}: {value}" for name, value in facts.items()]


def _evaluations(answer: Answer, algorithm: Algorithm) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """Pairs of coded concepts: a name and a value, each with the code and what it means."""
    found = [
        (("intended_use", "Intended use"), ("research", RESEARCH)),
        (("label", "Likeliest class"), (answer.label, answer.label)),
    ]
    for label, point in algorithm.operating_points.items():
        p = answer.probabilities[label]
        side = ("positive", "At or above") if p >= point.threshold else ("negative", "Below")
        found.append(((f"at_{label}", f"Operating point of {label}"), side))
    return found + [(("flag", "Flag of the image"), (flag, flag.replace("-", " "))) for flag in answer.flags]


def _code(value: str, meaning: str) -> Dataset:
    from highdicom.sr import CodedConcept

    concept: Dataset = CodedConcept(short(value), SCHEME, short(meaning))
    return concept
