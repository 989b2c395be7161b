"""`attn chest predict` with inputs and places that are broken: one outcome for each file, nothing half-written."""

import os
import signal
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import polars as pl
import pydicom
import pytest
from chest_fixtures import chest, write_dicom
from dicom_fixtures import compressed, drawn, header, written
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


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs Linux to say how much memory is mapped")
def test_bombs_are_rows_with_reasons_within_two_gigabytes(tmp_path: Path, chest_model: Path) -> None:
    """3 MB that expand to 3 GB, also in a zip archive, and a kilobyte of JPEG 2000 that declares half a gigapixel."""
    resource = pytest.importorskip("resource")
    study = tmp_path / "study"
    study.mkdir()
    small = np.zeros((64, 64), np.uint8)
    plain, deflated = drawn(small), drawn(small, "deflated")
    start = 144 + int.from_bytes(deflated[140:144], "little")  # after the file meta information
    pack = zlib.compressobj(wbits=-15)
    body = pack.compress(plain[start:]) + pack.flush(zlib.Z_FULL_FLUSH)
    body += (pack.compress(bytes(1 << 24)) + pack.flush(zlib.Z_FULL_FLUSH)) * 192 + pack.flush()
    (study / "a.dcm").write_bytes(deflated[:start] + body)
    with zipfile.ZipFile(study / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.dcm", bytes(1 << 28))
    stream = bytearray(compressed(np.random.default_rng(0).integers(0, 256, (48, 40), np.uint8), "j2k")[:1000])
    for at in (8, 24):  # the sizes of the image and of its tiles, after the marker, its length and the capabilities
        struct.pack_into(">II", stream, at, 32_768, 16_384)
    (study / "c.dcm").write_bytes(written(header(small, Rows=16_384, Columns=32_768), [bytes(stream)], "j2k"))
    write_dicom(study / "d.dcm")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + (2 << 30), hard))
    try:
        code, _ = predict(chest_model, study, "--out", tmp_path / "rows.csv")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    a, b, c, d = pl.read_csv(tmp_path / "rows.csv").to_dicts()
    assert code == 1 and d["error"] is None and d["label"] is not None
    assert "deflated data set expands from" in a["error"]
    assert "declares 268,435,456 bytes" in b["error"]
    assert "536,870,912 pixels" in c["error"] or "16,384 rows of 32,768 pixels" in c["error"]


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


@pytest.mark.slow
def test_ctrl_c_in_the_middle_leaves_only_whole_files(tmp_path: Path, chest_model: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    for number in range(60):
        write_dicom(study / f"{number:02}.dcm", chest("normal", number))
    command = [sys.executable, "-m", "attn.cli", "chest", "predict", str(study), "--model", str(chest_model)]
    command += ["--out", str(tmp_path / "rows.csv"), "--dicom-out", str(tmp_path / "out")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # A job of a script in the background ignores Ctrl-C, and what it starts does so too.
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, heard)
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
