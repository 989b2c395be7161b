"""How well the anomaly of a galaxy model tells what is no galaxy, and how many galaxies it calls unusual.

    uv run python benchmarks/galaxy_anomaly.py                       # measures the model that ships
    uv run python benchmarks/galaxy_anomaly.py --fit runs/galaxy     # gives a model its anomaly; then measures it

The anomaly is fitted to the training rows of EFIGI and of Galaxy Zoo 2 (galaxies small in their frames), and calibrated
on EFIGI's validation rows. Of GZ2's 1,000 the 400 that no training of the model used are measured, also with a fit that
has seen nothing of this survey. Each kind of drawn pictures is measured twice: by the anomaly as it is, and by one that
was fitted without that kind. Stars are cut from shared FITS files. The area under the ROC curve is against the held-out
galaxies of either set.
"""

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

import numpy as np
import torch
from galaxy_data import ALLOWED, data_folder, efigi, gz2_parts, gz2_training
from rows import keep
from sklearn.metrics import roc_auc_score

from attn.apps.galaxy.anomaly import ANOMALY, FALSE_ALARMS, LIMIT
from attn.apps.galaxy.anomaly_fit import MOST_DRAWN, MOST_GALAXIES, against, features, fit_anomaly, shown
from attn.apps.galaxy.data import stratified_split
from attn.apps.galaxy.negatives import KINDS, picture
from attn.apps.galaxy.predict import BUNDLED_MODEL, GalaxyPredictor
from attn.core.models import folder as model_folder
from attn.core.models.record import CARD, WEIGHTS
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.sky.detect import detected_cutouts
from attn.data_adapters.sky.labelled import read_image
from attn.data_adapters.sky.looks import looks
from attn.data_adapters.sky.stretch import Stretch

DRAWN, FIRST = 150, 10_000  # pictures of each kind, and the seed of the first: no fit has seen them
FIELDS = ("m13_rice.fits", "horsehead_int16.fits")  # a globular cluster, and stars before a nebula
STAR = "derived_sdss_irg_cube_2_STAR_not_galaxy.fits"
RADIO = "mirabest_*.fits"


def stars() -> Iterator[np.ndarray]:
    """Display pixels of all that `--detect` finds in fields of stars, and of a star that was filed as a galaxy."""
    folder = data_folder() / "fits"
    for name in FIELDS:
        yield from (each.pixels for each in detected_cutouts(folder / name, Stretch()) if isinstance(each, Cutout))
    yield read_image(folder / STAR, Stretch()).pixels


def galaxies() -> dict[str, list[np.ndarray]]:
    """Held-out galaxies: EFIGI's, and those of GZ2 that no training of the model used."""
    source = efigi()
    train, test = gz2_parts()
    merging = train.filter(~train["label"].is_in(list(ALLOWED)))
    return {
        "EFIGI": [source.read(row, Stretch()).pixels for row in stratified_split(source.labels).held_out],
        "GZ2": [read_image(path, Stretch()).pixels for path in [*test["path"], *merging["path"]]],
    }


def fit(folder: Path) -> None:
    """Give the model in `folder` an anomaly; weights and further files stay as they are."""
    record = model_folder.load_record(folder)
    source = efigi()
    split = stratified_split(source.labels)
    with TemporaryDirectory() as work:
        extra = gz2_training(Path(work))
    anomaly, facts = fit_anomaly(GalaxyPredictor.load(folder), source, split.train, split.validation, extra=extra)
    record.calibration["anomaly"] = facts
    others = [name for name in record.files if name not in (WEIGHTS, CARD, ANOMALY)]
    files = {name: partial(copyfile, folder / name) for name in others} | {ANOMALY: anomaly.save}
    model_folder.save(folder, model_folder.load_state(folder, record), record, files)


def auc(galaxies_n: np.ndarray, others_n: np.ndarray) -> float:
    return float(roc_auc_score(np.repeat([0, 1], [len(galaxies_n), len(others_n)]), np.r_[galaxies_n, others_n]))


def measure(predictor: GalaxyPredictor) -> None:
    def embedded(pictures: Sequence[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(features(predictor, pictures))[None]

    seen = galaxies()
    known = {name: embedded(pictures) for name, pictures in seen.items()}
    score = {name: predictor.anomaly.score(x).numpy() for name, x in known.items()}
    flags = {name: np.array([bool(looks(pixels)) for pixels in pictures]) for name, pictures in seen.items()}
    for name, pictures in seen.items():
        unusual = score[name] > LIMIT
        row = {"pictures": f"galaxies of {name}", "count": len(pictures), "unusual": float(unusual.mean())}
        keep("galaxy_anomaly", row | {"flagged": float((unusual | flags[name]).mean())})
    source = efigi()
    split, draw = stratified_split(source.labels), np.random.default_rng(0)
    taught = features(predictor, shown(predictor, source, draw.permutation(split.train)[:MOST_GALAXIES].tolist(), draw))
    teaching = {kind: features(predictor, (picture(kind, number) for number in range(MOST_DRAWN))) for kind in KINDS}
    unseen = against(taught, np.concatenate([*teaching.values()])).float()
    held = torch.from_numpy(features(predictor, shown(predictor, source, split.validation, draw)))
    limit = torch.quantile(held @ unseen, 1 - FALSE_ALARMS)
    unusual = (known["GZ2"][0] @ unseen > limit).numpy()
    row = {"pictures": "galaxies of GZ2, by a fit that has not seen GZ2", "count": len(unusual)}
    row |= {"unusual": float(unusual.mean()), "flagged": float((unusual | flags["GZ2"]).mean())}
    keep("galaxy_anomaly", row)
    pools = {kind: [picture(kind, FIRST + number) for number in range(DRAWN)] for kind in KINDS}
    pools["stars of shared FITS"] = [*stars()]
    radio = sorted((data_folder() / "fits").glob(RADIO))
    pools["radio galaxies of shared FITS"] = [read_image(path, Stretch()).pixels for path in radio]
    drawn: list[np.ndarray] = []
    seen_at_all: list[np.ndarray] = []
    for kind, pictures in pools.items():
        x = embedded(pictures)
        found = predictor.anomaly.score(x).numpy()
        flagged = np.array([bool(looks(pixels)) for pixels in pictures])
        row = {"pictures": kind, "count": len(pictures), "unusual": float((found > LIMIT).mean())}
        row |= {"flagged": float(((found > LIMIT) | flagged).mean())}
        row |= {f"auc_{name}": auc(score[name], found) for name in seen}
        if kind in KINDS:
            weight = against(taught, np.concatenate([teaching[other] for other in KINDS if other != kind])).float()
            row |= {
                f"auc_{name}_unseen": auc((known[name][0] @ weight).numpy(), (x[0] @ weight).numpy()) for name in seen
            }
            drawn.append(found)
            seen_at_all.append((found > LIMIT) | flagged)
        keep("galaxy_anomaly", row)
    together = np.concatenate(drawn)
    row = {"pictures": "all that is drawn", "count": len(together), "unusual": float((together > LIMIT).mean())}
    row |= {"flagged": float(np.concatenate(seen_at_all).mean())}
    keep("galaxy_anomaly", row | {f"auc_{name}": auc(score[name], together) for name in seen})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--fit", type=Path, metavar="MODEL", help="fit the anomaly of this model first, in its folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.fit is not None:
        fit(options.fit)
    measure(GalaxyPredictor.load(options.fit or options.model))


if __name__ == "__main__":
    main()
