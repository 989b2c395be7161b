"""`similar` and `anomalies` as people type them."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from galaxy_fixtures import galaxy
from PIL import Image
from typer.testing import CliRunner, Result

from attn.cli import app


def attn(*arguments: object) -> Result:
    done = CliRunner().invoke(app, ["galaxy", *map(str, arguments)], prog_name="attn")
    assert "Traceback" not in done.output + done.stderr
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six discs, six rings, and a file that is no picture."""
    place = tmp_path / "folder"
    place.mkdir()
    for kind in ("disc", "ring"):
        for number in range(6):
            Image.fromarray(galaxy(kind, number)).save(place / f"{kind}_{number}.png")
    (place / "broken.fits").write_text("<html>")
    return place


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_similar_ranks_a_folder_without_the_query(folder: Path, micro_model: Path, tmp_path: Path, suffix: str) -> None:
    out, sheet = tmp_path / f"rows.{suffix}", tmp_path / "sheet.png"
    query = folder / "ring_0.png"
    done = attn("similar", query, "--among", folder, "--model", micro_model, "--out", out, "--picture", sheet)
    assert done.exit_code == 1 and f"11 of 12 drawn in {sheet}" in done.stderr
    table = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet}[suffix](out)
    assert table["rank"].to_list() == [*range(1, 12), None]
    assert str(query) not in table["id"].to_list() and table["id"][-1].endswith("broken.fits")
    scores = table["similarity"].drop_nulls().to_list()
    assert scores == sorted(scores, reverse=True) and max(scores) <= 1 + 1e-6
    with Image.open(sheet) as drawn:
        assert np.asarray(drawn).std() > 5


def test_similar_finds_a_copy_of_another_name(folder: Path, micro_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes((folder / "disc_3.png").read_bytes())
    done = attn("similar", copy, "--among", folder, "--model", micro_model, "--json")
    first = json.loads(done.stdout.splitlines()[0])
    assert first["id"].endswith("disc_3.png") and first["similarity"] == pytest.approx(1, abs=1e-5)
    assert "embedding" not in first


def test_anomalies_rank_every_picture(folder: Path, micro_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    done = attn("anomalies", folder, "--model", micro_model, "--out", out)
    assert done.exit_code == 1
    table = pl.read_csv(out)
    assert table["rank"].to_list() == [*range(1, 13), None]
    assert table["distance"].drop_nulls().is_sorted(descending=True)
    assert table["error"].is_not_null().sum() == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("similar", "{folder}/broken.fits", "--among", "{folder}"), "cannot be compared"),
        (("similar", "{folder}/disc_0.png", "--among", "{folder}/none*.fits"), "none"),
        (("anomalies", "{folder}/disc_0.png"), "too few"),
        (("anomalies", "{folder}", "--picture", "{folder}/a.txt"), "end its name in .png"),
        (("anomalies", "{folder}", "--picture", "{folder}/disc_0.png"), "read by this command"),
        (("anomalies", "{folder}", "--out", "{folder}/a.txt"), "end the name in"),
    ],
)
def test_what_cannot_be_ranked_is_one_sentence(
    folder: Path, micro_model: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = attn(*(each.format(folder=folder) for each in arguments), "--model", micro_model)
    assert done.exit_code in (1, 2) and said in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("error: ")
