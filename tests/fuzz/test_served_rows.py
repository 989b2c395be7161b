"""Damaged lines of JSON, through the exported script's reader and the predictor: an answer or one sentence a line."""

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from fuzz.mutate import mutants

from attn.apps.ctr.serving.score import Encoder, Scorer, lines

FIELDS: list[dict[str, Any]] = [
    {"name": "site", "column": "site", "kind": "category", "first": 1, "place": 0, "width": 1, "values": ["a", "b"]},
    {
        "name": "tags",
        "column": "tags",
        "kind": "multi",
        "first": 5,
        "place": 1,
        "width": 3,
        "values": ["x", "y"],
        "separator": "|",
    },
    {
        "name": "hour",
        "column": "at",
        "kind": "time",
        "first": 9,
        "place": 4,
        "width": 1,
        "values": ["7"],
        "part": "hour",
        "format": None,
    },
]
PRICE = {"column": "price", "kind": "number", "width": 1, "low": 0.0, "high": 9.0, "mean": 1.0, "deviation": 2.0}
FIELDS += [
    PRICE | {"name": name, "transform": name, "first": 12 + 4 * place, "place": place, "knots": [0.0, 1.0, 9.0]}
    for place, name in enumerate(("quantile", "standard", "log2"))
]
GOOD = [
    b'{"site": "a", "tags": ["x", "y"], "at": "2026-01-05 07:00:00", "price": 3.5}',
    b'{"site": null, "tags": "x|z", "at": 1767596400, "price": "1e5", "more": {"a": [true, 1e999, -0.0]}}',
    b'{"site": "\\ud83d\\ude00", "tags": "", "at": "", "price": -123456789012345678901234567890}',
]


class Tables(Scorer):
    """A scorer whose network is the sum of what it is given."""

    def __init__(self) -> None:
        self.encoder, self.session, self.inputs = Encoder(FIELDS), self, ["ids", "numbers"]

    def run(self, _: None, given: Mapping[str, Any]) -> list[Any]:
        assert ((given["ids"] >= 0) & (given["ids"] < 12)).all()
        with np.errstate(over="ignore"):
            return [given["ids"].sum(1) + given["numbers"].sum(1)]


@pytest.mark.filterwarnings("error")
def test_lines(fuzz_count: int) -> None:
    scorer, outcomes = Tables(), {True: 0, False: 0}
    for data in mutants(GOOD, fuzz_count, "served rows"):
        for line in lines(io.BytesIO(data)):
            answer = scorer.answer(line)
            assert "\n" not in json.dumps(answer) and json.loads(json.dumps(answer, allow_nan=False)) == answer
            outcomes["error" in answer] += 1
    assert outcomes[True] and outcomes[False]
