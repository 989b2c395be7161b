"""Copies: the same bytes and the same picture saved again, under one name or two."""

import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from attn.data_adapters.images import copies
from attn.data_adapters.images.copies import Copy, copy_groups, find_copies
from attn.data_adapters.images.identities import LabelledIndividuals, open_individuals


def picture(seed: int) -> Image.Image:
    """A smooth drawing of many colours; all have the same mean, so that only the pattern tells them apart."""
    noise = np.random.default_rng(seed).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    return Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2))


@pytest.fixture
def individuals(tmp_path: Path) -> LabelledIndividuals:
    for name in ("Mara", "Juma"):
        (tmp_path / name).mkdir()
    picture(0).save(tmp_path / "Juma/1.jpg", quality=95)
    picture(1).save(tmp_path / "Juma/2.jpg", quality=95)
    shutil.copy(tmp_path / "Juma/1.jpg", tmp_path / "Mara/1.jpg")  # the same bytes under two names
    picture(1).save(tmp_path / "Juma/3.jpg", quality=70)  # saved again
    (tmp_path / "Mara/broken.jpg").write_bytes(b"no picture")
    for k, level in enumerate((0, 0, 2)):  # blank pictures resemble one another and tell nothing
        Image.fromarray(np.full((20, 20, 3), level, np.uint8)).save(tmp_path / f"Mara/blank{k}.png", compress_level=k)
    return open_individuals(tmp_path)


def test_each_pair_is_found_and_told_exact_from_near(individuals: LabelledIndividuals) -> None:
    at = individuals.paths.index
    assert find_copies(individuals) == [
        Copy(at("Juma/1.jpg"), at("Mara/1.jpg"), "exact", True),
        Copy(at("Juma/2.jpg"), at("Juma/3.jpg"), "near", False),
    ]


@pytest.mark.parametrize("equal", [3, 17])
def test_equal_files_are_paired_each_with_each_unless_they_are_many(tmp_path: Path, equal: int) -> None:
    for k in range(equal):
        (tmp_path / f"{k % 2}").mkdir(exist_ok=True)
        picture(0).save(tmp_path / f"{k % 2}/{k:02d}.png")
    pairs = {(copy.first, copy.second) for copy in find_copies(open_individuals(tmp_path))}
    rows = range(equal)
    assert pairs == (set(combinations(rows, 2)) if equal == 3 else {(0, k) for k in rows[1:]})


def test_blocks_change_nothing(individuals: LabelledIndividuals, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_copies(individuals)
    monkeypatch.setattr(copies, "_BLOCK", 1)
    assert find_copies(individuals) == found


def test_groups_are_of_equal_bytes_and_equal_boxes(individuals: LabelledIndividuals, tmp_path: Path) -> None:
    groups = dict(zip(individuals.paths, copy_groups(individuals), strict=True))
    assert groups["Juma/1.jpg"] == groups["Mara/1.jpg"] and len({*groups.values()}) == len(groups) - 1
    table = tmp_path / "labels.csv"
    table.write_text(
        "path,identity,x,y,w,h\nJuma/1.jpg,A,0,0,20,20\nMara/1.jpg,A,20,0,20,20\nJuma/1.jpg,A,20,0,20,20\ngone.jpg,A,,,,\n"
    )
    assert copy_groups(open_individuals(table)) == [0, 1, 1, 2]
