"""Camtrap DP: by the rules of the standard's table schemas, and back through our own reader."""

import json
import re
from pathlib import Path

import polars as pl
import pytest
from reid_review_fixtures import HOSTILE, Scene

from attn.apps.reid.review.answers import Answers, Verdict
from attn.apps.reid.review.camtrap import write_camtrap
from attn.apps.reid.review.confirm import confirm
from attn.apps.reid.review.decisions import read_log
from attn.data_adapters.images.identities import open_individuals

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:?\d\d)"
REQUIRED = {  # with the pattern of what is required; those of coordinates are nobody's to know
    "deployments": {"deploymentID": ".+", "deploymentStart": TIME, "deploymentEnd": TIME},
    "media": {
        "mediaID": ".+", "deploymentID": ".+", "timestamp": TIME, "filePublic": "true|false",
        "filePath": r"^(?=^[^./~])(^((?!\.{2}).)*$).*$", "fileMediatype": "(image|video|audio)/.*",
    },
    "observations": {
        "observationID": ".+", "deploymentID": ".+", "eventStart": TIME, "eventEnd": TIME,
        "observationLevel": "media|event",
        "observationType": "animal|human|vehicle|blank|unknown|unclassified",
    },
}  # fmt: skip


def read(folder: Path) -> dict[str, pl.DataFrame]:
    return {name: pl.read_csv(folder / f"{name}.csv", infer_schema=False) for name in REQUIRED}


def changed(scene: Scene, **columns: pl.Expr) -> Scene:
    """The scene, with a gallery whose rows say something else."""
    gallery = scene.gallery
    object.__setattr__(gallery, "rows", gallery.rows.with_columns(**columns))
    return gallery


def test_what_the_standard_requires(scene: Scene, tmp_path: Path) -> None:
    """Required cells, unique keys, and keys of other tables, as the table schemas of version 1.0 have them."""
    count, lacking = write_camtrap(changed(scene, time=pl.col("time") + "+02:00"), [], tmp_path / "dp")
    tables = read(tmp_path / "dp")
    for name, columns in REQUIRED.items():
        for column, pattern in columns.items():
            assert all(re.fullmatch(pattern, cell or "", re.DOTALL) for cell in tables[name][column]), (name, column)
    for name, key in (("deployments", "deploymentID"), ("media", "mediaID"), ("observations", "observationID")):
        assert tables[name][key].is_unique().all()
    places = {*tables["deployments"]["deploymentID"]}
    assert {*tables["media"]["deploymentID"]} == {*tables["observations"]["deploymentID"]} == places
    assert {*tables["observations"]["mediaID"]} == {*tables["media"]["mediaID"]}
    assert count == 4 and {*tables["deployments"]["timestampIssues"]} == {"false"}
    assert len(lacking) == 1 and "coordinates in deployments.csv" in lacking[0]
    described = json.loads((tmp_path / "dp/datapackage.json").read_text())
    assert described["profile"].endswith("1.0/camtrap-dp-profile.json")
    for resource in described["resources"]:
        assert (tmp_path / "dp" / resource["path"]).is_file() and resource["profile"] == "tabular-data-resource"
        assert resource["schema"].endswith(f"1.0/{resource['name']}-table-schema.json")
    assert [each["name"] for each in described["resources"]] == [*REQUIRED]
    assert described["temporal"] == {"start": "2024-03-01", "end": "2024-05-01"}


def test_a_deployment_lasts_from_its_first_picture_to_its_last(scene: Scene, tmp_path: Path) -> None:
    of_exif = pl.col("time").str.replace_all("-", ":").str.replace("T", " ")
    write_camtrap(changed(scene, time=of_exif), [], tmp_path / "dp")
    rows = read(tmp_path / "dp")["deployments"]
    assert rows.select("deploymentID", "deploymentStart", "deploymentEnd", "timestampIssues").rows() == [
        ("north", "2024-03-01T08:00:00", "2024-03-02T09:00:00", "true"),
        ("south", "2024-03-01T10:00:00", "2024-05-01T10:00:00", "true"),
    ]
    assert "first and the last picture" in rows["deploymentComments"][0]


def test_what_is_not_known(scene: Scene, tmp_path: Path) -> None:
    """No camera and no time: a deployment "unknown", which our reader takes for no camera, and sentences."""
    gallery = changed(scene, camera=pl.lit(""), time=pl.lit(""), path=pl.lit("../") + pl.col("path"))
    lacking = write_camtrap(gallery, [], tmp_path / "dp")[1]
    assert lacking[1:] == [
        "4 pictures have no time, which Camtrap DP wants", "4 pictures lie outside the folder of the photographs"
    ]  # fmt: skip
    assert read(tmp_path / "dp")["deployments"]["deploymentID"].to_list() == ["unknown"]
    assert open_individuals(tmp_path / "dp").cameras == [""] * 4
    assert "temporal" not in json.loads((tmp_path / "dp/datapackage.json").read_text())


def test_camtrap_comes_back_through_our_reader(scene: Scene, tmp_path: Path) -> None:
    verdict = Verdict(pictures=[scene.shown("4.png")], answer="yes", individual="007")
    confirm(Answers(schema_version=1, who="Ana", queries=[verdict]), scene.folder, lambda: pytest.fail("no model"))
    assert write_camtrap(scene.gallery, read_log(scene.folder), tmp_path / "dp")[0] == 4
    again = open_individuals(tmp_path / "dp")
    gallery = scene.gallery.rows
    for column, found in (("identity", again.identities), ("camera", again.cameras),
                          ("encounter", again.encounters), ("time", again.times)):  # fmt: skip
        assert sorted(zip(again.paths, found or [], strict=True)) == sorted(gallery.select("path", column).rows())
    seen = pl.read_csv(tmp_path / "dp/observations.csv", infer_schema=False)
    by = dict(zip(seen["individualID"], seen["classifiedBy"], strict=True))
    assert by[HOSTILE] in ("", None) and "Ana" in seen["classifiedBy"].to_list()
    assert seen["observationID"].is_unique().all()
