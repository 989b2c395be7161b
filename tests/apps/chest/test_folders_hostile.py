"""Folders as hospitals and downloads leave them: large, with a few broken files, and with much that is no image."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from chest_fixtures import chest, write_dicom
from PIL import Image
from typer.testing import CliRunner

from attn.cli import app


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousand_files_of_which_three_are_broken(tmp_path: Path, chest_model: Path) -> None:
    """Each file has its row, in order; the three have reasons, and the exit code says that there are some."""
    folder = tmp_path / "in"
    folder.mkdir()
    scan = write_dicom(tmp_path / "scan", chest(side=32)).read_bytes()
    Image.fromarray(chest(side=32)).save(tmp_path / "picture", format="png")
    picture = (tmp_path / "picture").read_bytes()
    broken = {17: scan[:-200], 5000: b"<html>not found</html>", 9999: scan[:290]}
    for number in range(10_000):
        content = broken.get(number, scan if number % 10 == 7 else picture)
        dicom = number in broken or number % 10 == 7
        (folder / f"{number:05}{'.dcm' if dicom else '.png'}").write_bytes(content)
    arguments = ["chest", "predict", str(folder), "--model", str(chest_model), "--out", str(tmp_path / "rows.csv")]
    done = CliRunner().invoke(app, arguments, prog_name="attn")
    table = pl.read_csv(tmp_path / "rows.csv")
    assert done.exit_code == 1
    assert table["id"].to_list() == [str(path) for path in sorted(folder.iterdir())]
    assert np.flatnonzero(table["error"].is_not_null()).tolist() == sorted(broken)
    assert table["label"].is_null().sum() == 3
