"""Whether the pairs of patches that `attn reid explain` joins matter: the score falls where they are greyed.

    python benchmarks/reid_explain.py MODEL nyala/labels.csv

For queries that the model has not seen and the photograph that it finds most similar among 200 of the same flank, the
patches of the ten strongest pairs become the picture's mean colour in both, and those of ten random pairs instead.
Printed: the median, over the pairs of photographs, of how far the cosine falls, and the ratio of the two.
"""

import argparse
import json
from collections.abc import Iterable

import numpy as np

from attn.apps.reid.explain import explain
from attn.apps.reid.predict import ReIDPredictor
from attn.apps.reid.unseen import rows_of
from attn.data_adapters.images.identities import open_individuals

GALLERY = 200
DRAWS = 10  # of random pairs, for each pair of photographs


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
    parser.add_argument("--split", default="test")
    parser.add_argument("--pairs", type=int, default=50)
    options = parser.parse_args()
    predictor = ReIDPredictor.load(options.model)
    found = open_individuals(options.labels, within=options.within, split=options.split)
    learned = {row for part in ("train", "validation") for row in rows_of(predictor.record, found, part)}
    found = found.take([row for row in range(len(found)) if row not in learned])
    generator = np.random.default_rng(0)
    found = found.take(generator.permutation(len(found))[:GALLERY])
    vectors = predictor.embed([found.read(row) for row in range(len(found))])
    within = np.array(found.within or [""] * len(found))
    cosines = np.where(within[:, None] == within, vectors @ vectors.T, -np.inf)
    np.fill_diagonal(cosines, -np.inf)
    falls: dict[str, list[float]] = {"strongest": [], "random": [], "as_many": [], "cosine": []}
    for a in range(options.pairs):
        pictures = found.read(a), found.read(int(cosines[a].argmax()))
        explained = explain(predictor, *pictures)

        def fall(both: tuple[set[int], set[int]], explained=explained, pictures=pictures) -> float:
            grey = [greyed(picture, some, explained.grid) for picture, some in zip(pictures, both, strict=True)]
            return explained.similarity - predictor.similarity(*grey)

        n, m = explained.pairs.shape
        best = patches(explained.strongest)
        drawn = [
            patches(zip(generator.integers(n, size=10), generator.integers(m, size=10), strict=True))
            for _ in range(DRAWS)
        ]
        # Strong pairs share patches: as many patches of each picture, at random.
        again = [
            ({*generator.permutation(n)[: len(best[0])]}, {*generator.permutation(m)[: len(best[1])]})
            for _ in range(DRAWS)
        ]
        falls["cosine"].append(explained.similarity)
        falls["strongest"].append(fall(best))
        falls["random"].append(float(np.mean([fall(each) for each in drawn])))
        falls["as_many"].append(float(np.mean([fall(each) for each in again])))
    strongest, random, as_many = (float(np.median(falls[name])) for name in ("strongest", "random", "as_many"))
    ahead = float(np.mean(np.array(falls["strongest"]) > np.array(falls["random"])))
    print(
        json.dumps(
            {
                "model": predictor.record.name,
                "pairs_of_photographs": options.pairs,
                "cosine": float(np.median(falls["cosine"])),
                "strongest": strongest,
                "random": random,
                "ratio": strongest / random if random > 0 else None,
                "as_many_patches": as_many,
                "ratio_as_many": strongest / as_many if as_many > 0 else None,
                "strongest_falls_further": ahead,
            }
        )
    )


if __name__ == "__main__":
    main()
