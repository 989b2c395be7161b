"""How many labels of the bundled galaxy model change when the picture changes and the galaxy does not.

    uv run python benchmarks/galaxy_robust.py --one-view
    uv run python benchmarks/galaxy_robust.py --model runs/galaxy --rows validation
    uv run python benchmarks/galaxy_robust.py --before runs/old

The first keeps the table of the 892 held-out rows of EFIGI, of one view, as `predict` looks at them by default. The
second prints another model's on the rows that choices are made on. The third measures an older model beside it. Each
change is applied to the display pixels (88 px); the label of the changed picture is compared with the same model's
label of the unchanged one, for one view and for the mean of eight (not with `--one-view`, which takes an eighth of the
time). The last row is no share of changed labels: it is the balanced accuracy of spiral against smooth on the test part
of Galaxy Zoo 2, where galaxies are small in the frame and more distant.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch
from astropy.io import fits
from galaxy_data import efigi, gz2_parts
from galaxy_quality import grey
from rows import keep
from sklearn.metrics import balanced_accuracy_score

from attn.apps.galaxy.data import stratified_split
from attn.apps.galaxy.predict import GalaxyPredictor
from attn.apps.galaxy.preprocess import symmetries
from attn.apps.galaxy.read import read_cutout
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.sky.stretch import Stretch

Change = Callable[[np.ndarray], np.ndarray]
BATCH = 64


def gamma(exponent: float) -> Change:
    return lambda x: np.rint(255 * (x / 255) ** exponent).astype(np.uint8)


def brighter(by: int) -> Change:
    return lambda x: np.clip(x.astype(int) + by, 0, 255).astype(np.uint8)


def turned(quarters: int, mirrored: bool) -> Change:
    return lambda x: np.rot90(x[:, ::-1] if mirrored else x, quarters).copy()


def shifted(axis: int) -> Change:
    return lambda x: np.roll(x, 1, axis)


def cropped(by: int) -> Change:
    """`by` pixels less in each direction, half of them on each side."""
    return lambda x: x[by // 2 : -by // 2, by // 2 : -by // 2].copy()


def as_fits(x: np.ndarray) -> np.ndarray:
    """Written as a cube of red, green and blue counts and read again, through the stretch."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cube.fits"
        fits.writeto(path, np.moveaxis(x[::-1], 2, 0).astype(np.float32))
        return read_cutout(path, Stretch()).pixels


CHANGES: dict[str, tuple[str, list[Change]]] = {  # the aim, and the changes whose mean is taken
    "turned by 90 and 180 degrees, mirrored": ("1 %", [turned(1, False), turned(2, False), turned(0, True)]),
    "shifted by one pixel": ("1 %", [shifted(0), shifted(1)]),
    "gamma 1.5": ("8 %", [gamma(1.5)]),
    "gamma 0.7": ("8 %", [gamma(0.7)]),
    "25 of 255 darker": ("8 %", [brighter(-25)]),
    "25 of 255 brighter": ("8 %", [brighter(25)]),
    "grey": ("5 %", [grey]),
    "cropped by 14 px": ("report", [cropped(14)]),
    "cropped by 28 px": ("report", [cropped(28)]),
    "red, green, blue written as FITS": ("6 %", [as_fits]),
}


def log_probabilities(predictor: GalaxyPredictor, pictures: list[np.ndarray], one_view: bool) -> np.ndarray:
    """(2, N, K): of one view, and the mean of eight; (1, N, K) of `one_view` alone."""
    parts = []
    for start in range(0, len(pictures), BATCH):
        x_bchw = predictor.tensor([Cutout(id="", pixels=x) for x in pictures[start : start + BATCH]])
        shown = [x_bchw] if one_view else symmetries(x_bchw)
        views = torch.stack([predictor.log_probabilities(view) for view in shown])
        parts.append(torch.stack([views[0], views.mean(0)][: len(shown)]).numpy())
    return np.concatenate(parts, axis=1)


def spiral_against_smooth(predictor: GalaxyPredictor, one_view: bool) -> np.ndarray:
    """Balanced accuracies (2,) on GZ2's test part: is a disc class likelier than a spheroidal one?"""
    _, test = gz2_parts()
    test = test.filter(pl.col("label").is_in(["spiral", "elliptical"]))
    pictures = [read_cutout(path, predictor.preprocessing.stretch).pixels for path in test["path"]]
    p_vnk = torch.from_numpy(log_probabilities(predictor, pictures, one_view)).softmax(-1).numpy()
    disc = p_vnk[:, :, [predictor.labels.index(label) for label in ("spiral", "irregular")]].sum(2) > 0.5
    truth = (test["label"] == "spiral").to_numpy()
    return np.array([balanced_accuracy_score(truth, answer) for answer in disc])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a model folder, the bundled model when not given")
    parser.add_argument("--before", help="the folder of an older model, to be measured beside it")
    parser.add_argument("--one-view", action="store_true", help="leave the mean of eight views out")
    parser.add_argument("--rows", choices=("test", "validation"), default="test")
    options = parser.parse_args()
    one_view = options.one_view
    torch.set_num_threads(1)
    source = efigi()
    split = stratified_split(source.labels)
    chosen = split.held_out if options.rows == "test" else split.validation
    predictors = {"": GalaxyPredictor.load(options.model)}
    if options.before:
        predictors["before_"] = GalaxyPredictor.load(options.before)
    pictures = [source.read(row, predictors[""].preprocessing.stretch).pixels for row in chosen]
    labels = {
        name: log_probabilities(predictor, pictures, one_view).argmax(2) for name, predictor in predictors.items()
    }

    def changed_labels(name: str, changes: list[Change]) -> np.ndarray:
        """Shares (2,) of labels that are others after the change: of one view, and of eight."""
        after = [
            log_probabilities(predictors[name], [change(x) for x in pictures], one_view).argmax(2) for change in changes
        ]
        return np.mean([(found != labels[name]).mean(axis=1) for found in after], axis=0)

    def row(what: str, aim: str, measure: Callable[[str], np.ndarray]) -> None:
        values = {"change": what, "aim": aim}
        for name in predictors:
            values |= dict(zip((f"{name}one_view", f"{name}eight_views"), measure(name).tolist(), strict=not one_view))
        if options.model is None and options.rows == "test":
            keep("galaxy_robust", values)
        else:
            print(values, flush=True)

    for what, (aim, changes) in CHANGES.items():
        row(what, aim, lambda name, changes=changes: changed_labels(name, changes))
    row(
        "spiral against smooth on GZ2: balanced accuracy",
        "report",
        lambda name: spiral_against_smooth(predictors[name], one_view),
    )


if __name__ == "__main__":
    main()
