"""Tables of images: the paths, and the other cells in their types."""

from pathlib import Path

import polars as pl
import pytest
from astropy.table import Table

from attn.core.errors import InputError
from attn.data_adapters.sky.listed import listed_images

OWN = {"id", "label", "error"}


def test_cells_keep_their_meaning(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "id,path,objid,z,run,label,note\n"
        "1,a/x.fits,1237648720693755918,0.1,007,spiral,\n"
        "2, /far/y.jpg ,2,,010,ring,see text\n"
    )
    first, second = listed_images(tmp_path / "t.csv", OWN)
    assert (first.path, first.id) == (tmp_path / "a/x.fits", "a/x.fits")
    assert (second.path, second.id) == (Path("/far/y.jpg"), "/far/y.jpg")
    assert first.values == {
        "given_id": 1, "objid": 1237648720693755918, "z": 0.1, "run": "007", "given_label": "spiral", "note": None
    }  # fmt: skip
    assert second.values == {
        "given_id": 2, "objid": 2, "z": None, "run": "010", "given_label": "ring", "note": "see text"
    }  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".ecsv", ".vot"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    columns = {"filename": ["x.fits", "y.fits"], "z": [0.25, 0.5], "n": [1, 2], "who": ["Ann", "Bo"]}
    path = tmp_path / f"t{suffix}"
    if suffix == ".parquet":
        pl.DataFrame(columns).write_parquet(path)
    elif suffix in (".csv", ".tsv"):
        pl.DataFrame(columns).write_csv(path, separator="\t" if suffix == ".tsv" else ",")
    else:
        Table(columns).write(path, format="votable" if suffix == ".vot" else "ascii.ecsv")
    rows = list(listed_images(path, OWN))
    assert [row.id for row in rows] == columns["filename"]
    assert [row.values for row in rows] == [{"z": 0.25, "n": 1, "who": "Ann"}, {"z": 0.5, "n": 2, "who": "Bo"}]


def test_the_column_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,jpeg\na,b\n")
    (row,) = listed_images(tmp_path / "t.csv", OWN, "jpeg")
    assert (row.id, row.values) == ("b", {"path": "a"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,2\n", r"no column 'path'; it has x, y; name the column of paths with --image"),
        ("path\n", "the table has no rows"),
        ("path,x\na,1\n,2\n", "row 2 has no 'path'"),
    ],
)
def test_tables_that_list_no_images(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        list(listed_images(tmp_path / "t.csv", OWN))
