"""Inspection: headers without identity, steps, labelled sets, and a picture of what the model sees."""

from pathlib import Path

import numpy as np
import pytest
from chest_fixtures import LABELS, PER_CLASS, chest, write_dicom
from PIL import Image

from attn.apps.chest.inspect import CAPTION, COLUMNS, MOST_TILES, Sheet, inspect_files, inspect_labelled, is_labelled
from attn.apps.chest.preprocess import Preprocessing
from attn.apps.chest.read import Reading
from attn.core.errors import UsageError
from attn.data_adapters.dicom.labelled import open_studies
from attn.data_adapters.dicom.radiograph import NotAnImageError

SEEN = Preprocessing(side=32)


def rows_of(*sources: object, sheet: Sheet | None = None) -> tuple[list[dict[str, object]], list[NotAnImageError]]:
    skipped: list[NotAnImageError] = []
    return [*inspect_files(sources, Reading(), skipped.append, sheet)], skipped


def test_a_row_says_what_a_file_is_and_what_is_done_with_it(tmp_path: Path) -> None:
    windows = {"WindowCenter": [128, 60], "WindowWidth": [256, 40], "WindowCenterWidthExplanation": ["SOFT", "HARD"]}
    path = write_dicom(tmp_path / "a.dcm", PatientName="Curie^Marie", **windows)
    (row,), _ = rows_of(path)
    assert [*row] == ["id", *COLUMNS]
    assert str(row["contents"]).startswith("DX, CHEST, PA, ")
    assert row["pixels"] == "64 x 64, 8 of 8 bits, MONOCHROME2"
    assert "SOFT" in str(row["windows"]) and "HARD" in str(row["windows"]) and "SOFT" in str(row["voi_step"])
    assert (row["decoder"], row["polarity"], row["error"]) == ("none", "as stored", None)
    assert "Curie" not in str(row)


def test_pictures_failures_and_files_without_image(tmp_path: Path) -> None:
    Image.fromarray(chest()).save(tmp_path / "a.png")
    (tmp_path / "b.dcm").write_text("<html>")
    (tmp_path / "c.txt").write_text("a report")
    rows, skipped = rows_of(tmp_path / "a.png", tmp_path / "b.dcm", tmp_path / "c.txt")
    assert [row["contents"] for row in rows] == ["picture", None]
    assert rows[0]["pixels"] == "64 x 64" and "HTML" in str(rows[1]["error"])
    assert len(skipped) == 1


def test_the_sheet_is_what_the_model_sees(tmp_path: Path) -> None:
    sheet = Sheet(tmp_path / "new" / "sheet.png", SEEN)
    rows_of(*(chest("covid", number) for number in range(10)), sheet=sheet)
    sheet.save()
    with Image.open(sheet.path) as picture:
        pixels = np.asarray(picture)
        assert picture.info == {}
    assert pixels.shape == (2 * (32 + CAPTION), 8 * 32)
    seen = SEEN.pixels(Reading().one(chest("covid", 9)))
    second = pixels[32 + CAPTION : 2 * 32 + CAPTION, 32:64]
    np.testing.assert_allclose(second / 255, seen, atol=0.5 / 255 + 1e-6)
    assert not sheet.burned_in


def test_a_picture_has_the_number_of_its_row(tmp_path: Path) -> None:
    """A file that cannot be read has a row and no picture; one without image has neither."""
    (tmp_path / "broken.dcm").write_text("<html>")
    (tmp_path / "report.txt").write_text("a report")
    tiles = {}
    for name, first in {"failed": tmp_path / "broken.dcm", "skipped": tmp_path / "report.txt"}.items():
        sheet = Sheet(tmp_path / f"{name}.png", SEEN)
        rows, _ = rows_of(first, chest("covid", 1), chest("covid", 2), sheet=sheet)
        sheet.save()
        tiles[name] = [number for number, _ in sheet.tiles]
        assert [number for number, row in enumerate(rows, 1) if not row["error"]] == tiles[name]
    assert tiles == {"failed": [2, 3], "skipped": [1, 2]}
    captions = [np.asarray(Image.open(tmp_path / f"{name}.png"))[32:, left : left + 32] for name, left in
                (("failed", 0), ("skipped", 32))]  # fmt: skip
    np.testing.assert_array_equal(*captions)


def test_a_sheet_has_an_end_and_knows_of_burned_in_text(tmp_path: Path) -> None:
    sheet = Sheet(tmp_path / "sheet.png", SEEN)
    burned = write_dicom(tmp_path / "a.dcm", BurnedInAnnotation="YES")
    rows_of(burned, *(chest() for _ in range(MOST_TILES)), sheet=sheet)
    assert len(sheet.tiles) == MOST_TILES and sheet.burned_in
    with pytest.raises(UsageError, match=r"end its name in .png"):
        Sheet(tmp_path / "sheet.txt", SEEN)


def test_classes_are_counted_with_their_patients(chest_table: Path) -> None:
    rows = inspect_labelled(open_studies(chest_table))
    assert [row["label"] for row in rows] == [*LABELS]
    for row in rows:
        assert (row["images"], row["patients"], row["unreadable"]) == (PER_CLASS, PER_CLASS // 2, 0)
        assert row["share"] == pytest.approx(1 / 3)


def test_what_counts_as_a_labelled_set(chest_table: Path, tmp_path: Path) -> None:
    assert is_labelled(str(chest_table), None) and not is_labelled("scan.dcm", None)
    for name, line, labelled in (
        ("train_COVIDx9A.txt", "3 SARS-10.jpeg pneumonia cohen", True),
        ("old.txt", "\ufeff101 my scan.PNG normal", True),
        ("one.txt", "scans/1.dcm", False),
        ("blanks.txt", "scans of today/a b.dcm", False),
        ("copies.txt", "scans/1.dcm copy/2.dcm of 3.dcm", False),
        ("none.txt", "", False),
    ):
        (tmp_path / name).write_text(f"{line}\n")
        assert is_labelled(str(tmp_path / name), None) is labelled, name
    assert not is_labelled(str(tmp_path / "missing.txt"), None)
    (tmp_path / "set" / "normal").mkdir(parents=True)
    assert is_labelled(str(tmp_path / "set"), "none")
    assert not is_labelled(str(tmp_path / "set"), None)
