"""The pictures of the re-identification tables, at one size in memory, and who is trained, validated and measured on.

    nyala   individuals by the split of the table; a query is compared within its flank, with other encounters
    cars    the first half of the models, in the order of their labels, trains; the other half is searched, as Cars196
            is for retrieval

Shapes: N pictures, S and T the sides of a model's image.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap

from attn.apps.reid.data import MARGIN
from attn.apps.reid.preprocess import Preprocessing, to_unit
from attn.apps.reid.split import Split, split_individuals, told_apart
from attn.core.measures.retrieval import Retrieval, Rules, cosine_distances, evaluate_retrieval
from attn.core.training.pixels import CachedPixels
from attn.data_adapters.images.identities import LabelledIndividuals, open_individuals

Early = Callable[[torch.Tensor], torch.Tensor]
DATA = Path(os.environ.get("ATTN_DATA", "../shared/data")) / "reid"
COLUMNS: dict[str, dict[str, Any]] = {
    "nyala": {"identity": "identity", "within": "flank", "encounter": "encounter"},
    "cars": {"identity": "label"},
}


@dataclass(frozen=True)
class Pictures:
    """A set at one size: `exact_n3st` as a model sees a picture, `large_n3hw` with the room that training zooms in.

    target_n: the number of what is told apart, those that are trained on from 0 to `classes` - 1.
    """

    source: LabelledIndividuals
    split: Split
    test: np.ndarray
    target_n: torch.Tensor
    classes: int
    exact_n3st: np.ndarray
    large_n3hw: np.ndarray
    made: dict[str, tuple[CachedPixels, float]] = field(default_factory=dict)

    def training(self) -> CachedPixels:
        return CachedPixels(
            lambda i: (torch.from_numpy(self.large_n3hw[i].copy()), ""), self.split.train, self.target_n
        )

    def maps(self, part: str, early: Early) -> tuple[CachedPixels, float]:
        """What `early` makes of the pictures of train, validation or test, and the seconds that this took.

        It is kept as in training, half precision, and made once for all networks: their first stages do not learn. The
        pictures of train come with their mirror images.
        """
        if part not in self.made:
            began = time.process_time()
            rows = self.test if part == "test" else getattr(self.split, part)

            def see(i: int) -> torch.Tensor:
                x_13st = to_unit(torch.from_numpy(self.exact_n3st[i].copy())[None])
                return early(torch.cat([x_13st, x_13st.flip(3)]) if part == "train" else x_13st).half()

            found = CachedPixels(lambda i: (see(i) if part == "train" else see(i)[0], ""), [*rows], self.target_n)
            found.hashes()  # reads them all
            self.made[part] = found, time.process_time() - began
        return self.made[part]

    def shown(self, rows: np.ndarray | list[int]) -> CachedPixels:
        return CachedPixels(lambda i: (torch.from_numpy(self.exact_n3st[i].copy()), ""), [*rows], self.target_n)

    def within(self) -> np.ndarray:
        return codes(self.source.within or [""] * len(self.source))

    def measured(self, vectors_nf: np.ndarray, rows: np.ndarray) -> Retrieval:
        """Each of `rows` as a query among the others: within its flank, right ones from other encounters only."""
        number = np.arange(len(rows))
        who, within = codes(self.source.identities)[rows], self.within()[rows]
        apart = {}
        if self.source.encounters is not None:
            encounter = codes(self.source.encounters)[rows]
            apart = {"encounter": (encounter, encounter)}
        rules = Rules(within={"flank": (within, within)}, apart=apart, copies={"itself": (number, number)})
        return evaluate_retrieval(cosine_distances(vectors_nf, vectors_nf), who, who, rules)


def codes(values: list[str]) -> np.ndarray:
    found: np.ndarray = np.unique(values, return_inverse=True)[1]
    return found


def pictures(name: str, size: tuple[int, int], folder: Path) -> Pictures:
    """The set `name`, its pixels written once to `folder`."""
    source = open_individuals(DATA / name / "labels.csv", **COLUMNS[name])
    splits = source.splits
    if name == "cars":
        labels = source.individuals
        splits = ["train" if label in labels[: len(labels) // 2] else "test" for label in source.identities]
    split = split_individuals(source.identities, source.within, splits)
    named = told_apart(source.identities, source.within)
    trained = sorted({named[row] for row in split.train})
    number = {what: i for i, what in enumerate([*trained, *sorted({*named} - {*trained})])}
    large = (round(MARGIN * size[0]), round(MARGIN * size[1]))
    kept = [folder / f"{name}-{height}x{width}.npy" for height, width in (size, large)]
    if not all(path.exists() for path in kept):
        folder.mkdir(parents=True, exist_ok=True)
        parts = [path.with_suffix(".part") for path in kept]
        arrays = [
            open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(source), 3, *sides))
            for part, sides in zip(parts, (size, large), strict=True)
        ]
        for row in range(len(source)):
            picture = source.read(row)
            for array, sides in zip(arrays, (size, large), strict=True):
                array[row] = Preprocessing(size=sides).pixels(picture).numpy()
        for part, path in zip(parts, kept, strict=True):
            part.replace(path)
    exact, zoomed = (np.load(path, mmap_mode="r") for path in kept)
    test = np.flatnonzero(np.array(splits) == "test")
    target_n = torch.tensor([number[what] for what in named])
    return Pictures(source, split, test, target_n, len(trained), exact, zoomed)
