"""Which rows of a labelled set a model may be measured on: those whose images it has not seen."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from attn.core.errors import InputError
from attn.core.models.record import ModelRecord
from attn.core.models.used import in_words, start_unknown, texts, uses_of
from attn.data_adapters.images.labelled import LabelledImages


@dataclass(frozen=True)
class UnseenRows:
    """Row numbers to measure on, the part of the training of those that are left out by their ids, and of hashes.

    `own` says that the set is that of the training, `count` how many rows it has.
    """

    rows: list[int]
    used: dict[int, str]
    uses: Mapping[str, str]
    own: bool
    count: int
    record: ModelRecord

    def measured_on(self, rows: Sequence[int], used: Mapping[int, str]) -> str:
        """In words which rows were measured, of which `used` were known by their hashes. InputError: none."""
        seen = in_words([*self.used.values(), *used.values()])
        if not rows:
            raise InputError(
                f"nothing is left to measure on: of {self.count} rows there are {seen}",
                hint="give labelled images that the model has not seen",
            )
        if self.own and not used:
            which = f"the {len(self.rows)} rows held out when the model was trained, of {self.count}"
        elif not used:
            which = f"all {len(self.rows)} rows; the model was not trained on this set"
        else:
            which = f"the {len(rows)} rows of {self.count} that the model has not seen; left out: {seen}"
        return which + start_unknown(self.record.data)


def unseen_rows(
    record: ModelRecord, source: LabelledImages, rows: Iterable[int], *, calibrated: bool = True
) -> UnseenRows:
    """Those of `rows` that may be measured; `calibrated=False` keeps the images of the calibration.

    In the set of the training its own split decides, by ids. In others the hashes of images do, when they are read.
    """
    data, count = record.data, len(source.labels)
    chosen, used = list(rows), {}
    own = source.fingerprint()["sha256"] == data.get("sha256")
    if own:
        held_out = set(texts(data, "held_out"))
        chosen = [row for row in chosen if source.ids[row] in held_out]
        used = {row: "train" for row in range(count) if source.ids[row] not in held_out}
    return UnseenRows(chosen, used, uses_of(record, training=not own, calibration=calibrated), own, count, record)
