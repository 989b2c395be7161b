"""Settings: a wrong value is one sentence with its field, whoever gave it."""

from pathlib import Path
from typing import Any, Literal, Self

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from attn.core.errors import ModelError, UsageError
from attn.core.settings import checked, stored


class Inner(BaseModel):
    width: int = Field(default=1, ge=1)


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    inner: Inner = Inner()
    sizes: tuple[int, ...] = Field(max_length=4)
    share: float = Field(default=0.5, gt=0, lt=1)
    mode: Literal["min", "max"] = "min"
    name: str = Field(default="a", pattern="^[a-z]*$")

    @model_validator(mode="after")
    def _even(self) -> Self:
        if len(self.sizes) % 2:
            raise ValueError("sizes come in pairs")
        return self


def test_good_values() -> None:
    assert checked(Settings, sizes=[1, 2]) == stored(Settings, {"sizes": [1, 2]}) == Settings(sizes=(1, 2))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sizes": [1], "inner": {"width": 0}}, "inner.width must be greater than or equal to 1, not 0"),
        ({"sizes": [1], "share": 0}, "share must be greater than 0, not 0"),
        ({"sizes": [1], "share": float("nan")}, "share must be "),
        ({"sizes": [1], "share": "half"}, "share must be a number, not 'half'"),
        ({"sizes": [1], "mode": "mean"}, "mode must be 'min' or 'max', not 'mean'"),
        ({"sizes": [1], "name": "A"}, "name must match the pattern ^[a-z]*$, not 'A'"),
        ({"sizes": [1.5, 2]}, "sizes.0 must be an integer, not 1.5"),
        ({"sizes": [0] * 99}, "sizes must have at most 4 items, not [0, 0, 0"),
        ({"sizes": [1]}, "sizes come in pairs"),
        ({}, "sizes: Field required"),
        ({"sizes": [], "depht": 3}, "depht: Extra inputs are not permitted"),
        ({"sizes": "\ud800" * 100}, r"sizes must be a list, not '\ud800\ud800"),
    ],
)
def test_wrong_values_are_one_sentence(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as usage:
        checked(Settings, **values)
    with pytest.raises(ModelError) as model:
        stored(Settings, values, Path("model.json"))
    assert str(usage.value).startswith(message)
    assert str(model.value) == f"model.json: {usage.value}"
    assert len(str(model.value).encode()) < 300
