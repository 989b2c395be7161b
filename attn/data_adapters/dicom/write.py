"""The answers about a study as files beside it: for each image a Structured Report and a heat map that viewers open."""

import hashlib
import io
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float
from pydicom.dataset import Dataset

from attn.core.files import claim, replacing
from attn.data_adapters.dicom.capture import draw_heat, write_capture
from attn.data_adapters.dicom.evidence import read_evidence
from attn.data_adapters.dicom.file import sealed
from attn.data_adapters.dicom.flags import Flag
from attn.data_adapters.dicom.privacy import Key
from attn.data_adapters.dicom.radiograph import Radiograph
from attn.data_adapters.dicom.report import Algorithm, Answer, Series, write_report
from attn.data_adapters.library_warnings import caught_warnings

CAPTION = 64  # characters of a line below the heat map
NO_CAPTURE = "text may be drawn into its pixels, so that no heat map is written under a pseudonym"


@dataclass(frozen=True)
class Written:
    """The files of one image; `notes` say what was left out or made, by names of attributes."""

    report: Path
    heat_map: Path | None
    notes: tuple[str, ...]


class ResultFolder:
    """A folder of DICOM results of one algorithm.

    The reports of a study are in one series, its heat maps in another. A file is named by a hash of the image's id, so
    that no name tells who it is about, and the same image replaces its older result.
    """

    def __init__(self, folder: Path, algorithm: Algorithm, key: Key | None = None) -> None:
        """Claim `folder`. Raises UsageError when it holds what attn did not write."""
        claim(folder)
        self.folder = folder
        self.algorithm = algorithm
        self.key = key
        self._written = 0
        self._run = Series().uid  # no two runs share a series

    def write(
        self,
        source: Path | BinaryIO,
        radiograph: Radiograph,
        answer: Answer,
        heat_hw: Float[np.ndarray, "h w"],
    ) -> Written:
        """Write the report and the heat map of one image; `source` is the DICOM file that it came from.

        Raises InputError for a file that is no DICOM or to which nothing can refer; then nothing is written.
        """
        frame = int(radiograph.header.get("frame", 1)) if Flag.MULTI_FRAME in radiograph.flags else None
        evidence = read_evidence(source, radiograph.id, frame=frame, key=self.key)
        self._written += 1
        captured = self.key is None or Flag.BURNED_IN not in radiograph.flags
        p = answer.probabilities.get(answer.label)  # None: the label names several classes, or none
        caption = [answer.label if p is None else f"{answer.label}, p = {p:.2f}; the colours speak for it"]
        if answer.flags:  # a heat map travels without the report, which alone would say that this is no frontal chest
            caption += textwrap.wrap(f"Flags: {', '.join(answer.flags)}", CAPTION, break_on_hyphens=False)
        picture = draw_heat(radiograph.pixels_hw, heat_hw, radiograph.spacing, "\n".join(caption))
        reports, heat_maps = (self._series(evidence.study, kind) for kind in ("report", "heat map"))
        with sealed(radiograph.id, "cannot be reported on"):
            report = write_report(evidence, answer, self.algorithm, reports)
            capture = write_capture(evidence, picture, self.algorithm, heat_maps, radiograph.flags)
        name = self._name(radiograph.id)
        heat_map = self.folder / f"{name}.heat.dcm"
        if captured:
            _save(capture, heat_map)
        else:
            heat_map.unlink(missing_ok=True)
        _save(report, self.folder / f"{name}.report.dcm")
        notes = evidence.notes if captured else (*evidence.notes, NO_CAPTURE)
        return Written(self.folder / f"{name}.report.dcm", heat_map if captured else None, notes)

    def _series(self, study: str, kind: str) -> Series:
        digest = hashlib.sha256(f"{self._run} {kind} {study}".encode()).digest()
        return Series(uid=f"2.25.{int.from_bytes(digest[:16])}", number=self._written)

    def _name(self, id: str) -> str:
        if self.key is not None:
            return self.key.pseudonym("file", id)
        return hashlib.sha256(id.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _save(dataset: Dataset, path: Path) -> None:
    encoded = io.BytesIO()  # of a full disk pydicom says so in a message with its own traceback
    with caught_warnings():
        dataset.save_as(encoded, enforce_file_format=True)
    with replacing(path) as part:
        part.write_bytes(encoded.getbuffer())
