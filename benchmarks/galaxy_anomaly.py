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
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

import numpy as np
from galaxy_data import ALLOWED, data_folder, efigi, gz2_parts, gz2_training
from rows import keep
from sklearn.metrics import roc_auc_score

from attn.apps.galaxy.anomaly import ANOMALY, LIMIT, Anomaly
from attn.apps.galaxy.anomaly_fit import (
    FEWEST_TIMES,
    MOST_DRAWN,
    MOST_GALAXIES,
    against,
    fit_anomaly,
    measured,
    measured_others,
    shown,
)
from attn.apps.galaxy.data import stratified_split
from attn.apps.galaxy.negatives import KINDS, picture
from attn.apps.galaxy.predict import BUNDLED_MODEL, GalaxyPredictor
from attn.apps.galaxy.preprocess import Preprocessing
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
    stretch, source = Preprocessing(**record.preprocessing).stretch, efigi()
    split = stratified_split(source.labels)
    with TemporaryDirectory() as work:
        extra = gz2_training(Path(work))
        anomaly, facts = fit_anomaly(stretch, source, split.train, split.validation, extra=extra)
    record.calibration["anomaly"] = facts
    others = [name for name in record.files if name not in (WEIGHTS, CARD, ANOMALY)]
    files = {name: partial(copyfile, folder / name) for name in others} | {ANOMALY: anomaly.save}
    model_folder.save(folder, model_folder.load_state(folder, record), record, files)


def fits_without_gz2() -> Callable[[Sequence[str]], Anomaly]:
    """From the kinds of drawn pictures to an anomaly that has seen them and EFIGI's training rows."""
    source, draw = efigi(), np.random.default_rng(0)
    split = stratified_split(source.labels)
    galaxies_nm = measured(shown(Stretch(), source, draw.permutation(split.train)[:MOST_GALAXIES].tolist(), draw))
    others = {kind: measured_others(kind, range(MOST_DRAWN), draw) for kind in KINDS}
    held_nm = measured(shown(Stretch(), source, split.validation, draw, FEWEST_TIMES))
    return lambda kinds: against(galaxies_nm, np.concatenate([others[kind] for kind in kinds]), held_nm)


def auc(galaxies_n: np.ndarray, others_n: np.ndarray) -> float:
    return float(roc_auc_score(np.repeat([0, 1], [len(galaxies_n), len(others_n)]), np.r_[galaxies_n, others_n]))


def measure(folder: Path) -> None:
    anomaly = GalaxyPredictor.load(folder).anomaly
    seen = {name: [looks(pixels) for pixels in pictures] for name, pictures in galaxies().items()}
    flags = {name: np.array([bool(each.flags) for each in found]) for name, found in seen.items()}
    known = {name: np.array([each.measures for each in found]) for name, found in seen.items()}
    score = {name: anomaly.score(x) for name, x in known.items()}
    fit_to = fits_without_gz2()
    without_gz2 = fit_to([*KINDS])
    rows = [(f"galaxies of {name}", score[name], flags[name]) for name in seen]
    rows.append(("galaxies of GZ2, by a fit that has not seen GZ2", without_gz2.score(known["GZ2"]), flags["GZ2"]))
    for name, found, flagged in rows:
        row = {"pictures": name, "count": len(found), "unusual": float((found > LIMIT).mean())}
        keep("galaxy_anomaly", row | {"flagged": float(((found > LIMIT) | flagged).mean())})
    pools = {kind: [picture(kind, FIRST + number) for number in range(DRAWN)] for kind in KINDS}
    pools["stars of shared FITS"] = [*stars()]
    radio = sorted((data_folder() / "fits").glob(RADIO))
    pools["radio galaxies of shared FITS"] = [read_image(path, Stretch()).pixels for path in radio]
    looked = {kind: [looks(pixels) for pixels in pictures] for kind, pictures in pools.items()}
    looked["all that is drawn"] = [each for kind in KINDS for each in looked[kind]]
    for kind, pictures in looked.items():
        x = np.array([each.measures for each in pictures])
        found = anomaly.score(x)
        flagged = np.array([bool(each.flags) for each in pictures])
        row = {"pictures": kind, "count": len(pictures), "unusual": float((found > LIMIT).mean())}
        row |= {"flagged": float(((found > LIMIT) | flagged).mean())}
        row |= {f"auc_{name}": auc(score[name], found) for name in seen}
        if kind in KINDS:
            other = fit_to([each for each in KINDS if each != kind])
            row |= {f"auc_{name}_unseen": auc(other.score(known[name]), other.score(x)) for name in seen}
        else:
            row |= {f"auc_{name}_unseen": auc(without_gz2.score(known[name]), without_gz2.score(x)) for name in seen}
        keep("galaxy_anomaly", row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--fit", type=Path, metavar="MODEL", help="fit the anomaly of this model first, in its folder")
    options = parser.parse_args()
    if options.fit is not None:
        fit(options.fit)
    measure(options.fit or options.model)


if __name__ == "__main__":
    main()
