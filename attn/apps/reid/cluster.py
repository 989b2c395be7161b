"""How many individuals are in these photographs: groups of pictures, and how well they agree with what is known.

Shapes: N pictures.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from attn.apps.reid.cluster_picture import draw
from attn.apps.reid.groups import FEWEST, groups
from attn.apps.reid.predict import ReIDPredictor
from attn.apps.reid.unseen import Unseen, rows_of, unseen
from attn.core.errors import UsageError
from attn.core.files import claim
from attn.core.measures.open_set import grouping_report
from attn.data_adapters.images.identities import LabelledIndividuals

COLUMNS = ("id", "group", "pictures", "individual", "within", "error")


@dataclass(frozen=True)
class Grouping:
    """group: a number for each picture, from 0. trained_on: how many are of individuals that the model learned."""

    found: Unseen
    group: Int[np.ndarray, " N"]
    cut: float
    reranked: bool
    trained_on: int

    @cached_property
    def sizes(self) -> dict[int, int]:
        """Pictures of each group, the largest group first."""
        return dict(sorted(Counter(self.group.tolist()).items(), key=lambda item: (-item[1], item[0])))

    def report(self) -> dict[str, Any]:
        """Counts, and `truth`: ARI, pairwise precision and recall over the pictures whose individual is known.

        Where pictures are compared within a flank, the truth is the flank of an individual. `by_value` counts the
        groups of each.
        """
        pictures = self.found.individuals
        within = pictures.within or [""] * len(pictures)
        known = [row for row, name in enumerate(pictures.identities) if name]
        truth: dict[str, Any] | None = None
        if known:
            number: dict[tuple[str, str], int] = {}
            shown = [number.setdefault((pictures.identities[row], within[row]), len(number)) for row in known]
            truth = {"pictures": len(known), "trained_on": self.trained_on}
            truth |= grouping_report(np.array(shown), self.group[known])
        by_value: dict[str, set[int]] = {}
        for value, group in zip(within, self.group.tolist(), strict=True):
            by_value.setdefault(value, set()).add(group)
        return {
            "pictures": len(pictures),
            "groups": len(self.sizes),
            "alone": sum(size == 1 for size in self.sizes.values()),
            "by_value": {value: len(each) for value, each in sorted(by_value.items())} if pictures.within else None,
            "distance": "re-ranked" if self.reranked else "cosine",
            "cut": self.cut,
            "truth": truth,
            "failed": self.found.failed,
        }

    def rows(self) -> list[dict[str, Any]]:
        """A row of COLUMNS for each picture, those of a group together and the largest group first; then the failed."""
        pictures, order = self.found.individuals, {group: place for place, group in enumerate(self.sizes)}
        rows: list[dict[str, Any]] = []
        for row in sorted(range(len(pictures)), key=lambda row: (order[int(self.group[row])], row)):
            group = int(self.group[row])
            cells = (pictures.ids[row], group + 1, self.sizes[group], pictures.identities[row] or None)
            within = pictures.within[row] if pictures.within else None
            rows.append(dict(zip(COLUMNS, (*cells, within, None), strict=True)))
        empty: dict[str, Any] = dict.fromkeys(COLUMNS)
        return rows + [empty | {"id": id, "error": reason} for id, reason in self.found.failed.items()]

    def picture(self, folder: Path) -> list[Path]:
        """Write groups.png to `folder`."""
        claim(folder)
        draw(self, folder / "groups.png")
        return [folder / "groups.png"]


def cluster(
    predictor: ReIDPredictor,
    source: LabelledIndividuals,
    *,
    cut: float | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Grouping:
    """Group pictures; what the model has seen is grouped as well, and counted.

    The cut is the calibration's: on re-ranked distances where it has one for them and there are FEWEST pictures or more
    of each value, else on cosine distances. A `cut` that is given is a cosine distance. Raises UsageError for a model
    without calibration where no `cut` is given.
    """
    found = unseen(predictor, source, parts=(), advance=advance)
    calibration, reranked = predictor.calibration, False
    if cut is None:
        if calibration is None or calibration.cut is None:
            raise UsageError(
                "the model is not calibrated, so nothing says how alike the pictures of one individual are",
                where=predictor.record.name,
                hint="attn reid calibrate fits that on labelled pictures, or give --cut, a cosine distance",
            )
        smallest = min(Counter(found.individuals.within or ["all"] * len(found.hashes)).values())
        reranked = calibration.cut_reranked is not None and smallest >= FEWEST
        cut = calibration.cut_reranked if reranked else calibration.cut
    assert cut is not None
    group = groups(found.vectors, found.individuals.within, cut, reranked=reranked)
    return Grouping(found, group, cut, reranked, len(rows_of(predictor.record, found.individuals, "train")))
