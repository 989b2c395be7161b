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
from chest_fixtures import LABELS, chest, write_dicom
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from attn.apps.chest.cli import app as chest_app
from attn.cli import app

Attn = Callable[..., int]
VERBS = get_command(chest_app).commands  # type: ignore[attr-defined]


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
def table(tmp_path: Path) -> Path:
    """Labelled radiographs in folders named after their patients, whom the table names too: two images each."""
    folder = tmp_path / "set"
    rows = ["path,label,patient_id,site,physician"]
    for number in range(18):
        patient = f"{CANARY}{number // 2}"
        (folder / patient).mkdir(parents=True, exist_ok=True)
        label = LABELS[number // 2 % 3]
        path = plant(folder / patient / f"{number}.dcm", chest(label, 100 + number))
        rows.append(f"{path.relative_to(folder)},{label},{patient},{'ab'[number % 4 // 2]},{CANARY}^DR")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder / "labels.csv"


def damaged(table: Path) -> Path:
    """The same table with rows whose images cannot be read, each for another reason."""
    broken = table.parent / f"{CANARY}BROKEN"
    broken.mkdir()
    whole = plant(broken / "half.dcm").read_bytes()
    (broken / "half.dcm").write_bytes(whole[:-2000])
    (broken / "empty.dcm").touch()
    (broken / "page.dcm").write_bytes(b"<html>")
    (broken / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + CANARY.encode())
    write_dicom(broken / "frames.dcm", chest()[None].repeat(2, axis=0), PatientName=f"{CANARY}BROKEN")
    names = [*sorted(path.name for path in broken.iterdir()), "missing.dcm", f"{'x' * 300}.dcm", "n\0ul.dcm"]
    rows = [f"{broken.name}/{name},{LABELS[0]},{CANARY}BROKEN,a,x" for name in names]
    path = table.with_name("damaged.csv")
    path.write_text(table.read_text() + "\n" + "\n".join(rows))
    return path


@pytest.fixture
def attn(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Attn:
    """Run a chest command in the folder `work`, and search all that it said and wrote for canaries; its exit code.

    `but` is a pattern of files whose contents may have some.
    """
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "matplotlib.font_manager")  # which says a thousand things of fonts
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def run(*arguments: Any, but: str = "/") -> int:
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
            searched = path.is_file() and not path.match(but)
            found[name] = traces(name) + (traces(path.read_bytes()) if searched else [])
        assert {place: text for place, text in found.items() if text} == {}
        assert "Traceback" not in done.output + done.stderr
        return done.exit_code

    return run


def test_every_verb_is_run_here() -> None:
    assert {*VERBS} == {"inspect", "train", "evaluate", "predict", "explain", "calibrate", "export"}


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


@pytest.mark.parametrize("named", [True, False])
def test_reports(tmp_path: Path, folder: Path, chest_model: Path, attn: Attn, named: bool) -> None:
    """Only DICOM that is written without pseudonyms has the identity of its source."""
    (folder / f"{CANARY}NAME").mkdir()
    plant(folder / f"{CANARY}NAME" / "scan.dcm", BurnedInAnnotation="YES")
    (tmp_path / "key").write_bytes(b"0123456789abcdef")
    options = [] if named else ["--pseudonym", tmp_path / "key"]
    command = ("predict", folder, "--model", chest_model, "--out", "rows.csv", "--dicom-out", "answers", *options)
    assert attn(*command, but="answers/*.dcm" if named else "/") == 1
    written = [path.read_bytes() for path in Path("answers").glob("*.dcm")]
    assert len(written) >= 3
    assert {bool(traces(data)) for data in written} == {named}


def test_explain(folder: Path, chest_model: Path, attn: Attn) -> None:
    for readable in ("bare.dcm", "syntax.dcm", "report"):
        (folder / readable).unlink()
    (folder / "scan.dcm").rename(folder / f"{CANARY}NAME.dcm")
    assert attn("explain", folder, "--model", chest_model, "--out", "explained") == 1
    assert len([*Path("explained").glob("*.png")]) == 1


@pytest.mark.slow
def test_training_measuring_and_the_model_that_is_left(table: Path, attn: Attn) -> None:
    """The model, its card, the folder of its run and its reports do not say what the table and the files say."""
    others = table.parent / f"{CANARY}OTHERS"
    others.mkdir()
    Image.fromarray(chest()[::-1]).save(others / "turned.png")
    options = ("--size", 32, "--epochs", 1, "--batch-size", 4, "--hospital", "site", "--others", others)
    assert attn("train", table, "--out", "model", *options) == 0
    assert Path("model", "run", "data.json").is_file()
    measure = ("evaluate", table, "--model", "model", "--out", "report")
    assert attn(*measure, "--by", "site") == 0
    assert attn(*measure, "--by", "patient_id") == 2  # groups would be patients


def test_what_is_said_of_images_that_cannot_be_read(table: Path, chest_model: Path, attn: Attn) -> None:
    """In a labelled set, too, every reason names an image, and no patient."""
    path = damaged(table)
    assert attn("train", path, "--out", "model", "--size", 32, "--epochs", 1) == 1
    assert attn("evaluate", path, "--model", chest_model, "--out", "report") == 1
    assert Path("report", "report.json").read_text().count("damaged.csv, image ") == 2 * 8
    attn("evaluate", path, "--model", chest_model, "--json")
    attn("calibrate", path, "--model", chest_model, "--out", "calibrated")
    attn("inspect", path)
    attn("inspect", path, "--json", "--label", "patient_label")


@pytest.mark.slow
def test_calibrate_and_export(table: Path, chest_model: Path, attn: Attn) -> None:
    assert attn("calibrate", table, "--model", chest_model, "--out", "calibrated") == 0
    assert attn("export", "--model", "calibrated", "--out", "model.onnx") == 0
