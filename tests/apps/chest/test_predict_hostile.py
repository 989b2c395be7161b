"""`attn chest predict` with inputs and places that are broken: one outcome for each file, nothing half-written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pydicom
import pytest
from chest_fixtures import chest, write_dicom
from typer.testing import CliRunner

from attn.cli import app

PAGE = "<!DOCTYPE html><html><body>Session of Dr. ZZCANARY expired</body></html>"


def predict(model: Path, *arguments: object) -> tuple[int, str]:
    """The exit code, and all that was printed."""
    command = ["chest", "predict", *map(str, arguments), "--model", str(model), "--device", "cpu"]
    done = CliRunner().invoke(app, command, prog_name="attn")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_a_web_page_named_dcm_is_a_row_with_a_reason(tmp_path: Path, chest_model: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    (study / "a.dcm").write_text(PAGE)
    write_dicom(study / "b.dcm")
    code, said = predict(chest_model, study, "--out", tmp_path / "rows.csv")
    rows = pl.read_csv(tmp_path / "rows.csv").to_dicts()
    assert code == 1 and "ZZCANARY" not in said + str(rows)
    assert "HTML" in rows[0]["error"] and rows[0]["label"] is None
    assert rows[1]["error"] is None and rows[1]["label"] is not None


@pytest.mark.parametrize("frames", [5, 2**31 - 1])
def test_frames_that_disagree_with_the_length_of_the_data(tmp_path: Path, chest_model: Path, frames: int) -> None:
    path = write_dicom(tmp_path / "a.dcm", np.stack([chest(), chest()]), NumberOfFrames=frames)
    code, _ = predict(chest_model, path, "--out", tmp_path / "rows.csv", "--dicom-out", tmp_path / "out")
    (row,) = pl.read_csv(tmp_path / "rows.csv").to_dicts()
    assert code == 1 and row["label"] is None
    assert "8,192 bytes" in row["error"] and f"{frames:,} frames" in row["error"]
    assert [*(tmp_path / "out").glob("*.dcm")] == []


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder that nobody may write to, not even root")
@pytest.mark.parametrize("option", ["--out", "--dicom-out"])
def test_a_place_that_may_not_be_written_is_one_sentence(tmp_path: Path, chest_model: Path, option: str) -> None:
    path = write_dicom(tmp_path / "a.dcm")
    place = "/sys/rows.csv" if option == "--out" else "/sys/attn"
    code, said = predict(chest_model, path, option, place)
    (sentence,) = [line for line in said.splitlines() if "/sys" in line]
    assert code in (1, 2) and sentence.startswith("error: /sys/")


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, chest_model: Path) -> None:
    write_dicom(tmp_path / "a.dcm")
    before = (tmp_path / "a.dcm").read_bytes()
    code, said = predict(chest_model, tmp_path / "a.dcm", "--dicom-out", tmp_path)
    assert code == 2 and "holds a.dcm, which attn did not write" in said
    assert [path.name for path in tmp_path.iterdir()] == ["a.dcm"] and (tmp_path / "a.dcm").read_bytes() == before


@pytest.mark.parametrize("key", [None, b"short"])
def test_a_key_that_is_none_stops_before_anything_is_written(
    tmp_path: Path, chest_model: Path, key: bytes | None
) -> None:
    write_dicom(tmp_path / "a.dcm")
    if key is not None:
        (tmp_path / "key").write_bytes(key)
    out = ("--dicom-out", tmp_path / "out")
    code, said = predict(chest_model, tmp_path / "a.dcm", *out, "--pseudonym", tmp_path / "key")
    assert code == 1 and "key" in said
    assert not (tmp_path / "out").exists()


def test_a_key_without_a_folder_has_no_effect(tmp_path: Path, chest_model: Path) -> None:
    code, said = predict(chest_model, write_dicom(tmp_path / "a.dcm"), "--pseudonym", tmp_path / "key")
    assert code == 2 and "--pseudonym has no effect without --dicom-out" in said


def test_whose_identity_is_written_is_said_once(tmp_path: Path, chest_model: Path) -> None:
    for name in "ab":
        write_dicom(tmp_path / f"{name}.dcm", PatientName="ZZCANARY^NAME", PatientID="ZZCANARYID")
    (tmp_path / "key").write_bytes(b"0123456789abcdef")
    inputs = (tmp_path / "a.dcm", tmp_path / "b.dcm")
    _, open_said = predict(chest_model, *inputs, "--dicom-out", tmp_path / "named")
    _, said = predict(chest_model, *inputs, "--dicom-out", tmp_path / "keyed", "--pseudonym", tmp_path / "key")
    assert open_said.count("gets the identity of the patients") == 1 and "ZZCANARY" not in open_said + said
    assert "gets the identity" not in said
    for folder, there in (("named", True), ("keyed", False)):
        written = [path.read_bytes() for path in (tmp_path / folder).glob("*.dcm")]
        assert len(written) == 4
        assert {b"ZZCANARYID" in data for data in written} == {there}


def test_ctrl_c_in_the_middle_leaves_only_whole_files(tmp_path: Path, chest_model: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    for number in range(60):
        write_dicom(study / f"{number:02}.dcm", chest("normal", number))
    command = [sys.executable, "-m", "attn.cli", "chest", "predict", str(study), "--model", str(chest_model)]
    command += ["--out", str(tmp_path / "rows.csv"), "--dicom-out", str(tmp_path / "out")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while not [*tmp_path.glob("out/*.dcm")] and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in said, said
    assert not (tmp_path / "rows.csv").exists()
    left = [path for path in tmp_path.rglob("*") if ".part" in path.name]
    assert left == []
    for path in (tmp_path / "out").glob("*.dcm"):
        assert pydicom.dcmread(path).SOPInstanceUID
