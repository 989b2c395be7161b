"""The vocabulary of a click model: its file in the model folder, and the cells that it does not know."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from attn.apps.ctr.model import shapes_of
from attn.core.errors import ModelError
from attn.core.models import folder as model_folder
from attn.core.models.folder import ModelRecord, building
from attn.data_adapters.tables.codes import MISSING, Codebook, Encoded, Place
from attn.data_adapters.tables.small import read_table

BUNDLED_MODEL = Path(__file__).with_name("weights")
VOCABULARY = "vocabulary.parquet"


def save_model(folder: Path, state: dict[str, Tensor], record: ModelRecord, codebook: Codebook) -> ModelRecord:
    """Write a model folder with the vocabulary beside the weights; the record as written."""
    return model_folder.save(folder, state, record, {VOCABULARY: codebook.table().write_parquet})


def load_codebook(folder: Path, record: ModelRecord) -> Codebook:
    """The vocabulary and the scales of a model. Raises ModelError."""
    path = folder / VOCABULARY
    if not path.is_file():
        raise ModelError("is missing", where=path, hint=model_folder.COPY_AGAIN)
    with building(path):
        codebook = Codebook.from_described(record.preprocessing, read_table(path))
        shapes_of(codebook)  # fails when a field lacks its vocabulary or its scale
    return codebook


@dataclass
class Unseen:
    """How many rows were read; of each field, how many cells have no vector of their own, and how many are missing."""

    rows: int = 0
    cells: dict[str, int] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)

    def add(self, encoded: Encoded, places: Sequence[Place]) -> None:
        """Count further rows."""
        self.rows += len(encoded.ids)
        for name, unknown_n in encoded.unknown.items():
            self.cells[name] = self.cells.get(name, 0) + int(unknown_n.sum())
        for place in places:
            if place.field.kind == "number":
                missing_n = np.isnan(encoded.numbers[:, place.column])
            else:
                missing_n = encoded.ids[:, place.column] == place.first + MISSING
            self.missing[place.field.name] = self.missing.get(place.field.name, 0) + int(missing_n.sum())

    def merge(self, others: "Unseen") -> None:
        """Add what was counted in other rows."""
        self.rows += others.rows
        for mine, theirs in ((self.cells, others.cells), (self.missing, others.missing)):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count

    def shares(self) -> dict[str, float]:
        """The share of such cells by field."""
        return {name: count / max(self.rows, 1) for name, count in self.cells.items()}

    def never_there(self) -> list[str]:
        """The fields that are missing in every row and not for a value that cannot be read."""
        return [name for name, count in self.missing.items() if count == self.rows > 0 and not self.cells.get(name)]
