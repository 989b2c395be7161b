"""What people type for inputs."""

import os
from pathlib import Path

import pytest

from attn.core.errors import InputError, UsageError
from attn.core.files import claim
from attn.data_adapters.paths import expand_inputs

SUFFIXES = (".fits", ".fits.gz", ".png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.fits", "a.FITS", "deep/er/c.fits.gz", "deep/d.png", "notes.md", "odd[1].fits"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(folder: Path, *inputs: str | Path) -> list[str]:
    return [os.path.relpath(path, folder) for path in expand_inputs(inputs, SUFFIXES)]


def test_a_folder_is_searched_at_any_depth_in_order(folder: Path) -> None:
    assert names(folder, folder) == ["a.FITS", "b.fits", "deep/d.png", "deep/er/c.fits.gz", "odd[1].fits"]


def test_folders_that_attn_made_are_not_searched(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Results are no inputs, unless their folder is named itself."""
    claim(folder / "deep" / "explained")
    (folder / "deep" / "explained" / "d.png").touch()
    assert names(folder, folder) == ["a.FITS", "b.fits", "deep/d.png", "deep/er/c.fits.gz", "odd[1].fits"]
    assert caplog.messages == [f"{folder / 'deep'}: not searched, because attn made it: explained"]
    assert names(folder, folder / "deep" / "explained") == ["deep/explained/d.png"]


def test_a_file_stands_for_itself_whatever_it_is(folder: Path) -> None:
    inputs = [folder / "notes.md", folder / "absent.fits", folder / "odd[1].fits", folder / "b.fits"]
    assert names(folder, *inputs) == ["notes.md", "absent.fits", "odd[1].fits", "b.fits"]


def test_globs(folder: Path) -> None:
    assert names(folder, f"{folder}/*.fits") == ["b.fits", "odd[1].fits"]
    assert names(folder, f"{folder}/**/*.png") == ["deep/d.png"]
    with pytest.raises(UsageError, match="no file matches"):
        names(folder, f"{folder}/*.jpg")


def test_what_is_named_twice_comes_once_where_it_came_first(folder: Path) -> None:
    assert names(folder, folder / "odd[1].fits", folder / "deep", folder)[:3] == [
        "odd[1].fits",
        "deep/d.png",
        "deep/er/c.fits.gz",
    ]
    assert len(names(folder, folder, folder / "b.fits")) == 5


@pytest.mark.parametrize("suffix", [".txt", ".list", ".LST"])
def test_a_list_file_is_relative_to_itself(folder: Path, suffix: str) -> None:
    listing = folder / "deep" / f"mine{suffix}"
    listing.write_text(f"# my galaxies\n../b.fits\n\n d.png \n{folder / 'a.FITS'}\n", encoding="utf-8")
    assert names(folder, listing) == ["b.fits", "deep/d.png", "a.FITS"]


def test_a_list_that_is_no_text(folder: Path) -> None:
    (folder / "bad.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"bad\.txt: the list cannot be read as text"):
        names(folder, folder / "bad.txt")


def test_an_empty_folder_says_what_was_looked_for(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty: no readable files.*\.fits \.fits\.gz \.png"):
        names(folder, folder / "empty")


def test_a_folder_named_like_a_file_is_left_to_the_reader(folder: Path) -> None:
    (folder / "deep" / "x.fits").mkdir()
    assert names(folder, folder / "deep") == ["deep/d.png", "deep/er/c.fits.gz", "deep/x.fits"]


@pytest.mark.parametrize("text", ["n" * 5000, "nul\0byte.fits"], ids=["long", "nul"])
def test_names_no_file_can_have_are_left_to_the_reader(text: str) -> None:
    assert list(expand_inputs([text], SUFFIXES)) == [Path(text)]


def test_a_list_file_from_windows_with_indented_comments(folder: Path) -> None:
    (folder / "mine.txt").write_text("b.fits\r\n  # not a.FITS\r\ndeep/d.png\r\n", encoding="utf-8-sig")
    assert names(folder, folder / "mine.txt") == ["b.fits", "deep/d.png"]
