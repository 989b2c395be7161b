"""Whether the pairs of patches that `attn reid explain` joins matter: the score falls where they are greyed.

    python benchmarks/reid_explain.py MODEL nyala/labels.csv

For pairs of photographs of one individual and flank that the model has not seen, the patches of the ten strongest pairs
become the picture's mean colour in both, and those of ten random pairs instead. Printed: the median, over the pairs of
photographs, of how far the cosine falls, and the ratio of the two.
"""

import argparse
import json
from collections import defaultdict

import numpy as np

from attn.apps.reid.explain import explain
from attn.apps.reid.predict import ReIDPredictor
from attn.apps.reid.unseen import rows_of
from attn.data_adapters.images.identities import open_individuals

DRAWS = 5  # of random pairs, for each pair of photographs


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
    of: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, key in enumerate(zip(found.identities, found.within or [""] * len(found), strict=True)):
        of[key].append(row)
    generator = np.random.default_rng(0)
    groups = [rows for rows in of.values() if len(rows) > 1]
    falls: dict[str, list[float]] = {"strongest": [], "random": []}
    for _ in range(options.pairs):
        a, b = generator.choice(groups[generator.integers(len(groups))], 2, replace=False)
        pictures = found.read(int(a)), found.read(int(b))
        explained = explain(predictor, *pictures)

        def fall(pairs: list[tuple[int, int]], explained=explained, pictures=pictures) -> float:
            first, second = ({pair[side] for pair in pairs} for side in (0, 1))
            both = greyed(pictures[0], first, explained.grid), greyed(pictures[1], second, explained.grid)
            return explained.similarity - predictor.similarity(*both)

        n, m = explained.pairs.shape
        drawn = [
            [*zip(generator.integers(n, size=10), generator.integers(m, size=10), strict=True)] for _ in range(DRAWS)
        ]
        falls["strongest"].append(fall(explained.strongest))
        falls["random"].append(float(np.mean([fall(pairs) for pairs in drawn])))
    strongest, random = (float(np.median(falls[name])) for name in ("strongest", "random"))
    ahead = float(np.mean(np.array(falls["strongest"]) > np.array(falls["random"])))
    ratio = strongest / random if random > 0 else None
    print(
        json.dumps(
            {
                "model": predictor.record.name, "pairs_of_photographs": options.pairs, "strongest": strongest,
                "random": random, "ratio": ratio, "strongest_falls_further": ahead,
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
