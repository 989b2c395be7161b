"""Labelled radiographs for training and measuring, whose patients stay together."""

from contextlib import closing, suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from attn.core.errors import InputError
from attn.data_adapters.dicom.identity import identity_of, read_identity
from attn.data_adapters.dicom.labelled_rows import Rows, Uncertain, read_rows
from attn.data_adapters.dicom.radiograph import Radiograph
from attn.data_adapters.dicom.read import read_radiographs
from attn.data_adapters.dicom.studies import Entry
from attn.data_adapters.images.labelled import fingerprint_of, sizes_of
from attn.data_adapters.tables.small import require_column

DUPLICATES = "duplicate_group"
_NOBODY = {"", "nan", "none", "null", "n/a", "unknown", "anonymous"}


def open_studies(
    source: str | Path,
    *,
    image: str | None = None,
    label: str | None = None,
    patient: str | None = None,
    uncertain: Uncertain | None = None,
) -> "LabelledStudies":
    """The labelled radiographs of a table, a published list (`labelled_rows`) or a folder with one folder per class.

    image, label, patient: names of the table's columns; None takes `path`, `label` and a usual name such as
    `patient_id`. `patient="none"` says that each image is a patient of its own. uncertain: what -1 in CheXpert means;
    None is "ignore".
    InputError: nothing there, unreadable, a column the table lacks (those it has are listed), rows without path or
    label. UsageError: names of columns for what has none, `uncertain` for what has no uncertain labels.
    """
    source = Path(source)
    alone = patient == "none"
    rows = read_rows(source, image, label, None if alone else patient, uncertain)
    return LabelledStudies(source, rows, each_its_own=alone)


class LabelledStudies:
    """Radiographs with labels; pixels are read one image at a time.

    ids: paths relative to the table. labels: as text, findings joined by `|`. classes: sorted, those of CheXpert in
    their order. targets: (N, K) float32, 1 present, 0 absent, NaN unknown. exclusive: an image has one class.
    """

    def __init__(self, source: Path, rows: Rows, *, each_its_own: bool = False) -> None:
        self.source, self.root, self.table = source, rows.root, rows.table
        self.ids, self.labels, self.classes = rows.ids, rows.labels, rows.classes
        self.targets, self.exclusive = rows.targets, rows.exclusive
        self._patients = rows.ids if each_its_own else rows.patients
        self._named = None if each_its_own else rows.patients

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def patients(self) -> list[str]:
        """Whose each image is. An image of which nobody knows counts as a patient of its own, named by its path.

        InputError: no patient is known, or all images have one and the same.
        """
        hint = "give the column with --patient, or say --patient none: each image is then a patient of its own"
        known = [] if self._patients is None else [p for p in self._patients if p.casefold() not in _NOBODY]
        if self._patients is None or not known:
            raise InputError("does not say which images are of one patient", where=self.source, hint=hint)
        if len(self) > 1 and len(set(known)) == 1:
            raise InputError("has one patient id for all images: no split is possible", where=self.source, hint=hint)
        pairs = zip(self._patients, self.ids, strict=True)
        return [id_ if patient.casefold() in _NOBODY else patient for patient, id_ in pairs]

    @property
    def without_patient(self) -> int:
        """How many images count as a patient of their own because nothing says whose they are."""
        return sum(patient == id_ for patient, id_ in zip(self.patients, self.ids, strict=True))

    @cached_property
    def groups(self) -> list[int]:
        """A number for each image, shared by what no split may cut: images of one patient, duplicates, one file twice.

        Duplicates are the rows with one `duplicate_group`. Sharing is transitive. InputError as for `patients`.
        """
        links = [("patient", self.patients), ("file", self.ids)]
        if DUPLICATES in self.table.columns:
            links.append(("duplicates", [text or "" for text in self.column(DUPLICATES)]))
        nodes: dict[tuple[str, str], int] = {}
        edges = [
            (row, nodes.setdefault((kind, value), len(self) + len(nodes)))
            for kind, values in links
            for row, value in enumerate(values)
            if value.strip()
        ]
        size = len(self) + len(nodes)
        rows, others = np.array(edges).T
        graph = coo_matrix((np.ones(len(edges), bool), (rows, others)), shape=(size, size))
        _, component = connected_components(graph, directed=False)
        _, numbers = np.unique(component[: len(self)], return_inverse=True)
        return [int(number) for number in numbers]

    def column(self, name: str) -> list[str | None]:
        """Another column of the table; InputError when there is none of this name."""
        require_column(self.table, name, self.source, "name a column of the table")
        return self.table[name].cast(str).to_list()

    def read(self, i: int) -> Radiograph:
        """Image `i`, its id as in the table. InputError at `name(i)`: unreadable, no image, or several frames."""
        entry = self._entry(i)
        try:
            with closing(entry.open()) as stream:
                frames = list(islice(read_radiographs(stream, entry.id), 2))
            if len(frames) != 1:
                raise InputError("has several frames, and a label is of one image", hint="write each to a file")
        except InputError as error:
            raise type(error)(error.what, where=self.name(i), hint=error.hint) from None
        return frames[0]

    def name(self, i: int) -> str:
        """What image `i` is called in messages: its path, or its number when the path tells who the patient is."""
        entry, patient = self._entry(i), [] if self._named is None else [self._named[i]]
        identities = [identity_of(patient, patient)]
        with suppress(InputError), closing(entry.open()) as stream:
            identities.append(read_identity(stream))
        told = any(identity.stands_in(entry.id) for identity in identities)
        return f"{self.source}, image {i + 1}" if told else str(entry.path)

    def _entry(self, i: int) -> Entry:
        return Entry(self.ids[i], self.root / self.ids[i])

    def fingerprint(self) -> dict[str, Any]:
        """What a model's record keeps of its data: `source`, `count`, `classes` (counts) and `sha256`.

        The hash is over the id, labels and size in bytes of each image, as for galaxies; a missing file has -1 bytes.
        """
        counts = np.nansum(self.targets, axis=0).astype(int).tolist()
        texts = self.labels if self.exclusive else [" ".join(map(str, row)) for row in self.targets.tolist()]
        return {
            **fingerprint_of(self.source, self.ids, texts, sizes_of(self.root, self.ids)),
            "classes": dict(zip(self.classes, counts, strict=True)),
        }
