"""The sample field and the labelled galaxies are what the script draws, and the commands of README run on them."""

import runpy
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from astropy.table import Table
from PIL import Image
from typer.testing import CliRunner

from attn.cli import app
from attn.data_adapters.sky.fits import read_fits

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_committed_files_are_what_the_script_writes(tmp_path: Path) -> None:
    runpy.run_path(str(EXAMPLES / "make_field.py"))["main"](tmp_path)
    for table in ("field.csv", "galaxies/labels.csv"):
        assert (tmp_path / table).read_text() == (EXAMPLES / table).read_text()
    again, committed = read_fits(tmp_path / "field.fits"), read_fits(EXAMPLES / "field.fits")
    np.testing.assert_allclose(again.data, committed.data, rtol=1e-5, atol=1e-6)
    assert (committed.data.shape, committed.bands, committed.flags) == ((400, 400, 3), ("i", "r", "g"), ())
    names = pl.read_csv(EXAMPLES / "galaxies" / "labels.csv")["path"].to_list()
    assert sorted(path.name for path in (EXAMPLES / "galaxies").iterdir()) == sorted([*names, "labels.csv"])
    for name in names:
        stored, drawn = (np.asarray(Image.open(folder / "galaxies" / name), float) for folder in (EXAMPLES, tmp_path))
        assert np.abs(stored - drawn).mean() < 2  # libraries for JPEG differ a little


def test_they_are_small() -> None:
    assert (EXAMPLES / "field.fits").stat().st_size < 400_000
    assert sum(path.stat().st_size for path in (EXAMPLES / "galaxies").iterdir()) < 400_000


def test_the_catalogue_names_what_is_in_the_field(tmp_path: Path) -> None:
    out = tmp_path / "r.fits"
    place = ["galaxy", "predict", str(EXAMPLES / "field.fits"), "--catalog", str(EXAMPLES / "field.csv")]
    result = CliRunner().invoke(app, [*place, "--out", str(out)])
    assert result.exit_code == 0, result.output
    table, catalogue = Table.read(out), pl.read_csv(EXAMPLES / "field.csv")
    assert table["id"].tolist() == catalogue["id"].to_list()
    np.testing.assert_allclose(table["ra"], catalogue["ra"])
    drawn = catalogue["drawn"].to_numpy()
    found = np.asarray(table["label"], str)
    assert np.mean(found[drawn == "spiral"] == "spiral") > 0.7
    assert np.isin(found[np.isin(drawn, ["elliptical", "lenticular"])], ["elliptical", "lenticular"]).mean() > 0.8
    assert np.mean(found == drawn) > 0.5
    assert not {"empty", "point-like"} & set(";".join(np.ma.filled(table["flags"], "").tolist()).split(";"))


@pytest.mark.slow
def test_the_labelled_galaxies_train_and_measure_a_model(tmp_path: Path) -> None:
    labels = str(EXAMPLES / "galaxies" / "labels.csv")
    out = str(tmp_path / "mine")
    for line in (["train", labels, "--epochs", "1", "--out", out], ["evaluate", labels, "--model", out]):
        result = CliRunner().invoke(app, ["galaxy", *line])
        assert result.exit_code == 0, result.output
