"""Every number that fixes an architecture has bounds, whether a person types it or a model's record holds it."""

from collections.abc import Callable
from typing import Any

import pytest
from ctr_fixtures import click_predictor

from attn.apps.ctr.model import configure as click_config
from attn.apps.galaxy.model import variant
from attn.apps.galaxy.preprocess import Calibration, Preprocessing
from attn.apps.music.model import configure as music_config
from attn.apps.music.styles import stored_style
from attn.core.errors import ModelError, UsageError
from attn.core.settings import stored

HUGE = 10**12


def galaxies(**changes: Any) -> object:
    return variant("nano", **changes)


def music(**changes: Any) -> object:
    return music_config(**{"vocabulary": 64} | changes)


def clicks(**changes: Any) -> object:
    return click_config(click_predictor().codebook, **changes)


@pytest.mark.parametrize(
    ("configure", "name"),
    [
        *((galaxies, name) for name in ("stem", "head", "image_size", "classes")),
        *((music, name) for name in ("vocabulary", "width", "depth", "heads", "hidden", "length", "voices")),
        *((clicks, name) for name in ("embedding", "heads")),
    ],
)
@pytest.mark.parametrize("value", [0, -4, HUGE, 10**30, 2.5, float("nan"), "x", None])
def test_sizes(configure: Callable[..., object], name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^{name} must be .*, not "):
        configure(**{name: value})


@pytest.mark.parametrize(
    ("configure", "name", "value"),
    [
        (galaxies, "widths", (8, 8, 8, 0)),
        (galaxies, "widths", (8, 8, 8)),
        (galaxies, "depths", (1, 1, 1, 10**9)),
        (galaxies, "strides", (2, 2, 2, 0)),
        (galaxies, "layout", "C" * 99),
        (galaxies, "dropout", 1.0),
        (music, "cycles", (4, 0)),
        (music, "cycles", (4,) * 99),
        (music, "source_vocabulary", 1),
        (music, "dropout", float("nan")),
        (clicks, "widths", (8, -8)),
        (clicks, "dnn", (0,)),
    ],
)
def test_lists_and_shares(configure: Callable[..., object], name: str, value: Any) -> None:
    with pytest.raises(UsageError):
        configure(**{name: value})


@pytest.mark.parametrize("temperature", [0, -1, 1e-39, 1e39, float("nan"), "hot", None])
def test_temperatures(temperature: Any) -> None:
    with pytest.raises(ModelError, match=r"^model\.json: temperature must be "):
        stored(Calibration, {"temperature": temperature}, "model.json")


@pytest.mark.parametrize(
    "changes", [{"side": 0}, {"side": HUGE}, {"mean": (0.1, 0.2)}, {"std": (0.1, 0.0, 0.1)}, {"std": (1, 1, 1, 1)}]
)
def test_preprocessing(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        stored(Preprocessing, {"side": 64, "mean": (0, 0, 0), "std": (1, 1, 1)} | changes, "model.json")


@pytest.mark.parametrize(
    ("preprocessing", "message"),
    [
        ({}, "its style is None; there are piano, chorale"),
        ({"kind": ["piano"]}, r"its style is \['piano'\]"),
        ({"kind": "piano", "low": 90, "high": 30}, "no pitch lies between 90 and 30"),
        ({"kind": "piano", "high": 128}, "high must be less than 128, not 128"),
        ({"kind": "chorale", "low": 65}, "the range 60 to 81 does not lie within 65 to 90"),
        ({"kind": "chorale", "ranges": [[60, 81]]}, "ranges.1: Field required"),
    ],
)
def test_styles(preprocessing: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        stored_style(preprocessing, "model.json")


def test_fields_lie_in_the_table_of_vectors() -> None:
    config = click_predictor().model.config
    with pytest.raises(ModelError, match=rf"a field has rows beyond the {config.rows - 1} of the table"):
        stored(type(config), config.model_dump() | {"rows": config.rows - 1}, "model.json")
