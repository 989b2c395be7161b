"""Training: what a run leaves, when it stops, and the settings that it refuses."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from core.training.small_run import CONFIG, Data, Net, Points, Stopped
from PIL import Image
from torch import nn

from attn.core.errors import TrainingError, UsageError
from attn.core.training.config import FitConfig
from attn.core.training.fit import fit
from attn.core.training.journal import Journal
from attn.core.training.resume import read_tree


def test_what_a_run_leaves(whole: Any) -> None:
    result, out = whole
    assert result.best_value == min(row["val_loss"] for row in result.history)
    assert result.history[result.best_epoch]["val_loss"] == result.best_value
    with (out / "metrics.csv").open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert rows == result.history
    with Image.open(out / "curves.png") as picture:
        assert min(picture.size) > 400
    assert {path.name for path in (out / "checkpoints").iterdir()} == {"last.safetensors", "best.safetensors"}
    assert not Path("lightning_logs").exists()
    assert result.state_of("net").keys() == nn.Sequential(*Net().net).state_dict().keys()
    assert result.facts() == {"epochs": 4, "best_epoch": result.best_epoch, "minutes": result.seconds / 60}


def test_best_state_reproduces_the_best_value(whole: Any) -> None:
    """The validation was done with the averaged weights, and those are what is kept."""
    result, _ = whole
    net = Net().eval()
    net.load_state_dict(result.best_state)
    points = Points(16, noise=0.0)
    with torch.no_grad():
        loss = nn.functional.cross_entropy(net.net(points.x), points.y)
    assert float(loss) == pytest.approx(result.best_value, abs=1e-6)


def test_folder_and_settings_must_fit(whole: Any, tmp_path: Path) -> None:
    _, out = whole
    with pytest.raises(TrainingError, match="holds an earlier run; --resume"):
        fit(Net(), Data(), CONFIG, out)
    with pytest.raises(TrainingError, match="nothing to resume"):
        fit(Net(), Data(), CONFIG, tmp_path, resume=True)
    with pytest.raises(TrainingError, match=r"ema_decay = 0\.9, now it is 0\.99"):
        fit(Net(), Data(), replace(CONFIG, ema_decay=0.99), out, resume=True)
    with pytest.raises(TrainingError, match="epochs = 4, now it is 3"):
        fit(Net(), Data(), replace(CONFIG, epochs=3), out, resume=True)
    with pytest.raises(TrainingError, match=r"net\.0\.weight is \(16, 6\) there and \(8, 6\) here"):
        fit(Net(width=8), Data(), CONFIG, out, resume=True)
    with pytest.raises(UsageError, match="strategy"):
        fit(Net(), Data(), replace(CONFIG, strategy="no-such"), tmp_path)
    with pytest.raises(UsageError, match="epochs must be at least 1"):
        replace(CONFIG, epochs=0)


def test_nan_loss_stops_naming_epoch_and_step(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="epoch 1, step 2; try a lower learning rate"):
        fit(Stopped((1, 2), "nan"), Data(), CONFIG, tmp_path)
    weights = read_tree(tmp_path / "checkpoints/last.safetensors", "state_dict")
    assert all(torch.isfinite(weight).all() for weight in weights.values())


def test_missing_monitor_lists_what_was_logged(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no auc was logged.*train_loss, val_accuracy, val_loss"):
        fit(Net(), Data(), FitConfig(epochs=1, monitor="auc", mode="max"), tmp_path)


@pytest.mark.parametrize(
    ("losses", "finished"),
    [
        ([0.5, 0.6, 0.6], False),
        ([0.5, 0.6, 0.6, 0.6], True),
        ([0.5, 0.6, 0.505, 0.6], False),
        ([0.5, 0.6, 0.6, 0.49], False),
        ([0.5, 0.6, 0.6, 0.505], False),
    ],
)
def test_three_epochs_far_above_the_best_stop(losses: list[float], finished: bool, tmp_path: Path) -> None:
    journal = Journal(FitConfig(epochs=99, patience=50, rise=0.02), tmp_path, None)
    journal.history = [{"epoch": n, "val_loss": loss, "seconds": 1.0} for n, loss in enumerate(losses)]
    journal.best_epoch = losses.index(min(losses))
    assert journal.finished == finished


def test_patience_and_budget_stop_early(tmp_path: Path) -> None:
    still = FitConfig(epochs=9, patience=2)
    result = fit(Net(rate=0.0), Data(), replace(still, monitor="val_accuracy", mode="max"), tmp_path / "patience")
    assert len(result.history) == result.best_epoch + 1 + 2
    assert len(fit(Net(), Data(), FitConfig(max_minutes=0), tmp_path / "budget").history) == 1
    whole = fit(Net(), Data(), FitConfig(epochs=1), tmp_path / "whole").history
    cut = fit(Net(), Data(), FitConfig(max_minutes=1e-9), tmp_path / "cut").history
    assert len(cut) == 1 and cut[0]["step"] == 1 < whole[0]["step"]  # within the epoch, which was validated
    assert "val_loss" in cut[0]
