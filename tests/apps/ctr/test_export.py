"""The exported folder answers as the predictor does, without attn."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from ctr_fixtures import click_log, click_predictor

from attn.apps.ctr.explain import explain_row, explain_table, permuted
from attn.apps.ctr.export import export
from attn.apps.ctr.model import AutoInt, configure
from attn.apps.ctr.predict import CTRPredictor
from attn.apps.ctr.serving.score import Scorer
from attn.data_adapters.tables.codes import Codebook, Scale
from attn.data_adapters.tables.fields import Field
from attn.data_adapters.tables.open import open_table

ROWS = [
    {"user_id": 101, "site": "s3", "price": 2.5, "tags": "jazz|news", "at": "2024-05-03 19:10:00"},
    {"user_id": "101", "site": None, "price": None, "tags": ["jazz", "news"], "at": None},
    {"user_id": 101.0, "site": "never seen", "price": "7", "tags": "", "at": "2024-05-05 07:00:00"},
    {"user_id": None, "site": "", "price": float("inf"), "tags": "polka|jazz", "at": "no time"},
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    assert export(click_predictor(), folder) < 1e-5
    return folder


def scored(folder: Path, lines: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "score.py")]
    return subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=120)


def test_the_script_scores_as_the_predictor(served: Path) -> None:
    lines = [json.dumps(row) for row in ROWS]
    done = scored(served, lines)
    assert done.returncode == 0, done.stderr
    theirs = [json.loads(line) for line in done.stdout.splitlines()]
    ours = list(click_predictor().predict_many(json.loads(line) for line in lines))
    assert [row["probability"] for row in theirs] == pytest.approx([p.probabilities["click"] for p in ours], abs=1e-5)
    assert [[f"unknown {name}" for name in row["unknown"]] for row in theirs] == [list(p.flags) for p in ours]
    assert "unknown site" in ours[2].flags


def test_a_bad_line_is_an_answer_with_an_error(served: Path) -> None:
    row = json.dumps(ROWS[0])
    bad = [
        "[1",
        "[]",
        "",
        "[" * 5000,
        json.dumps({"sight": "s1"}),
        '{"price": ' + "9" * 5000 + "}",
        "\ufeff{}",
        "x" * (1 << 20),
    ]
    good = [row, json.dumps({"site": "s1"}), '{"price": ' + "9" * 400 + ', "site": ["\\ud800", {}]}', "\ufeff" + row]
    done = scored(served, [*bad, *good, *bad, row])
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    wanted = [True] * len(bad) + [False] * len(good) + [True] * len(bad) + [False]
    assert done.returncode == 1 and [("error" in answer) for answer in answers] == wanted, done.stderr
    assert all("\n" not in answer["error"] and len(answer["error"]) < 300 for answer in answers if "error" in answer)
    assert answers[len(bad)]["missing"] == [] and answers[len(bad) + 1]["missing"] == ["user_id", "price", "tags", "at"]
    assert answers[-1] == answers[len(bad)] == answers[len(bad) + 3]


def test_a_column_that_a_row_lacks_is_missing_in_both(served: Path) -> None:
    part = {"site": "s3", "user_id": 101}
    found, _ = Scorer(served).score([part])
    assert found == pytest.approx([click_predictor().predict(part).probabilities["click"]], abs=1e-5)


def test_a_reader_that_goes_away_ends_the_script(served: Path) -> None:
    command = f"yes '{{}}' | head -c 3000000 | {sys.executable} {served / 'score.py'} | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
    assert "error" in json.loads(done.stdout) and "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["category", "number"])
def test_a_model_that_has_no_numbers_or_no_ids_is_exported(kind: str, tmp_path: Path) -> None:
    one = Field.model_validate({"name": "x", "column": "x", "kind": kind})
    values, scales = {"x": pl.Series(["1", "2"])}, {"x": Scale(low=0, high=2, knots=(0.0, 1.0, 2.0))}
    codebook = Codebook((one,), values if kind == "category" else {}, {} if kind == "category" else scales)
    model = AutoInt(configure(codebook, widths=(4,), embedding=4))
    predictor = CTRPredictor(model, codebook, click_predictor().record)
    assert export(predictor, tmp_path / "out") < 1e-5
    rows = [{"x": 1}, {"x": None}, {"x": 2}]
    ours = [answer.probabilities["click"] for answer in predictor.predict_many(rows)]
    assert Scorer(tmp_path / "out").score(rows)[0] == pytest.approx(ours, abs=1e-5)


def test_attention_rows_sum_to_one_and_permuting_changes_only_the_pair(tmp_path: Path) -> None:
    predictor = click_predictor()
    explanation = explain_row(predictor, ROWS[0])
    assert explanation.attention_lff.sum(-1) == pytest.approx(1, abs=1e-5)
    assert all(path.stat().st_size for path in explanation.save(tmp_path, "row"))
    encoded = predictor.encode(ROWS)
    place = next(p for p in predictor.codebook.places if p.field.name == "site")
    moved = permuted(encoded, [place], np.array([1, 2, 3, 0]))
    changed = (moved.ids != encoded.ids).any(0).nonzero()[0].tolist()
    assert changed == [place.column]


def test_a_model_without_layers_of_two_fields_has_no_contrast(tmp_path: Path) -> None:
    click_log(300).write_csv(tmp_path / "t.csv")
    predictor = click_predictor()
    table = predictor.open(tmp_path / "t.csv")
    whole = explain_table(predictor, table, "click")
    assert whole.interactions == sorted(whole.interactions, key=lambda row: -row["contrast"])
    # Without mixing, the logit is a sum over fields: the second difference of every pair is zero.
    for layer in predictor.model.layers:
        layer.mixer.qkv.weight.data.zero_()
        if layer.mixer.qkv.bias is not None:
            layer.mixer.qkv.bias.data.zero_()
    flat = explain_table(predictor, open_table(tmp_path / "t.csv", text={"user_id"}), "click")
    assert max(row["contrast"] for row in flat.interactions) < 1e-5 < max(r["contrast"] for r in whole.interactions)
