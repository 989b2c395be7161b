"""The labelled sets of the galaxy benchmarks, from the folder named by ATTN_DATA (else ../shared/data).

EFIGI is the set that is measured. From GZ2 only the training part is used, with the labels that EFIGI's classes allow:
smooth is elliptical or lenticular, edge-on is a disc seen from the side, lenticular or spiral; mergers are left out.
"""

import os
from pathlib import Path

import polars as pl
from sklearn.model_selection import train_test_split

from attn.core.files import replacing
from attn.data_adapters.images.labelled import LabelledImages
from attn.data_adapters.sky.labelled import open_galaxies

ALLOWED = {"spiral": "spiral", "elliptical": "elliptical|lenticular", "edge-on": "lenticular|spiral"}
FURTHER = ("label", "extra")  # EFIGI's T type and its 16 visual attributes


def data_folder() -> Path:
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    return Path(os.environ.get("ATTN_DATA", default)) / "galaxy"


def efigi() -> LabelledImages:
    return open_galaxies(data_folder() / "efigi" / "labels.csv", image="path", label="coarse")


def gz2_parts() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Training and test rows (80/20 by label, seed 0), with paths that hold from anywhere."""
    folder = data_folder() / "gz2"
    table = pl.read_csv(folder / "labels.csv").with_columns(path=pl.lit(f"{folder.resolve()}/") + pl.col("path"))
    train, test = train_test_split(range(len(table)), test_size=0.2, random_state=0, stratify=table["label"].to_list())
    return table[train], table[test]


def gz2_training(work: Path) -> LabelledImages:
    """GZ2's training rows with the classes they allow; the table is written to `work`."""
    train, _ = gz2_parts()
    rows = train.filter(pl.col("label").is_in(list(ALLOWED))).with_columns(label=pl.col("label").replace(ALLOWED))
    work.mkdir(parents=True, exist_ok=True)
    with replacing(work / "gz2_training.csv") as part:  # two runs may start at once
        rows.select("path", "label").write_csv(part)
    return open_galaxies(work / "gz2_training.csv", image="path", label="label")
