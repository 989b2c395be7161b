"""The labelled chest set of the benchmarks, from the folder named by ATTN_DATA (else ../shared/data).

Images whose label is none of the three classes are left out. Kermany is paediatric; each source has its own camera,
compression and borders, and only two of the four have more than one class.
"""

import os
from collections.abc import Callable
from pathlib import Path

import polars as pl

from attn.core.files import replacing
from attn.core.models.record import CARD, WEIGHTS, ModelRecord
from attn.data_adapters.dicom.labelled import LabelledStudies, open_studies

CLASSES = ("covid", "normal", "pneumonia")
KERMANY, COHEN = "kermany224", "cohen_ieee8023"
RADIOGRAPHY = ("radiography_covid", "radiography_rsna_normal")


def data_folder() -> Path:
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    return Path(os.environ.get("ATTN_DATA", default)) / "chest"


def chest(work: Path) -> LabelledStudies:
    """The images of the three classes; their table is written to `work`, with paths that hold from anywhere."""
    folder = data_folder().resolve()
    table = pl.read_csv(folder / "labels.csv", infer_schema_length=0)
    table = table.filter(pl.col("label").is_in(CLASSES)).with_columns(path=pl.lit(f"{folder}/") + pl.col("path"))
    work.mkdir(parents=True, exist_ok=True)
    with replacing(work / "chest.csv") as part:  # two runs may start at once
        table.write_csv(part)
    return open_studies(work / "chest.csv")


def further_files(folder: Path, record: ModelRecord, but: str = "") -> dict[str, Callable[[Path], object]]:
    """What writes the files of a model beside its weights and card once more, as `save` takes it."""
    found = {name: (folder / name).read_bytes() for name in {*record.files} - {WEIGHTS, CARD, but}}
    return {name: (lambda path, data=data: path.write_bytes(data)) for name, data in found.items()}
