"""Whether the pairs of patches that `attn reid explain` joins matter: the score falls where they are greyed.

    python benchmarks/reid_explain.py MODEL nyala/labels.csv

For queries that the model has not seen and the photograph that it finds most similar among 200 of the same flank, the
patches of the ten strongest pairs become the picture's mean colour, and those of ten random pairs instead; a patch is
in one pair. One picture is greyed and the other stays as it is, and the other way round: the fall is the mean of both.
Where both are greyed at once they are alike in what they lack: that is kept as `both`. Printed: the median, over the
pairs of photographs, of how far the cosine falls, and the ratio of the two. `--validation`: on the individuals that
chose the model's weights, for choices.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rows import RESULTS, keep

from attn.apps.reid.explain import STRONGEST, explain
from attn.apps.reid.predict import ReIDPredictor
from attn.apps.reid.unseen import rows_of
from attn.data_adapters.images.identities import open_individuals

GALLERY = 200
DRAWS = 4  # of random pairs, for each pair of photographs


def greyed(picture: np.ndarray, patches: set[int], grid: tuple[int, int]) -> np.ndarray:
    """The picture with these patches in its mean colour."""
    grey = picture.copy()
    lines, columns = (
        np.linspace(0, side, count + 1).round().astype(int) for side, count in zip(picture.shape[:2], grid, strict=True)
    )
    for patch in patches:
        line, column = divmod(patch, grid[1])
        here = np.s_[lines[line] : lines[line + 1], columns[column] : columns[column + 1]]
        grey[here] = picture.mean(axis=(0, 1)).round()
    return grey


def patches(pairs: Iterable[tuple[int, int]]) -> tuple[set[int], set[int]]:
    """Those of the first picture and those of the second."""
    first, second = zip(*pairs, strict=True)
    return {*first}, {*second}


def main() -> None:
    """Print one object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("labels")
    parser.add_argument("--within", default="flank")
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    predictor = ReIDPredictor.load(options.model)
    found = open_individuals(options.labels, within=options.within, split="train" if options.validation else "test")
    learned, chose = (set(rows_of(predictor.record, found, part)) for part in ("train", "validation"))
    found = found.take(sorted(chose if options.validation else {*range(len(found))} - learned - chose))
    generator = np.random.default_rng(0)
    found = found.take(generator.permutation(len(found))[:GALLERY])
    vectors = predictor.embed([found.read(row) for row in range(len(found))])
    within = np.array(found.within or [""] * len(found))
    cosines = np.where(within[:, None] == within, vectors @ vectors.T, -np.inf)
    np.fill_diagonal(cosines, -np.inf)
    falls: dict[str, list[tuple[float, float]]] = {"strongest": [], "random": []}
    before: list[float] = []
    for a in range(options.pairs):
        pictures = found.read(a), found.read(int(cosines[a].argmax()))
        explained = explain(predictor, *pictures)

        def fall(both: tuple[set[int], set[int]], explained=explained, pictures=pictures) -> tuple[float, float]:
            grey = [greyed(picture, some, explained.grid) for picture, some in zip(pictures, both, strict=True)]
            a, b, a_grey, b_grey = predictor.embed([*pictures, *grey])
            return a @ b - (a_grey @ b + a @ b_grey) / 2, a @ b - a_grey @ b_grey

        n, m = explained.pairs.shape
        best = patches(explained.strongest)
        drawn = [
            ({*generator.permutation(n)[:STRONGEST]}, {*generator.permutation(m)[:STRONGEST]}) for _ in range(DRAWS)
        ]
        before.append(explained.similarity)
        falls["strongest"].append(fall(best))
        falls["random"].append(tuple(np.mean([fall(each) for each in drawn], axis=0)))
    (strongest, both), (random, both_random) = (np.median(falls[name], axis=0).tolist() for name in falls)
    further = np.array(falls["strongest"])[:, 0] > np.array(falls["random"])[:, 0]
    row = {
        "row": f"{predictor.record.name}, {'validation' if options.validation else 'test'}",
        "pairs_of_photographs": options.pairs,
        "cosine": round(float(np.median(before)), 3),
        "strongest": round(strongest, 4),
        "random": round(random, 4),
        "ratio": round(strongest / random, 2) if random > 0 else None,
        "strongest_falls_further": round(float(further.mean()), 2),
        "both": round(both, 4),
        "both_random": round(both_random, 4),
    }
    keep("reid_explain", row, options.results)


if __name__ == "__main__":
    main()
