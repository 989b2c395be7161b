"""Sets of individuals: identities as text, columns, splits, boxes, conflicts and folders."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from attn.core.errors import InputError, UsageError
from attn.data_adapters.images.identities import open_individuals
from attn.data_adapters.images.photographs import Flag


def draw(path: Path, level: int = 100, size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(level).integers(0, 40, (size[1], size[0], 3)) + level
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def table(folder: Path, text: str, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


NAMES = ["007", "7", "0007", "1e3", "1000", "NA", "None", "nan", "null", "True", "-", "x "]


def test_identities_are_text_and_only_the_empty_field_is_unlabelled(tmp_path: Path) -> None:
    lines = "".join(f"{k}.png,{name}\n" for k, name in enumerate([*NAMES, "", "   "]))
    found = open_individuals(table(tmp_path, "path,identity\n" + lines))
    assert found.identities == [*NAMES, "", ""] and found.individuals == sorted(NAMES)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_identities_survive_every_table_format(tmp_path: Path, suffix: str) -> None:
    frame = pl.DataFrame({"path": [f"{k}.png" for k in range(13)], "identity": [*NAMES, None]})
    path = tmp_path / f"labels{suffix}"
    frame.write_parquet(path) if suffix == ".parquet" else frame.write_csv(path)
    assert open_individuals(path).identities == [*NAMES, ""]


def test_semicolons_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = '\ufeff"path";"identity";"camera"\r\n"a.jpg";"A";"Ost"\r\n"b.jpg";"B";"Nord-Süd"\r\n'
    found = open_individuals(table(tmp_path, text))
    assert (found.paths, found.identities, found.cameras) == (["a.jpg", "b.jpg"], ["A", "B"], ["Ost", "Nord-Süd"])


def test_words_for_nobody_are_asked_about_and_never_become_an_individual(tmp_path: Path) -> None:
    words = ["unknown", "unknown", "Unidentified", "?"]
    lines = "".join(f"{k}.png,{name}\n" for k, name in enumerate(["A", *words, ""]))
    path = table(tmp_path, "path,identity\n" + lines)
    with pytest.raises(
        InputError, match=r"4 pictures .* like nobody: '\?' \(1\), 'Unidentified' \(1\), 'unknown' \(2\)"
    ):
        open_individuals(path)
    with pytest.raises(InputError, match=r"1 pictures have an identity that reads like nobody: '\?'"):
        open_individuals(path, unknown=("unknown", "Unidentified"))
    found = open_individuals(path, unknown=words)
    assert found.individuals == ["A"] and found.identities.count("") == 5
    assert "4 pictures count as unlabelled by --unknown" in found.notices


def test_columns_by_name_and_none(tmp_path: Path) -> None:
    path = table(tmp_path, "file,who,camera,trip,flank\na.png,A,c1,1,L\nb.png,B,,2,R\n")
    found = open_individuals(path, image="file", identity="who", encounter="trip", within="flank")
    assert (found.cameras, found.encounters, found.times, found.within) == (["c1", ""], ["1", "2"], None, ["L", "R"])
    assert open_individuals(path, image="file", identity="who", camera="none").cameras is None
    assert found.column("trip") == ["1", "2"]
    with pytest.raises(InputError, match="no column 'side'; it has file, who, camera, trip, flank"):
        open_individuals(path, image="file", identity="who", within="side")
    with pytest.raises(InputError, match="no column 'path'"):
        open_individuals(path)


def test_splits(tmp_path: Path) -> None:
    path = table(tmp_path, "path,identity,split\na,A,train\nb,B,query\nc,B,gallery\n")
    assert open_individuals(path, split="train").identities == ["A"]
    test = open_individuals(path, split="test")
    assert (test.paths, test.splits, test.column("split")) == (["b", "c"], ["query", "gallery"], ["query", "gallery"])
    with pytest.raises(InputError, match="no split 'val'; it has gallery, query, train"):
        open_individuals(path, split="val")
    with pytest.raises(InputError, match="has no splits"):
        open_individuals(table(tmp_path, "path,identity\na,A\n"), split="test")


def test_a_folder_per_individual(tmp_path: Path) -> None:
    for name in ("007/a.png", "007/deep/b.png", "NA/c.jpg", "loose.png", "NA/._c.jpg", ".thumbnails/t.png"):
        draw(tmp_path / name, 90)
    draw(tmp_path / "__MACOSX/007/a.png")
    (tmp_path / "notes.csv").write_text("a,b\n")
    (tmp_path / "007" / "Thumbs.db").write_text("x")
    found = open_individuals(tmp_path)
    assert found.ids == ["007/a.png", "007/deep/b.png", "NA/c.jpg", "loose.png"]
    assert found.identities == ["007", "007", "NA", ""]
    assert found.notices == ["3 other files left out"]
    with pytest.raises(UsageError, match="has no columns to choose; leave --within out"):
        open_individuals(tmp_path, within="flank")


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    draw(tmp_path / "A/a.png")
    (tmp_path / "A/again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "A/self").symlink_to("self")
    assert open_individuals(tmp_path).paths == ["A/a.png"]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures in it"):
        open_individuals(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        open_individuals(tmp_path / "nothing")


def test_two_boxes_of_a_picture_are_two_rows_and_two_names_without_a_box_a_conflict(tmp_path: Path) -> None:
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 30:] = 200
    Image.fromarray(pixels).save(tmp_path / "pair.png")
    draw(tmp_path / "one.png")
    text = (
        "path,identity,x,y,w,h\npair.png,Mara,0,0,30,20\npair.png,Juma,30,0,30,20\none.png,Mara,,,,\none.png,Juma,,,,\n"
    )
    found = open_individuals(table(tmp_path, text))
    assert found.ids == ["pair.png [0,0,30,20]", "pair.png [30,0,30,20]", "one.png", "one.png"]
    assert (found.read(0).mean(), found.read(1).mean(), found.read(1).shape) == (0, 200, (20, 30, 3))
    with pytest.raises(InputError, match=r"one.png: is listed as 'Mara' \(line 4\) and 'Juma' \(line 5\)"):
        found.read(2)
    assert sorted(found.problems) == [2, 3] and sorted(found.take([3, 0]).problems) == [0]


def test_missing_repeated_and_unlisted_files(tmp_path: Path) -> None:
    for name in ("a.png", "b.PNG", "extra.png", "further.png"):
        draw(tmp_path / name)
    found = open_individuals(table(tmp_path, "path,identity\na.png,A\nb.png,A\nc.png,B\na.png,A\n"))
    assert found.paths == ["a.png", "b.png", "c.png"]
    assert found.notices == ["2 pictures beside the listed ones are not in the table", "1 repeated rows count once"]
    assert found.read(0).shape == (30, 40, 3)
    with pytest.raises(InputError, match=r"b.png: no such file; there is 'b.PNG', which differs in case"):
        found.read(1)
    with pytest.raises(InputError, match=r"c.png: no such file; check the path"):
        found.read(2)
    (tmp_path / "c.png").symlink_to("nowhere.png")
    with pytest.raises(InputError, match=r"c.png: is a link to a file that is not there"):
        found.read(2)


def test_boxes_without_a_format_are_pixels_and_fractions_ask(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    assert open_individuals(table(tmp_path, "path,identity,x,y,w,h\na.png,A,5,5,20,10\n")).read(0).shape == (10, 20, 3)
    assert open_individuals(table(tmp_path, 'path,identity,bbox\na.png,A,"[5, 5, 20, 10]"\n')).read(0).shape == (
        10,
        20,
        3,
    )
    path = table(tmp_path, "path,identity,x,y,w,h\na.png,A,0.25,0.5,0.5,0.5\n")
    with pytest.raises(InputError, match="are all within 0 and 1; say what they are: --box-format megadetector"):
        open_individuals(path)
    assert open_individuals(path, box_format="megadetector").read(0).shape == (15, 20, 3)
    assert open_individuals(path, box="none").read(0).shape == (30, 40, 3)
    with pytest.raises(UsageError, match="has no columns of voc boxes"):
        open_individuals(path, box_format="voc")


@pytest.mark.parametrize("cell", ["__import__('os').system('touch x')", "[1, 2, 3]", "[1,2,3,four]", "[[1],2,3,4]"])
def test_no_cell_is_evaluated(tmp_path: Path, cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"labels.csv, row 1: bbox are to be four numbers"):
        open_individuals(table(tmp_path, f'path,identity,bbox\na.png,A,"{cell}"\n'))
    assert not (tmp_path / "x").exists()


def test_one_bad_box_is_the_problem_of_its_row(tmp_path: Path) -> None:
    rows = "a.png,A,5,5,20,10\nb.png,B,5,5,-20,10\nc.png,C,5,five,20,10\nd.png,D,,,,\n"
    found = open_individuals(table(tmp_path, "path,identity,x,y,w,h\n" + rows))
    for name in ("a", "d"):
        draw(tmp_path / f"{name}.png")
    assert found.read(0).shape == (10, 20, 3) and found.read(3).shape == (30, 40, 3)
    for row, message in ((1, r"row 2: the coco box .* has no size"), (2, r"row 3: x,y,w,h are to be four numbers")):
        with pytest.raises(InputError, match=message):
            found.read(row)


def test_flags(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((20, 20, 3), level, np.uint8)) for level in (10, 200)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    draw(tmp_path / "b.png", size=(500, 1))
    found = open_individuals(table(tmp_path, "path,identity\na.tif,A\nb.png,A\n"))
    first = found.photograph(0)
    assert (
        first.flags == (Flag.SEVERAL_FRAMES, Flag.BLANK) and first.values == {"frames": 2} and first.pixels.max() == 10
    )
    assert found.photograph(1).flags == (Flag.TINY,)


def test_names_that_look_alike_are_told(tmp_path: Path) -> None:
    found = open_individuals(table(tmp_path, "path,identity\na,x \nb,X\nc,y\n"))
    assert found.notices == ["individuals whose names differ in case or blanks only: 'X' and 'x '"]


def test_the_fingerprint_follows_names_and_not_the_place(tmp_path: Path) -> None:
    path = table(tmp_path, "path,identity\na,A\nb,B\n")
    before = open_individuals(path).fingerprint()
    assert (before["source"], before["count"], before["individuals"]) == ("labels.csv", 2, 2)
    assert open_individuals(table(tmp_path, "path,identity\na,A\nb,A\n")).fingerprint()["sha256"] != before["sha256"]
