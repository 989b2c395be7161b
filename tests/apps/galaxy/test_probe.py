"""The linear probe: weights for features as they are, the penalty that validation chooses, an ordinary model folder."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from galaxy_fixtures import write_set
from PIL import Image
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner, Result

from attn.apps.galaxy import anomaly_fit, probe_fit
from attn.apps.galaxy.anomaly import ANOMALY
from attn.apps.galaxy.anomaly_fit import against
from attn.apps.galaxy.number import Number
from attn.apps.galaxy.predict import GalaxyPredictor
from attn.apps.galaxy.probe_fit import PENALTIES, fit_linear, fit_number
from attn.cli import app


def attn(*arguments: object) -> Result:
    done = CliRunner().invoke(app, ["galaxy", *map(str, arguments)], prog_name="attn")
    assert "Traceback" not in done.output + done.stderr
    return done


@pytest.mark.parametrize("classes", [2, 3])
def test_fit_linear_is_scikit_learns_best(classes: int) -> None:
    draw = np.random.default_rng(classes)
    y = draw.integers(0, classes, 240)
    x = draw.normal(0, 1, (240, 5)) * [1, 10, 0.1, 1, 1] + np.eye(classes, 5)[y] * [1, 9, 0.1, 1, 1] + 4
    weight, bias, chosen = fit_linear(x[:160], y[:160], x[160:], y[160:], classes)
    probabilities = softmax(x[160:] @ weight.numpy().T + bias.numpy(), axis=1)
    losses = []
    for penalty in PENALTIES:
        z = (x - x[:160].mean(0)) / (x[:160].std(0) + 1e-3)
        by_hand = LogisticRegression(C=penalty, max_iter=300).fit(z[:160], y[:160]).predict_proba(z[160:])
        losses.append(-np.log(by_hand[np.arange(80), y[160:]]).mean())
        if penalty == chosen["penalty"]:
            np.testing.assert_allclose(probabilities, by_hand, atol=1e-3)
    assert chosen["penalty"] == PENALTIES[int(np.argmin(losses))]
    assert chosen["validation_loss"] == pytest.approx(min(losses), abs=1e-3)


def test_a_class_without_a_row_is_never_said_and_balance_evens_the_classes_out() -> None:
    draw = np.random.default_rng(0)
    y = np.array([0] * 180 + [2] * 20)
    x = draw.normal(0, 1, (200, 3)) + (y == 2)[:, None]
    both = []
    for balance in (0.0, 1.0):
        weight, bias, _ = fit_linear(x, y, x, y, 3, balance)
        both.append(np.bincount((x @ weight.numpy().T + bias.numpy()).argmax(1), minlength=3))
    assert both[0][1] == both[1][1] == 0
    assert both[1][2] > both[0][2] + 10


@pytest.mark.parametrize("share", [True, False])
def test_fit_number_is_the_least_loss_of_its_own_penalty(share: bool) -> None:
    draw = np.random.default_rng(5)
    x = draw.normal(0, 1, (300, 4)) * [1, 10, 0.1, 1] + 3
    y = x @ [0.4, 0.05, 3, -0.4] - 1.5 + draw.normal(0, 0.3, 300)
    y = 1 / (1 + np.exp(-y)) if share else 50 + 20 * y
    number = Number(name="y", share=share, mean=float(y.mean()), std=float(y.std()))
    weight, bias, chosen = fit_number(x[:200], y[:200], x[200:], y[200:], number)
    held = torch.from_numpy(x[200:]).float() @ weight.T + bias
    assert chosen["validation_loss"] == pytest.approx(float(number.loss(held[:, 0], torch.from_numpy(y[200:]).float())))
    assert np.corrcoef(number.value(held[:, 0]).numpy(), y[200:])[0, 1] > 0.8
    mean, deviation = torch.from_numpy(x[:200].mean(0)), torch.from_numpy(x[:200].std(0) + 1e-3)
    z = (torch.from_numpy(x[:200]) - mean) / deviation
    here = (weight.double() * deviation).requires_grad_()
    shift = (bias.double() + weight.double() @ mean).requires_grad_()
    true = torch.from_numpy(y[:200])
    output = (z @ here.T + shift)[:, 0]
    loss = (
        torch.nn.functional.binary_cross_entropy_with_logits(output, true, reduction="sum")
        if share
        else 0.5 * ((output - (true - number.mean) / number.std) ** 2).sum()
    )
    (loss + 0.5 * (here**2).sum() / chosen["penalty"]).backward()
    assert here.grad is not None and shift.grad is not None
    assert max(float(here.grad.abs().max()), float(shift.grad.abs().max())) < 0.05


@pytest.fixture(scope="module")
def probed(micro_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Result]:
    """The labelled set, the model folder, and what the command said."""
    place = tmp_path_factory.mktemp("probe")
    table = write_set(place / "set", 20, first=100)
    out = place / "model"
    return table, out, attn("train", table, "--label", "kind", "--probe", "--start", micro_model, "--out", out)


def test_a_probe_is_an_ordinary_model(probed: tuple[Path, Path, Result], micro_model: Path, tmp_path: Path) -> None:
    table, out, done = probed
    assert done.exit_code == 0, done.stderr
    record = json.loads((out / "model.json").read_text())
    assert record["labels"] == ["disc", "ring", "round"] and record["metrics"]["probe"]["penalty"] in PENALTIES
    assert record["data"]["start"] == "micro" and record["data"]["used"]["start"]
    rows = list(GalaxyPredictor.load(out).predict_many([str(path) for path in sorted(table.parent.glob("*.png"))]))
    right = [row.label == Path(row.id).name.split("_")[0] for row in rows]
    assert np.mean(right) > 0.8
    assert attn("evaluate", table, "--label", "kind", "--model", out).exit_code == 0
    calibrated = tmp_path / "calibrated"
    other = write_set(tmp_path / "set", 4, first=900)
    assert attn("calibrate", other, "--label", "kind", "--model", out, "--out", calibrated).exit_code == 0
    assert attn("export", "--model", out, "--out", tmp_path / "a.onnx").exit_code == 0


def test_the_features_and_the_anomaly_are_those_of_the_start(
    probed: tuple[Path, Path, Result], micro_model: Path
) -> None:
    table, out, _ = probed
    picture = str(next(table.parent.glob("*.png")))
    rows = [
        next(iter(GalaxyPredictor.load(model).predict_many([picture], embeddings=True))) for model in (micro_model, out)
    ]
    assert rows[0].embedding is not None and rows[1].embedding is not None
    torch.testing.assert_close(torch.from_numpy(rows[0].embedding), torch.from_numpy(rows[1].embedding))
    assert rows[0].values["anomaly"] == pytest.approx(rows[1].values["anomaly"])
    assert (out / ANOMALY).read_bytes() == (micro_model / ANOMALY).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--start", "lite0"), "no trained model"),
        (("--variant", "nano"), "--variant has no effect with --probe"),
        (("--epochs", "3"), "--epochs has no effect with --probe"),
        (("--mixer", "halo"), "--mixer has no effect with --probe"),
        (("--target", "kind"), "--label has no effect with --target"),
    ],
)
def test_what_a_probe_cannot_do_is_one_sentence(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    table = write_set(tmp_path / "set", 4)
    done = attn("train", table, "--label", "kind", "--probe", *arguments, "--out", tmp_path / "out")
    assert done.exit_code in (1, 2) and said in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_number_is_probed_too(micro_model: Path, tmp_path: Path) -> None:
    table = write_set(tmp_path / "set", 10)
    frame = pl.read_csv(table)
    light = [float(np.asarray(Image.open(tmp_path / "set" / name)).mean()) for name in frame["path"]]
    frame.with_columns(light=pl.Series(light)).write_csv(table)
    out = tmp_path / "model"
    done = attn("train", table, "--target", "light", "--probe", "--start", micro_model, "--out", out)
    assert done.exit_code == 0, done.stderr
    record = json.loads((out / "model.json").read_text())
    assert record["labels"] == [] and record["calibration"]["number"]["name"] == "light"
    assert record["metrics"]["probe"]["penalty"] in PENALTIES and "r2" in record["metrics"]
    rows = list(GalaxyPredictor.load(out).predict_many([str(path) for path in sorted(table.parent.glob("*.png"))]))
    by_name = dict(zip(frame["path"], light, strict=True))
    answers = np.array([[row.values["light"], by_name[Path(row.id).name]] for row in rows], float)
    assert np.corrcoef(answers.T)[0, 1] > 0.8


def test_unreadable_rows_are_named_or_left_out(micro_model: Path, tmp_path: Path) -> None:
    table = write_set(tmp_path / "set", 12)
    (tmp_path / "set" / "ring_1.png").write_bytes(b"")
    how = ("train", table, "--label", "kind", "--probe", "--start", micro_model, "--out", tmp_path / "out")
    done = attn(*how)
    assert done.exit_code == 1 and "ring_1.png" in done.stderr.splitlines()[-1]
    assert attn(*how, "--skip-unreadable").exit_code == 0
    assert json.loads((tmp_path / "out" / "model.json").read_text())["data"]["skipped"] == ["ring_1.png"]


def test_a_trained_model_is_not_overwritten(micro_model: Path, tmp_path: Path) -> None:
    table = write_set(tmp_path / "set", 8)
    (tmp_path / "out" / "run").mkdir(parents=True)
    (tmp_path / "out" / ".attn").write_text("")
    (tmp_path / "out" / "run" / "metrics.csv").write_text("epoch\n")
    done = attn("train", table, "--label", "kind", "--probe", "--start", micro_model, "--out", tmp_path / "out")
    assert done.exit_code == 1 and "holds a run" in done.stderr
    assert pl.read_csv(tmp_path / "out" / "run" / "metrics.csv").columns == ["epoch"]


def test_a_fit_that_stops_early_is_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(4)
    y = np.tile([0, 1, 2], 40)
    x = draw.normal(0, 1, (120, 9)) + y[:, None]
    monkeypatch.setattr(probe_fit, "MOST_STEPS", 1)
    monkeypatch.setattr(anomaly_fit, "MOST_STEPS", 1)
    weight, bias, _ = fit_linear(x, y, x, y, 3)
    assert weight.isfinite().all() and bias.isfinite().all()
    assert np.isfinite(against(x[y == 0], x[y == 1], x[y == 0]).weight).all()
