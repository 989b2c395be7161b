"""Whatever a library raises is one sentence with the file."""

import polars as pl
import pytest

from attn.core.errors import InputError, UsageError
from attn.data_adapters.boundary import boundary


@pytest.mark.parametrize(
    ("raised", "sentence"),
    [
        (KeyError("k"), "x.bin: cannot be read ('k'); get it again"),
        (ValueError("first\nsecond"), "x.bin: cannot be read (first); get it again"),
        (RecursionError(), "x.bin: cannot be read (RecursionError); get it again"),
        (OSError(5, "Input/output error"), "x.bin: cannot be read (Input/output error); get it again"),
        (
            pl.exceptions.PanicException("index out of bounds"),
            "x.bin: cannot be read (index out of bounds); get it again",
        ),
        (MemoryError(), "x.bin: does not fit in memory"),
        (ValueError("x" * 1000), f"x.bin: cannot be read ({'x' * 160}); get it again"),
    ],
)
def test_an_exception_becomes_a_sentence(raised: BaseException, sentence: str) -> None:
    with pytest.raises(InputError) as caught, boundary("x.bin", "cannot be read", "get it again"):
        raise raised
    assert str(caught.value) == sentence


@pytest.mark.parametrize("raised", [InputError("is empty"), UsageError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_what_is_ours_or_ends_the_process_passes(raised: BaseException) -> None:
    with pytest.raises(type(raised)) as caught, boundary("x.bin", "cannot be read"):
        raise raised
    assert caught.value is raised
