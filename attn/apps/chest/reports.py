"""Answers as DICOM: each prediction of a study with its Structured Report and its heat map in a folder.

Shapes: B batch, C channels, S model side, H height, W width.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from attn.apps.chest.maps import gradient_maps, signed_mean
from attn.apps.chest.predict import ChestPredictor
from attn.apps.chest.probabilities import Calibration
from attn.apps.chest.read import Reading
from attn.core.errors import AttnError, InputError
from attn.core.models.record import WEIGHTS, ModelRecord
from attn.core.results.prediction import Prediction
from attn.core.settings import stored
from attn.data_adapters.dicom.privacy import Key
from attn.data_adapters.dicom.radiograph import NotAnImageError
from attn.data_adapters.dicom.report import Algorithm, Answer, OperatingPoint
from attn.data_adapters.dicom.studies import Entry
from attn.data_adapters.dicom.write import ResultFolder, Written


class Reports:
    """A predictor that also writes its answers as DICOM to a folder; `key` replaces the identity in them by pseudonyms.

    `say` is told what an image lacks for its report, by names of attributes. Raises UsageError for a folder that holds
    what attn did not write.
    """

    def __init__(
        self,
        folder: Path,
        predictor: ChestPredictor,
        key: Key | None = None,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.predictor, self.say = predictor, say
        self.results = ResultFolder(folder, algorithm(predictor.record), key)

    def predict_many(
        self,
        entries: Iterable[Entry | InputError],
        reading: Reading,
        *,
        strict: bool = False,
        skipped: Callable[[NotAnImageError], None] | None = None,
    ) -> Iterator[Prediction]:
        """The predictor's rows, with the names of the files of each in the columns `report` and `heat_map`.

        A row that has an answer and no report says why in `error`; a row without answer has no report.
        """
        for entry in entries:
            rows = self.predictor.predict_many([entry], reading, strict=strict, skipped=skipped)
            for number, row in enumerate(rows, reading.frame or 1):
                yield self._reported(entry, replace(reading, frame=number), row)

    def _reported(self, entry: Entry | InputError, reading: Reading, row: Prediction) -> Prediction:
        """The row of one frame, and its files when it has an answer."""
        names: dict[str, str | None] = {"report": None, "heat_map": None}
        if row.error is None and isinstance(entry, Entry):
            try:
                written = self._write(entry, reading, row)
            except AttnError as error:
                row = replace(row, error=str(InputError(f"no report: {error.what}", hint=error.hint)))
            else:
                names["report"] = written.report.name
                names["heat_map"] = None if written.heat_map is None else written.heat_map.name
                for note in written.notes:
                    self.say(f"{row.id}: {note}")
        return replace(row, values={**row.values, **names})

    def _write(self, entry: Entry, reading: Reading, row: Prediction) -> Written:
        """The file is read once more: the predictor keeps no more of it than the model sees."""
        radiograph = replace(reading.one(entry), id=row.id)
        if not radiograph.header:
            raise InputError("a picture belongs to no study")
        x_11ss = self.predictor.tensor([radiograph])
        label = max(row.probabilities, key=row.probabilities.__getitem__)
        maps = gradient_maps(self.predictor, x_11ss, self.predictor.labels.index(label))
        # What speaks for the likeliest class: of the maps that cost one pass, it says most about the answer.
        heat_ss = signed_mean(maps, x_11ss.shape[-1]).clamp(min=0).cpu().numpy()
        answer = Answer(label=row.label or "", probabilities=row.probabilities, flags=row.flags)
        with entry.open() as source:
            return self.results.write(source, radiograph, answer, heat_ss)


def algorithm(record: ModelRecord) -> Algorithm:
    """What a report says of a model: its name, the hash of its weights, and how its numbers become answers."""
    calibration = stored(Calibration, record.calibration, record.name)
    settings = {"attn": version("attn"), "temperature": f"{calibration.temperature:.4g}"}
    if calibration.shift:
        settings["shift"] = ", ".join(f"{shift:.4g}" for shift in calibration.shift)
    points = {
        label: OperatingPoint(
            threshold=point.threshold,
            meaning=f"sensitivity {point.sensitivity:.3f}, specificity {point.specificity:.3f} where it was chosen",
        )
        for label, point in calibration.operating_points.items()
    }
    return Algorithm(
        name=record.name,
        version=record.versions.get("attn", version("attn")),
        sha256=record.files.get(WEIGHTS, ""),
        operating_points=points,
        settings=settings,
    )
