"""The chest commands as people type them."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from chest_fixtures import chest, write_dicom, write_set
from typer.testing import CliRunner, Result

from attn.apps.chest.options import RESEARCH_USE
from attn.cli import app
from attn.core.files import require_free


def attn(*arguments: object) -> Result:
    done = CliRunner().invoke(app, ["chest", *map(str, arguments)], prog_name="attn")
    assert "Traceback" not in done.output + done.stderr
    return done


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A good file, one of two frames, one that is no DICOM file, a report."""
    folder = tmp_path / "study"
    folder.mkdir()
    write_dicom(folder / "a.dcm")
    write_dicom(folder / "b.dcm", np.stack([chest("covid"), chest("pneumonia")]))
    (folder / "c.dcm").write_text("<html>not found</html>")
    (folder / "notes.txt").write_text("a report")
    return folder


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_predict_writes_a_row_a_frame_and_exits_with_1(
    study: Path, chest_model: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"rows.{suffix}"
    done = attn("predict", study, "--model", chest_model, "--out", out)
    assert done.exit_code == 1 and done.stdout == ""
    first, skipped, *rest = done.stderr.splitlines()
    assert first == RESEARCH_USE and skipped.startswith(f"skipped: {study / 'notes.txt'}: ")
    assert rest == [f"4 rows written to {out}", "1 of the inputs failed; the column `error` has the reasons"]
    table = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet}[suffix](out)
    assert table.columns == [
        *("id", "label", "p_covid", "p_normal", "p_pneumonia", "uncertainty", "flags", "error", "model")
    ]
    names = ["a.dcm", "b.dcm#1", "b.dcm#2", "c.dcm"]
    assert table["id"].to_list() == [str(study / name) for name in names]
    assert table["error"].is_null().to_list() == [True, True, True, False]


def test_predict_strictly_one_frame_without_names(study: Path, chest_model: Path, tmp_path: Path) -> None:
    write_dicom(study / "c.dcm", ViewPosition="LL")
    (tmp_path / "key").write_text("sixteen letters or more")
    options = ("--model", chest_model, "--json", "--frame", 1, "--strict", "--hash-names", "--key", tmp_path / "key")
    done, again = (attn("predict", study, *options) for _ in range(2))
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 3 and "refused: lateral" in rows[2]["error"] and done.exit_code == 1
    assert done.stdout == again.stdout
    assert str(study) not in done.stdout + done.stderr


def test_a_window_is_chosen_by_number_name_or_value(chest_model: Path, tmp_path: Path) -> None:
    windows = {"WindowCenter": [128, 60], "WindowWidth": [256, 40], "WindowCenterWidthExplanation": ["SOFT", "HARD"]}
    path = write_dicom(tmp_path / "a.dcm", **windows)
    answers = [
        json.loads(attn("predict", path, "--model", chest_model, "--json", "--window", window).stdout)["p_covid"]
        for window in ("0", "1", "HARD", "60,40")
    ]
    assert answers[1] == answers[2] == answers[3] != answers[0]
    done = attn("predict", path, "--model", chest_model, "--json", "--window", "9")
    assert done.exit_code == 1 and "SOFT" in json.loads(done.stdout)["error"]


def test_inspect_draws_what_the_model_sees_and_names_burned_in_text(
    study: Path, chest_model: Path, tmp_path: Path
) -> None:
    write_dicom(study / "c.dcm", BurnedInAnnotation="YES")
    sheet = tmp_path / "sheet.png"
    done = attn("inspect", study, "--model", chest_model, "--preview", sheet, "--json")
    rows = json.loads(done.stdout)
    assert done.exit_code == 0 and sheet.is_file() and len(rows) == 4
    assert done.stderr.startswith(RESEARCH_USE) and f"{sheet}: the picture shows text" in done.stderr
    assert "burned-in" in rows[-1]["flags"]


def test_inspect_counts_a_labelled_set(chest_table: Path) -> None:
    done = attn("inspect", chest_table, "--json")
    assert [row["images"] for row in json.loads(done.stdout)] == [12, 12, 12]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("inspect", "{table}", "--preview", "x.png"), "--preview draws images"),
        (("inspect", "{table}", "--window", "1"), "--window has no effect on a labelled set"),
        (("inspect", "{table}", "--uncertain", "maybe"), "--uncertain is ignore, zero or one"),
        (("inspect", "x.dcm", "--label", "l"), "--label has no effect on files"),
        (("inspect", "x.dcm", "--model", "m"), "--model has no effect without --preview"),
    ],
)
def test_options_that_do_not_fit_are_usage_errors(
    arguments: tuple[str, ...], message: str, chest_table: Path, tmp_path: Path
) -> None:
    done = attn(*(argument.format(table=chest_table) for argument in arguments))
    assert done.exit_code == 2 and message in done.stderr


def test_train_writes_a_model_with_a_gate(chest_table: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ("--hospital", "source", "--epochs", 1, "--batch-size", 8, "--size", 32)
    done = attn("train", chest_table, "--out", out, *options, "--json")
    assert done.exit_code == 0, done.stderr
    record = json.loads(done.stdout)
    assert "gate.safetensors" in record["files"] and record["preprocessing"]["side"] == 32
    assert RESEARCH_USE in done.stderr
    row = json.loads(attn("predict", chest_table.parent / "normal_0.png", "--model", out, "--json").stdout)
    assert row["error"] is None


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled set of sixty images that no model here has seen; one of them cannot be read."""
    table = write_set(tmp_path_factory.mktemp("unseen") / "set", per_class=20, first=200)
    (table.parent / "covid_0.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return table


def test_evaluate_reports_all_and_names_what_it_could_not_read(unseen: Path, untrained: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    options = ("--model", untrained, "--by", "sex,source", "--prevalence", 0.1, "--out", out, "--json")
    done = attn("evaluate", unseen, *options)
    report = json.loads(done.stdout)
    assert done.exit_code == 1 and report["n"] == 59 and len(report["failed"]) == 1
    assert {path.name for path in out.iterdir()} >= {"report.json", "reliability.png", "confusion.png"}
    assert [(row["by"], row["group"]) for row in report["groups"]] == [
        *(("sex", "F"), ("sex", "M"), ("source", "east"), ("source", "west"))
    ]
    assert all(row["prevalence"] == 0.1 for row in report["per_class"])
    assert report["patients"] == 30 and RESEARCH_USE in done.stderr and report["use"] == RESEARCH_USE


def test_evaluate_prints_tables_and_says_that_there_are_no_operating_points(unseen: Path, untrained: Path) -> None:
    done = attn("evaluate", unseen, "--model", untrained)
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines[0] == ["measure", "value"] and lines[1][0] == "auc" and " to " in lines[1][1]
    assert "no operating points" in done.stderr and "not measured: " in done.stderr
    assert "None" not in done.stdout and "nan" not in done.stdout


def test_calibrate_stores_points_that_evaluate_uses(unseen: Path, untrained: Path, tmp_path: Path) -> None:
    out = tmp_path / "calibrated"
    done = attn("calibrate", unseen, "--model", untrained, "--sensitivity", 0.8, "--out", out, "--json")
    answer = json.loads(done.stdout)
    assert done.exit_code == 0 and answer["written"] == str(out) and answer["patients"] == 30
    assert all(point["sensitivity"] >= 0.8 for point in answer["operating_points"].values())
    other = write_set(tmp_path / "other", per_class=20, first=400)
    report = json.loads(attn("evaluate", other, "--model", out, "--json").stdout)
    points = {row["label"]: row["threshold"] for row in report["per_class"]}
    assert points == {label: point["threshold"] for label, point in answer["operating_points"].items()}
    again = attn("evaluate", unseen, "--model", out)
    assert again.exit_code == 1 and "59 that it was calibrated on" in again.stderr


@pytest.mark.timeout(900)  # three pictures: seconds of work, minutes on a machine that many share
def test_explain_writes_three_files_for_each_frame_and_a_reason_for_the_rest(
    study: Path, untrained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "explained"
    done = attn("explain", study, "--model", untrained, "--out", out, "--json")
    rows = json.loads(done.stdout)
    assert done.exit_code == 1 and [row["error"] is None for row in rows] == [True, True, True, False]
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == {
        f"{name}.{suffix}" for name in ("a.dcm", "b.dcm#1", "b.dcm#2") for suffix in ("png", "npz", "json")
    }
    assert {*rows[0]["unfaithful"]} <= {"body", "gradient", "occlusion"} and f"skipped: {study}" in done.stderr


def test_explain_leaves_no_folder_when_nothing_can_be_read(untrained: Path, tmp_path: Path) -> None:
    (tmp_path / "page.dcm").write_text("<html></html>")
    done = attn("explain", tmp_path / "page.dcm", "--model", untrained, "--out", tmp_path / "new" / "explained")
    assert done.exit_code == 1 and "page.dcm" in done.stdout
    assert not (tmp_path / "new").exists()


def test_explain_takes_a_picture_for_one_image_alone(study: Path, untrained: Path, tmp_path: Path) -> None:
    done = attn("explain", study / "a.dcm", "--model", untrained, "--out", tmp_path / "map.png")
    assert done.exit_code == 0 and (tmp_path / "map.json").is_file() and not (tmp_path / ".attn").exists()
    require_free(tmp_path / "map.npz", tmp_path / "map.json")  # written by attn, which may write them again
    for name in ("map.npz", "map.json"):
        (tmp_path / name).rename(tmp_path / "kept")
        (tmp_path / name).write_text("the user's own")
        refused = attn("explain", study / "a.dcm", "--model", untrained, "--out", tmp_path / "map.png")
        assert refused.exit_code == 2 and f"{name}: is there, and attn did not write it" in refused.stderr
        (tmp_path / "kept").rename(tmp_path / name)
    refused = attn("explain", study / "b.dcm", "--model", untrained, "--out", tmp_path / "two.png")
    assert refused.exit_code == 2 and "is one file for several images" in refused.stderr


@pytest.mark.slow
def test_export_writes_a_file_that_it_has_checked(untrained: Path, tmp_path: Path) -> None:
    done = attn("export", "--model", untrained, "--out", tmp_path / "chest.onnx", "--json")
    answer = json.loads(done.stdout)
    assert done.exit_code == 0 and answer["largest_difference"] < 1e-4 and answer["batches"] == [1, 3, 16]
    assert Path(answer["written"]).is_file() and RESEARCH_USE in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("evaluate", "{table}", "--model", "{nowhere}"), 1, "is not a model folder"),
        (("evaluate", "{nowhere}.csv", "--model", "{model}"), 1, "nowhere.csv"),
        (("evaluate", "{table}", "--model", "{model}", "--label", "diagnosis"), 1, "diagnosis"),
        (("evaluate", "{table}", "--model", "{model}", "--by", "patient_id"), 2, "tells single patients apart"),
        (("evaluate", "{table}", "--model", "{model}", "--prevalence", "2"), 2, "--prevalence"),
        (("calibrate", "{table}"), 2, "only a model folder of your own"),
        (
            ("calibrate", "{table}", "--model", "{model}", "--sensitivity", "0", "--out", "{nowhere}"),
            2,
            "--sensitivity",
        ),
        (("explain", "{nowhere}.dcm", "--model", "{model}", "--out", "{nowhere}.png"), 1, "nowhere.dcm"),
        (("explain", "{table}", "--model", "{nowhere}", "--out", "{nowhere}"), 1, "is not a model folder"),
        (("export", "--model", "{nowhere}", "--out", "{nowhere}.onnx"), 1, "is not a model folder"),
    ],
)
def test_bad_input_is_one_sentence_and_its_exit_code(
    arguments: tuple[str, ...], code: int, message: str, unseen: Path, untrained: Path, tmp_path: Path
) -> None:
    places = {"table": unseen, "model": untrained, "nowhere": tmp_path / "nowhere"}
    done = attn(*(argument.format(**places) for argument in arguments))
    assert done.exit_code == code and message in done.stdout + done.stderr
    assert not (tmp_path / "nowhere").exists()
