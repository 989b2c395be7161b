"""Tensors on disk: written for those who may read the folder, refused before they take memory, a full disk said."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from attn.core.errors import ModelError
from attn.core.models.folder import ModelRecord, save
from attn.core.models.weights import Stored, count, read_header, read_tensors, write_tensors


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What a full disk is to a program."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_header_says_type_and_shape(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(2, 3), "half": torch.ones(4).bfloat16(), "n": torch.tensor(3), "none": torch.empty(0, 2)}
    write_tensors(tmp_path / "t", tensors)
    assert read_header(tmp_path / "t") == {
        "a": Stored("F32", (2, 3)),
        "half": Stored("BF16", (4,)),
        "n": Stored("I64", ()),
        "none": Stored("F32", (0, 2)),
    }
    assert Stored("F16", ()).floating and not Stored("C64", ()).floating and not Stored("F8_E4M3", ()).floating
    assert Stored("U8", ()).whole and not Stored("BOOL", ()).whole
    back = read_tensors(tmp_path / "t")
    assert all(torch.equal(back[name], tensor) for name, tensor in tensors.items())
    assert count(tensors) == {"tensors": 4, "parameters": 11, "bytes": 24 + 8 + 8}


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": ["F32"]},
        {"dtype": "F" * 99},
        {"shape": [-1]},
        {"shape": [True]},
        {"shape": ["3"]},
        {"shape": [2**64]},
        {"shape": [1] * 99},
        {"shape": None},
    ],
)
def test_headers_of_the_wrong_kind(tmp_path: Path, change: dict[str, Any]) -> None:
    header = {"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **change}}
    text = json.dumps(header).encode()
    (tmp_path / "t").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with pytest.raises(ModelError, match="has no readable safetensors header; download or copy"):
        read_header(tmp_path / "t")


def test_a_full_disk_is_an_os_error_and_leaves_nothing(tmp_path: Path) -> None:
    with files_of_at_most(1000), pytest.raises(OSError, match="File too large") as caught:
        write_tensors(tmp_path / "t", {"a": torch.ones(1000)})
    assert caught.value.filename == str(tmp_path / "t") and "os error" not in str(caught.value)
    record = ModelRecord(app="galaxy", name="n", architecture={}, labels=[])
    save(tmp_path / "model", {"a": torch.ones(3)}, record)
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    with files_of_at_most(1000), pytest.raises(OSError, match="File too large"):
        save(tmp_path / "model", {"a": torch.ones(1000)}, record)
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    for path in (tmp_path / "absent", tmp_path / "t"):
        with pytest.raises(ModelError, match=f"{path.name}: cannot be read"):
            read_header(path)
