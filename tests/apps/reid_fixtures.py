"""Drawn individuals: each has a coat of coloured blocks, and each picture of it is lit and cropped in its own way."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image
from typer.testing import CliRunner, Result

from attn.apps.reid.gallery import COLUMNS, Gallery, ModelId
from attn.apps.reid.nearest import unit
from attn.cli import app

SIDE = 40


class Drawn:
    """A labelled set in memory, as training reads it; with `flanks` each individual has two coats, L and R."""

    def __init__(self, individuals: int = 12, pictures: int = 6, *, flanks: bool = False, test: int = 0) -> None:
        self.identities = [f"animal{i:03}" for i in range(individuals) for _ in range(pictures)]
        sides = ["LR"[i % 2] for _ in range(individuals) for i in range(pictures)]
        self.within = sides if flanks else None
        tests = {f"animal{i:03}" for i in range(test)}
        self.splits = ["test" if name in tests else "train" for name in self.identities] if test else None
        self.was_read: set[int] = set()

    def __len__(self) -> int:
        return len(self.identities)

    def read(self, i: int) -> np.ndarray:
        """(40, 36, 3) uint8."""
        self.was_read.add(i)
        coat = int(self.identities[i][-3:]) * 2 + (self.within is not None and self.within[i] == "R")
        blocks = np.random.default_rng(coat).uniform(30, 220, (4, 4, 3))
        picture = np.kron(blocks, np.ones((SIDE // 4 + 2, SIDE // 4 + 2, 1)))
        generator = np.random.default_rng(1000 + i)
        top, left = generator.integers(0, 6, 2)
        lit = picture[top : top + SIDE, left : left + SIDE - 4] * generator.uniform(0.85, 1.1)
        return (lit + generator.normal(0, 4, lit.shape)).clip(0, 255).astype(np.uint8)

    def fingerprint(self) -> dict[str, Any]:
        return {"source": "drawn", "count": len(self), "individuals": len({*self.identities}), "sha256": "0" * 64}


def write_photographs(folder: Path, individuals: int = 12, pictures: int = 6, *, test: int = 0) -> Path:
    """`Drawn` as PNG files, and labels.csv with path, identity, flank, encounter and split; the table's path.

    Two photographs of an individual, a left and a right one, are of one encounter.
    """
    drawn = Drawn(individuals, pictures, flanks=True, test=test)
    folder.mkdir(parents=True)
    lines = ["path,identity,flank,encounter,split"]
    for i, name in enumerate(drawn.identities):
        assert drawn.within is not None
        path = f"{name}_{i % pictures}.png"
        Image.fromarray(drawn.read(i)).save(folder / path)
        split = drawn.splits[i] if drawn.splits else "train"
        lines.append(f"{path},{name},{drawn.within[i]},{i % pictures // 2},{split}")
    table = folder / "labels.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


def run(*arguments: object, code: int = 0) -> Result:
    """`attn reid ...`, which is to end with `code`."""
    done = CliRunner().invoke(app, ["reid", *map(str, arguments)])
    assert done.exit_code == code, f"{done.exit_code}: {done.stderr}{done.stdout}"
    return done


def told(*arguments: object, code: int = 0) -> Any:
    """What it prints as JSON."""
    return json.loads(run(*arguments, "--json", code=code).stdout)


def gallery_of(identities: list[str], vectors: np.ndarray, **columns: list[str]) -> Gallery:
    """A gallery in memory, of vectors of any length; `columns` replace those that are empty else."""
    count = len(identities)
    texts = {name: [""] * count for name, kind in COLUMNS.items() if kind == pl.String}
    ids = [f"{i:04}.jpg" for i in range(count)]
    rows = {**texts, "id": ids, "path": ids, "identity": identities, **columns}
    rows |= {"bytes": [1] * count, "modified": [1] * count, "thumbnail": [b""] * count}  # type: ignore[dict-item]
    table = pl.DataFrame({name: rows[name] for name in COLUMNS}, schema=COLUMNS)
    return Gallery(Path("g"), ModelId("m", "ab", vectors.shape[1]), Path(), table, unit(vectors)[0])
