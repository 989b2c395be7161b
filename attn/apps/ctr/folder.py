"""The vocabulary of a click model: its file in the model folder, and the cells that it does not know."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from attn.apps.ctr.model import shapes_of
from attn.core.errors import ModelError
from attn.core.models import folder as model_folder
from attn.core.models.folder import ModelRecord, building
from attn.data_adapters.tables.codes import Codebook, Encoded
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
    """How many rows were read, and how many cells of each field have no vector of their own."""

    rows: int = 0
    cells: dict[str, int] = field(default_factory=dict)

    def add(self, encoded: Encoded) -> None:
        """Count further rows."""
        self.rows += len(encoded.ids)
        for name, unknown_n in encoded.unknown.items():
            self.cells[name] = self.cells.get(name, 0) + int(unknown_n.sum())

    def merge(self, others: "Unseen") -> None:
        """Add what was counted in other rows."""
        self.rows += others.rows
        for name, count in others.cells.items():
            self.cells[name] = self.cells.get(name, 0) + count

    def shares(self) -> dict[str, float]:
        """The share of such cells by field."""
        return {name: count / max(self.rows, 1) for name, count in self.cells.items()}
