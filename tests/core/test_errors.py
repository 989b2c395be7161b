"""Every error is one line that says where, what and what next."""

from pathlib import Path

import pytest

from attn.core.errors import AttnError, InputError, ModelError, TrainingError, UsageError


def test_line_holds_where_what_and_hint() -> None:
    error = InputError("has no image", where=Path("a/b.fits"), hint="name one with --hdu")
    assert str(error) == "a/b.fits: has no image; name one with --hdu"
    assert (error.what, error.where, error.hint) == ("has no image", "a/b.fits", "name one with --hdu")


def test_where_and_hint_may_be_absent() -> None:
    assert str(UsageError("no input")) == "no input"


def test_library_message_of_many_lines_becomes_one() -> None:
    assert str(AttnError("first\n   second", where="x\ty")) == "x y: first second"


@pytest.mark.parametrize("kind", [InputError, UsageError, ModelError, TrainingError])
def test_one_family(kind: type[AttnError]) -> None:
    with pytest.raises(AttnError, match=r"^what$"):
        raise kind("what")
