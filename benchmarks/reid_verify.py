"""Does a look at local features help a search? Nyala individuals that no model was trained on, with and without.

    uv run python benchmarks/reid_verify.py                          # the global features are those of a frozen Lite0
    uv run python benchmarks/reid_verify.py --model runs/nyala       # those of a model
    uv run python benchmarks/reid_verify.py --test                   # the individuals of the split "test", in the end
    uv run python benchmarks/reid_verify.py --fit                    # prints slope and intercept of e(n), for `verify`

Queries are the photographs of the split "train" whose individuals choose a model's best epoch, each against the others
of its flank. `--fit` takes the other individuals of that split. Their cosines also calibrate the global features.
`--test` asks the photographs of the split "test", by nyala's protocol.
"""

import argparse
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rows import keep

from attn.apps.reid.local_features import LocalFeatures, local_features
from attn.apps.reid.predict import ReIDPredictor
from attn.apps.reid.preprocess import Preprocessing, to_unit
from attn.apps.reid.probabilities import fit_pairs
from attn.apps.reid.split import split_individuals
from attn.apps.reid.verify import BEST, MOST, evidence, match
from attn.core import starts
from attn.core.blocks.lite0 import Lite0
from attn.core.measures.bootstrap import paired_bootstrap
from attn.core.measures.retrieval import Retrieval, Rules, evaluate_retrieval
from attn.data_adapters.images.identities import LabelledIndividuals, open_individuals

FITTED = 200  # queries whose best pictures `--fit` looks at again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--test", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = Path(os.environ.get("ATTN_DATA", "../shared/data")) / "reid/nyala/labels.csv"
    source = open_individuals(data, within="flank", split="train")
    split = split_individuals(source.identities, source.within, None)
    embed = frozen if options.model is None else ReIDPredictor.load(options.model).embed
    others = Pictures(source.take(split.train), embed)
    cosine_qg = others.cosines()
    slope, intercept = fit_pairs(cosine_qg[others.compared], others.same[others.compared])
    if options.fit:
        queries = np.random.default_rng(0).permutation(len(others.source))[:FITTED]
        rows, n, same = [], [], []
        for q in queries:
            near = others.nearest(cosine_qg, q)
            rows += [cosine_qg[q, near]]
            n += [others.inliers(q, near)]
            same += [others.same[q, near]]
        n, same, cosine = np.concatenate(n), np.concatenate(same), np.concatenate(rows)
        print("e(n): slope and intercept", fit_pairs(np.minimum(n, MOST), same))
        for low, high in ((0, 1), (4, 5), (5, 6), (6, 8), (8, 10), (10, 15), (15, 25), (25, 1000)):
            inside = (n >= low) & (n < high)
            counts = (inside & same).sum(), (inside & ~same).sum()
            ratio = np.log((counts[0] + 0.5) / (same.sum() + 1) / ((counts[1] + 0.5) / ((~same).sum() + 1)))
            print(f"{low} to {high - 1}: same {counts[0]}, different {counts[1]}, log ratio {ratio:.2f}")
        print("correlation of n and cosine", [np.corrcoef(n[k], cosine[k])[0, 1].round(3) for k in (same, ~same)])
        return
    name = "frozen Lite0" if options.model is None else str(options.model)
    asked = source.take(split.validation)
    if options.test:
        name, asked = f"{name}, test", open_individuals(data, within="flank", split="test")
    pictures = Pictures(asked, embed)
    cosine_qg = pictures.cosines()
    score_qg = slope * cosine_qg + intercept + evidence(np.zeros(1, np.int64))
    begun, pairs = time.process_time(), 0
    for q in range(len(cosine_qg)):
        near = pictures.nearest(cosine_qg, q)
        n = pictures.inliers(q, near)
        pairs += len(near)
        score_qg[q, near] += evidence(n) - evidence(np.zeros(1, np.int64))
    seconds = (time.process_time() - begun) / len(cosine_qg)
    alone, verified = pictures.measure(cosine_qg), pictures.measure(score_qg)
    groups = np.unique(pictures.source.identities, return_inverse=True)[1][alone.valid]
    gain = paired_bootstrap(partial(means, alone), partial(means, verified), groups)
    row: dict[str, object] = {"global features": name, "queries": int(alone.valid.sum())}
    for measure in ("mAP", "rank1"):
        row |= {measure: alone.summary()[measure], f"{measure} verified": verified.summary()[measure]}
        row |= {f"{measure} gain": gain[measure]}
    keep("reid_verify", row | {"seconds of a query": seconds})


class Pictures:
    """Photographs, which are compared within a flank: never one with itself."""

    def __init__(self, source: LabelledIndividuals, embed) -> None:
        self.source = source
        pixels = [source.read(i) for i in range(len(source))]
        self.vectors = embed(pixels)
        self.features: dict[int, LocalFeatures] = {}
        flank = np.array(source.within)
        self.compared = (flank[:, None] == flank) & ~np.eye(len(flank), dtype=bool)
        self.same = np.array(source.identities)[:, None] == np.array(source.identities)

    def cosines(self) -> np.ndarray:
        return np.where(self.compared, self.vectors @ self.vectors.T, -2).astype(np.float64)

    def nearest(self, cosine_qg: np.ndarray, q: int) -> np.ndarray:
        order = np.argsort(-cosine_qg[q], kind="stable")[:BEST]
        return order[self.compared[q, order]]

    def inliers(self, q: int, near: np.ndarray) -> np.ndarray:
        return np.array([match(self.local(q), self.local(int(row))).count for row in near])

    def local(self, row: int) -> LocalFeatures:
        if row not in self.features:
            self.features[row] = local_features(self.source.read(row))
        return self.features[row]

    def measure(self, score_qg: np.ndarray) -> Retrieval:
        flank = np.unique(self.source.within, return_inverse=True)[1]
        itself = np.arange(len(score_qg))
        rules = Rules(within={"flank": (flank, flank)}, copies={"itself": (itself, itself)})
        codes = np.unique(self.source.identities, return_inverse=True)[1]
        return evaluate_retrieval(-score_qg, codes, codes, rules)


def means(found: Retrieval, w_rn: np.ndarray) -> dict[str, np.ndarray]:
    total = w_rn.sum(axis=1)
    return {"mAP": w_rn @ found.ap[found.valid] / total, "rank1": w_rn @ found.cmc[found.valid, 0] / total}


def frozen(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """The mean over the map of Lite0 as ImageNet left it, at 224 pixels, of length 1."""
    net = Lite0().eval()
    starts.begin(net, "lite0")
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    prepared = Preprocessing(size=(224, 224))
    with torch.inference_mode():
        found = []
        for picture in pictures:
            x_3st = (to_unit(prepared.pixels(picture)) - mean[:, None, None]) / deviation[:, None, None]
            found.append(net(x_3st[None]).mean((2, 3))[0].numpy())
    vectors = np.stack(found)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
