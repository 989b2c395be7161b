"""Training: repeatable, resumable to the last digit, no pickle, quiet."""

import csv
import math
import os
import signal
import subprocess
import sys
from collections import Counter, OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningDataModule, LightningModule
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from attn.core.errors import TrainingError, UsageError
from attn.core.training.config import FitConfig
from attn.core.training.ema import EMA
from attn.core.training.fit import fit
from attn.core.training.journal import Row
from attn.core.training.resume import SafetensorsIO, read_tree, write_tree
from attn.core.training.seeding import EpochSampler

CONFIG = FitConfig(epochs=4, seed=3, patience=9, ema_decay=0.9)


class Points(Dataset[tuple[Tensor, Tensor]]):
    """Random points and their class; in training, noise is added where the data is read."""

    def __init__(self, size: int, *, noise: float) -> None:
        self.x = torch.randn(size, 6, generator=torch.Generator().manual_seed(size))
        self.y = (self.x[:, 0] * self.x[:, 1] > 0).long()
        self.noise = noise

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index] + self.noise * torch.randn(6), self.y[index]


class Data(LightningDataModule):
    def __init__(self, workers: int = 0, seeded: bool = True) -> None:
        super().__init__()
        self.workers, self.seeded = workers, seeded

    def train_dataloader(self) -> DataLoader[Any]:
        sampler = EpochSampler(48, seed=7)
        seed_worker = sampler.seed_worker if self.seeded else None
        data = Points(48, noise=0.1)
        return DataLoader(data, 8, sampler=sampler, num_workers=self.workers, worker_init_fn=seed_worker)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(Points(16, noise=0.0), 16)


class Net(LightningModule):
    """Dropout, batch norm, random mixing of the batch, a schedule by step and one that sees a plateau."""

    def __init__(self, rate: float = 0.02, width: int = 16) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.net = nn.Sequential(
            nn.Linear(6, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(width, 2)
        )
        self.rate = rate

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        other = torch.randperm(len(x))
        logits = self.net(0.8 * x + 0.2 * x[other])
        loss = 0.8 * nn.functional.cross_entropy(logits, y) + 0.2 * nn.functional.cross_entropy(logits, y[other])
        self.log("train_loss", loss, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        x, y = batch
        logits = self.net(x)
        self.log("val_loss", nn.functional.cross_entropy(logits, y), sync_dist=True)
        self.log("val_accuracy", (logits.argmax(1) == y).float().mean(), sync_dist=True)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), self.rate)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.7, patience=0, threshold=0.5)
        return [optimizer], [
            {"scheduler": cosine, "interval": "step"},
            {"scheduler": plateau, "monitor": "val_loss"},
        ]


class Stopped(Net):
    """Is stopped at (epoch, batch) in the way that `how` says."""

    def __init__(self, at: tuple[int, int], how: str) -> None:
        super().__init__()
        self.at, self.how = at, how

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        if self.at == (self.current_epoch, batch_idx):
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "interrupt":
                raise KeyboardInterrupt
            if self.how == "terminate":
                os.kill(os.getpid(), signal.SIGTERM)
            loss = loss * math.nan
        return loss


def without_time(history: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An uninterrupted run, and its folder."""
    out = tmp_path_factory.mktemp("whole")
    return fit(Net(), Data(), CONFIG, out), out


def test_sigkill_mid_epoch_then_resume_ends_as_uninterrupted(whole: Any, tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, __file__, str(tmp_path)], check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout + killed.stderr == "", "a training that is not on a terminal says nothing"
    assert len(read_tree(tmp_path / "checkpoints/last.safetensors", "callbacks", "Journal", "history")) == 2
    gone = int(subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True).stdout)
    left = [tmp_path / "checkpoints" / f".last.{gone}.part.safetensors", tmp_path / f".curves.{gone}.part.png"]
    for path in left:
        path.write_bytes(b"killed while writing")

    resumed, (expected, _) = fit(Net(), Data(), CONFIG, tmp_path, resume=True), whole

    assert not any(path.exists() for path in left)

    assert without_time(resumed.history) == without_time(expected.history)
    assert abs(resumed.final_train_loss - expected.final_train_loss) < 1e-6
    assert resumed.best_epoch == expected.best_epoch
    for name, weight in expected.best_state.items():
        assert torch.equal(resumed.best_state[name], weight), name


@pytest.mark.parametrize("how", ["interrupt", "terminate"])
def test_interrupt_is_raised_again_and_resumes(whole: Any, tmp_path: Path, how: str) -> None:
    """Lightning alone ends a process that is told to terminate with exit code 0."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in signals]
    with pytest.raises(KeyboardInterrupt):
        fit(Stopped((0, 2), how), Data(), CONFIG, tmp_path)
    assert [signal.getsignal(number) for number in signals] == before
    resumed = fit(Net(), Data(), CONFIG, tmp_path, resume=True)
    assert without_time(resumed.history) == without_time(whole[0].history)


def test_workers_are_repeatable_across_a_resume(tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        fit(Stopped((1, 2), "interrupt"), Data(workers=1), config, tmp_path / "cut")
    resumed = fit(Net(), Data(workers=1), config, tmp_path / "cut", resume=True)
    expected = fit(Net(), Data(workers=1), config, tmp_path / "whole")
    assert without_time(resumed.history) == without_time(expected.history)


def test_workers_without_seeds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="seed_worker"):
        fit(Net(), Data(workers=1, seeded=False), CONFIG, tmp_path)


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


def test_finished_run_resumes_to_its_result_and_may_grow(whole: Any, tmp_path: Path) -> None:
    short = replace(CONFIG, epochs=2)
    first = fit(Net(), Data(), short, tmp_path)
    again = fit(Net(), Data(), short, tmp_path, resume=True)
    assert again.history == first.history
    grown = fit(Net(), Data(), CONFIG, tmp_path, resume=True)
    assert without_time(grown.history) == without_time(whole[0].history)
    assert grown.seconds > first.seconds


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
    with pytest.raises(TrainingError, match=r"net\.0\.bias is \(16,\) there and \(8,\) here"):
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


def test_patience_and_budget_stop_early(tmp_path: Path) -> None:
    still = FitConfig(epochs=9, patience=2)
    result = fit(Net(rate=0.0), Data(), replace(still, monitor="val_accuracy", mode="max"), tmp_path / "patience")
    assert len(result.history) == result.best_epoch + 1 + 2
    assert len(fit(Net(), Data(), FitConfig(max_minutes=0), tmp_path / "budget").history) == 1


def test_ema_follows_the_formula() -> None:
    """One weight, followed by hand."""
    ema, net = EMA(0.5), Net()
    weight = net.net[4].bias
    ema.start(net)
    expected = weight.detach().clone()
    for step in range(12):
        with torch.no_grad():
            weight.copy_(torch.randn(2))
        for _ in range(2):  # the second time, no step of the optimizer has happened
            ema.update(net, step + 1)
        d = min(0.5, (1 + step) / (10 + step))
        expected = d * expected + (1 - d) * weight.detach()
    current = weight.detach().clone()
    with ema.averaged(net):
        torch.testing.assert_close(weight.detach(), expected)
    assert torch.equal(weight, current)


def test_ema_of_a_table_is_that_of_all_its_rows() -> None:
    """A sparse gradient and a dense one: the same average, though rows wait for their turn."""
    torch.manual_seed(0)
    draws = [torch.randint(0, 20, (4,)) for _ in range(30)]
    averages = []
    for sparse in (False, True):
        torch.manual_seed(1)
        net = LightningModule()
        net.table = nn.Embedding(20, 3, sparse=sparse)
        ema = EMA(0.9)
        ema.start(net)
        optimizer = torch.optim.SGD(net.parameters(), 0.5)
        for step, rows in enumerate(draws):
            optimizer.zero_grad()
            net.table(rows).pow(2).sum().backward()
            ema.before_step(net)
            optimizer.step()
            ema.update(net, step + 1)
            if step in (11, 20):  # a look in between changes nothing
                with ema.averaged(net):
                    pass
        with ema.averaged(net):
            averages.append(net.table.weight.detach().clone())
    torch.testing.assert_close(averages[1], averages[0])


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    net = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    shared = torch.arange(6.0).reshape(2, 3)
    tree = {
        "optimizer_states": [optimizer.state_dict()],
        "views": OrderedDict(whole=shared, turned=shared.T, scalar=torch.tensor(3), none=torch.empty(0, 2)),
        "half": torch.tensor([1.5, math.inf], dtype=torch.bfloat16),
        "numbers": [1, True, -0.1, math.inf, -math.inf, 2**80, None, "text", (1, (2.5, "a"))],
        "a.b": torch.tensor(1), "a": {"b": torch.tensor(2)},
        "keys": {3: "x", "3": "y", "$tensor": "z"},
        "milestones": Counter({30: 1, 60: 2}),
        "nothing": {}, "empty": [],
    }  # fmt: skip
    path = tmp_path / "tree.safetensors"
    write_tree(path, tree)
    back = read_tree(path)
    assert list(back) == list(tree)
    assert_same(back, tree)
    assert isinstance(back["milestones"], Counter)
    assert math.isnan(SafetensorsIO().load_checkpoint(written(tmp_path / "nan", {"x": math.nan}))["x"])
    optimizer.load_state_dict(back["optimizer_states"][0])


def written(path: Path, tree: dict[str, Any]) -> Path:
    SafetensorsIO().save_checkpoint(tree, path)
    return path


def assert_same(got: Any, expected: Any) -> None:
    if isinstance(expected, Tensor):
        assert got.dtype == expected.dtype and got.shape == expected.shape and torch.equal(got, expected)
    elif isinstance(expected, dict):
        assert list(got) == list(expected)
        for key, value in expected.items():
            assert_same(got[key], value)
    elif isinstance(expected, (list, tuple)):
        assert type(got) is type(expected) and len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_same(one, other)
    else:
        assert type(got) is type(expected) and got == expected


def test_checkpoint_names_what_it_cannot_hold_or_read(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    write_tree(path, {"kept": 1})
    with pytest.raises(TrainingError, match=r"cannot hold states\.2\.where, a pathlib\..*Path"):
        write_tree(path, {"states": [0, 1, {"where": tmp_path}]})
    with pytest.raises(TrainingError, match=r"the key \(1, 2\) of states"):
        write_tree(path, {"states": {(1, 2): 3}})
    assert read_tree(path) == {"kept": 1}, "the earlier file is untouched"
    write_tree(path, {"weights": torch.arange(8.0), "epoch": 1})
    good = path.read_bytes()
    for damaged in (good[:-4], good[:-4] + b"abcd", good.replace(b'epoch\\": 1', b'epoch\\": 2'), b"", good[:100]):
        assert damaged != good
        path.write_bytes(damaged)
        with pytest.raises(TrainingError, match=r"last\.safetensors: this checkpoint cannot be read .*start anew"):
            read_tree(path)
    with pytest.raises(TrainingError, match="cannot be read"):
        read_tree(tmp_path / "absent")


def test_sampler_order_is_a_function_of_seed_and_epoch() -> None:
    sampler, same, other = EpochSampler(50, seed=1), EpochSampler(50, seed=1), EpochSampler(50, seed=2)
    first = list(sampler)
    assert sorted(first) == list(range(50)) and first == list(sampler) == list(same) != list(other)
    sampler.set_epoch(1)
    assert list(sampler) != first
    same.set_epoch(1)
    assert list(sampler) == list(same)


def test_sampler_draws_in_proportion_to_weights() -> None:
    weights = torch.tensor([0.0, 1.0, 3.0, 0.0]).repeat(2000)
    drawn = torch.bincount(torch.tensor(list(EpochSampler(8000, seed=0, weights=weights))) % 4, minlength=4)
    assert drawn[0] == drawn[3] == 0
    assert float(drawn[2] / drawn.sum()) == pytest.approx(0.75, abs=0.02)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        EpochSampler(3, seed=0, weights=weights)


def test_sampler_parts_of_all_ranks_make_the_whole() -> None:
    parts = []
    for rank in range(3):
        sampler = EpochSampler(10, seed=4)
        sampler.num_replicas, sampler.rank, sampler.num_samples, sampler.total_size = 3, rank, 4, 12
        parts.append(list(sampler))
    assert [len(part) for part in parts] == [4, 4, 4]
    assert set().union(*parts) == set(range(10))


@pytest.mark.slow
@pytest.mark.skipif(torch.accelerator.is_available(), reason="two processes on the CPU")
def test_two_processes_keep_one_journal(tmp_path: Path) -> None:
    run = [sys.executable, __file__, str(tmp_path), "2"]
    subprocess.run(run, check=True, timeout=300)
    with (tmp_path / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2", "3"]
    assert read_tree(tmp_path / "checkpoints/last.safetensors", "global_step") == 4 * 3


if __name__ == "__main__":
    if len(sys.argv) == 2:
        fit(Stopped((2, 3), "kill"), Data(), CONFIG, Path(sys.argv[1]))
    else:
        fit(Net(), Data(), replace(CONFIG, devices=2), Path(sys.argv[1]))
