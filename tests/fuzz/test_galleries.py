"""Damaged galleries: the description, the table and the vectors."""

from pathlib import Path

import numpy as np
import pytest
from fuzz.mutate import fuzz, mutants
from PIL import Image

from attn.apps.reid.gallery import ModelId, open_gallery
from attn.apps.reid.index import index
from attn.data_adapters.images.identities import open_individuals


@pytest.mark.parametrize("name", ["gallery.json", "pictures-*.parquet", "vectors-*.safetensors"])
def test_galleries(tmp_path: Path, name: str, fuzz_count: int) -> None:
    for k in range(2):
        (tmp_path / "photos/A").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), 50 + k, np.uint8)).save(tmp_path / f"photos/A/{k}.png")
    model = ModelId("m", "ab" * 32, 3)
    individuals = open_individuals(tmp_path / "photos")
    index(individuals, lambda pictures: np.stack([each.mean(axis=(0, 1)) for each in pictures]), model, tmp_path / "g")
    (path,) = (tmp_path / "g").glob(name)

    def read(data: bytes) -> None:
        path.write_bytes(data)
        gallery = open_gallery(tmp_path / "g")
        assert gallery.vectors.shape == (len(gallery), 3)

    outcomes = fuzz(read, mutants([path.read_bytes()], fuzz_count // 3, name))
    assert outcomes["read"] and outcomes["InputError"]
