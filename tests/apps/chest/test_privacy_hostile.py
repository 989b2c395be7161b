"""No command prints, logs or writes who a patient is: canaries in a file's header, in its path, and in damaged files.

Every byte that a command leaves behind is searched: its output, its logs and warnings, and all files that it wrote.
"""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from canaries import CANARY, plant, traces
from chest_fixtures import write_dicom
from typer.main import get_command
from typer.testing import CliRunner

from attn.apps.chest.cli import app as chest_app
from attn.cli import app

Attn = Callable[..., int]
VERBS = set(get_command(chest_app).commands)  # type: ignore[attr-defined]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Planted files, whole and damaged, none of which has the patient in its path."""
    folder = tmp_path / "in"
    folder.mkdir()
    whole = plant(folder / "scan.dcm").read_bytes()
    (folder / "half.dcm").write_bytes(whole[: len(whole) - 2000])
    (folder / "header.dcm").write_bytes(whole[:900])
    (folder / "syntax.dcm").write_bytes(whole.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"))
    (folder / "bare.dcm").write_bytes(whole[132:])
    plant(folder / "rows.dcm", Rows=CANARY[:2], Modality=CANARY)
    plant(folder / "report", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33")
    return folder


@pytest.fixture
def attn(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Attn:
    """Run a chest command in the folder `work`, and search all that it said and wrote for canaries; its exit code."""
    caplog.set_level(logging.DEBUG)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def run(*arguments: Any) -> int:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            done = CliRunner().invoke(app, ["chest", *map(str, arguments)], prog_name="attn")
        said = {
            "stdout": done.stdout,
            "stderr": done.stderr,
            "descriptors": "".join(capfd.readouterr()),
            "log": caplog.text,
            "warnings": " ".join(str(warning.message) for warning in caught),
        }
        found = {place: traces(text) for place, text in said.items()}
        for path in sorted(work.rglob("*")):
            name = str(path.relative_to(work))
            found[name] = traces(name) + (traces(path.read_bytes()) if path.is_file() else [])
        assert {place: text for place, text in found.items() if text} == {}
        assert "Traceback" not in done.output + done.stderr
        return done.exit_code

    return run


def needs(*verbs: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not VERBS.issuperset(verbs), reason=f"without the verb {' '.join(verbs)}")


@pytest.mark.parametrize("out", [[], ["--json"], ["--out", "r.csv"], ["--out", "r.jsonl"], ["--out", "r.parquet"]])
def test_predict(folder: Path, chest_model: Path, attn: Attn, out: list[str]) -> None:
    assert attn("predict", folder, "--model", chest_model, *out) == 1


def test_inspect_and_its_picture(folder: Path, chest_model: Path, attn: Attn) -> None:
    assert attn("inspect", folder, "--model", chest_model, "--preview", "seen.png", "--out", "rows.csv") == 1
    assert Path("seen.png").is_file()
    attn("inspect", folder, "--json")


@pytest.mark.parametrize("verb", ["predict", "inspect"])
@pytest.mark.parametrize("place", [f"{CANARY}NAME/scan.dcm", "Jo\u0308rga\u0308nsson.dcm", f"x/{CANARY}id.DCM"])
def test_a_patient_in_the_path(tmp_path: Path, chest_model: Path, attn: Attn, verb: str, place: str) -> None:
    """The file is whole, damaged, and a report."""
    path = tmp_path / "in" / place
    path.parent.mkdir(parents=True)
    whole = plant(path).read_bytes()
    options = ["--model", chest_model] if verb == "predict" else []
    assert attn(verb, tmp_path / "in", *options) == 0
    for damaged in (
        whole[:-2000],
        whole[:900],
        whole.replace(b"\x08\x00\x60\x00CS\x02\x00DX", b"\x08\x00\x60\x00CS\x02\x00\0\0"),
    ):
        path.write_bytes(damaged)
        attn(verb, tmp_path / "in", *options)
    plant(path, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33", ViewPosition="LL")
    attn(verb, tmp_path / "in", *options, "--json")


def test_hidden_names(tmp_path: Path, chest_model: Path, attn: Attn) -> None:
    """Nothing in these files says who it is about, so that only `--hash-names` can know."""
    place = tmp_path / "in" / CANARY
    place.mkdir(parents=True)
    write_dicom(place / "a.dcm")
    (place / "b.dcm").write_bytes(b"<html>")
    (place / "c.dcm").touch()
    (place / "d.zip").write_bytes(b"no archive")
    (place / "e").write_text("a text")
    assert attn("predict", place.parent, "--model", chest_model, "--hash-names", "--out", "rows.csv") == 1
    assert attn("inspect", place.parent, "--hash-names") == 1


@needs("explain")
def test_explain(folder: Path, chest_model: Path, attn: Attn) -> None:
    assert attn("explain", folder / "scan.dcm", "--model", chest_model, "--out", "explained") == 0
    attn("explain", folder, "--model", chest_model, "--out", "explained")


@needs("train", "evaluate")
def test_training_measuring_and_the_model_that_is_left(tmp_path: Path, attn: Attn) -> None:
    """The table names patients, and so do the files; the model, its card and its reports do not."""
    rows = ["path,label,patient_id,site"]
    for number in range(18):
        path = plant(tmp_path / f"{number}.dcm")
        rows.append(f"{path.name},{'xy'[number % 2]},{CANARY}{number},{'ab'[number % 4 // 2]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    assert attn("train", tmp_path / "labels.csv", "--out", "model", "--size", 32, "--epochs", 1, "--batch-size", 4) == 0
    attn("evaluate", tmp_path / "labels.csv", "--model", "model", "--out", "report", "--by", "site")
    attn("evaluate", tmp_path / "labels.csv", "--model", "model", "--json", "--by", "patient_id")
