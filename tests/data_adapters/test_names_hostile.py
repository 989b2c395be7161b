"""Files whose names are not UTF-8 are read like others, and named in errors."""

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import polars as pl
import pytest
from astropy.io import fits
from PIL import Image

from attn.core.errors import InputError
from attn.data_adapters.images.pictures import read_picture
from attn.data_adapters.midi.chorales import read_jsb
from attn.data_adapters.midi.events import EventVocabulary
from attn.data_adapters.midi.file import read_midi
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.token_cache import tokenise
from attn.data_adapters.midi.writer import write_midi
from attn.data_adapters.paths import expand_inputs
from attn.data_adapters.sky.catalog import read_catalog
from attn.data_adapters.sky.fits import describe_fits, read_fits
from attn.data_adapters.sky.galaxy10 import Galaxy10
from attn.data_adapters.sky.labelled import open_galaxies
from attn.data_adapters.tables.open import open_table
from attn.data_adapters.tables.small import read_table

FRAME = pl.DataFrame({"x": [1, 2, 3], "y": [1.5, 2.5, 3.5]})
PIXELS = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)


def _fits() -> bytes:
    buffer = io.BytesIO()
    fits.PrimaryHDU(PIXELS[:, :, 0].astype(np.float32)).writeto(buffer)
    return buffer.getvalue()


def _written(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def _hdf5(buffer: io.BytesIO) -> None:
    with h5py.File(buffer, "w") as file:
        file["images"], file["ans"] = PIXELS[None], np.zeros(1, np.uint8)


def _table(path: Path) -> int:
    table = open_table(path)
    return sum(len(frame) for frame in table.batches(rows=2)) + table.rows() - 3


NOTES = Notes.of([0.0], [1.0], [60], [64])
READERS: dict[str, tuple[Callable[[Path], object], bytes]] = {
    "fits": (read_fits, _fits()),
    "fit": (describe_fits, _fits()),
    "png": (read_picture, _written(lambda buffer: Image.fromarray(PIXELS).save(buffer, "PNG"))),
    "tif": (read_picture, _written(lambda b: Image.fromarray(PIXELS).save(b, "TIFF", compression="tiff_lzw"))),
    "h5": (lambda path: Galaxy10(path).read(0), _written(_hdf5)),
    "csv": (_table, FRAME.write_csv().encode()),
    "tsv": (read_table, FRAME.write_csv(separator="\t").encode()),
    "libsvm": (lambda path: list(open_table(path).batches()), b"1 1:2 2:3\n0 1:1 2:5\n"),
    "parquet": (_table, _written(FRAME.write_parquet)),
    "pq": (lambda path: read_table(path.rename(path.with_suffix(".parquet"))), _written(FRAME.write_parquet)),
    "csv.zst": (_table, _written(lambda buffer: FRAME.write_csv(buffer, compression="zstd"))),
    "arrow": (_table, _written(FRAME.write_ipc)),
    "catalogue.csv": (read_catalog, FRAME.write_csv().encode()),
    "mid": (read_midi, _written(lambda buffer: write_midi(buffer, NOTES))),
    "json": (read_jsb, json.dumps({"train": [[[60, 55, 52, 48]]]}).encode()),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/folder \xff"))
    try:
        path.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    return path


@pytest.mark.parametrize("suffix", READERS)
def test_a_file_is_read_and_an_empty_one_named(folder: Path, suffix: str) -> None:
    read, content = READERS[suffix]
    path = folder / os.fsdecode(b"caf\xe9." + suffix.encode())
    path.write_bytes(content)
    read(path)
    path.write_bytes(b"")
    with pytest.raises(InputError) as caught:
        read(path)
    assert "caf" in str(caught.value)


def test_folders_of_labelled_images(folder: Path) -> None:
    kind = folder / os.fsdecode(b"spirale \xe9")
    kind.mkdir()
    (kind / os.fsdecode(b"1\xff.fits")).write_bytes(_fits())
    images = open_galaxies(folder)
    assert images.read(0).pixels.shape == (16, 16, 3)
    assert len(images.fingerprint()["sha256"]) == 64
    assert list(expand_inputs([folder], (".fits",))) == [kind / os.fsdecode(b"1\xff.fits")]


def test_folders_of_midi_files(folder: Path, tmp_path: Path) -> None:
    (folder / os.fsdecode(b"1\xff.mid")).write_bytes(READERS["mid"][1])
    (folder / os.fsdecode(b"2\xff.mid")).write_bytes(b"MThd")
    for _ in range(2):
        tokens = tokenise(folder, EventVocabulary(), tmp_path / "cache")
        assert [len(piece) > 0 for piece in tokens.of()] == [True] and len(tokens.failed) == 1
    shutil.rmtree(tmp_path / "cache")
