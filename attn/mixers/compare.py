"""Mechanisms in one app, each trained with the same seeds and the same budget, and what came of it.

    OUT/comparison.json                the app, the data, the budget and the options of all trainings
    OUT/MIXER-SEED/                    a training: the folder that `attn APP train` writes

A training is the command that a person would type, in a process of its own. Where a comparison was interrupted, the
same call goes on: finished trainings are read, and a started one is resumed.
"""

import csv
import json
import math
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from attn.core import mixers
from attn.core.errors import TrainingError, UsageError
from attn.core.files import replacing
from attn.core.mixers.choice import split
from attn.core.models.record import load_record
from attn.core.models.weights import read_header
from attn.mixers.forms import FORMS

RECORD = "comparison.json"


@dataclass(frozen=True)
class Plan:
    """The same for all trainings of a comparison."""

    app: str
    data: str
    minutes: float
    options: tuple[str, ...]

    def command(self, mixer: str, seed: int, folder: Path) -> list[str]:
        """What a person would type."""
        typed = ["attn", self.app, "train", self.data, *self.options, "--mixer", mixer, "--seed", str(seed)]
        typed += ["--minutes", f"{self.minutes:g}", "--out", str(folder)]
        return [*typed, "--resume"] if (folder / "run" / "checkpoints" / "last.safetensors").exists() else typed


@dataclass(frozen=True)
class Trained:
    """A training: its measure, its size and its curve of (minutes, validation loss); or why there is none."""

    mixer: str
    seed: int
    value: float = math.nan
    parameters: int = 0
    epochs: int = 0
    minutes: float = 0.0
    curve: tuple[tuple[float, float], ...] = ()
    error: str | None = None


def choices(app: str, text: str | None) -> list[str]:
    """The mixers of a list, or all that fit the app, softmax first; the layers of one are joined by "+".

    Raises UsageError for what does not fit.
    """
    form = FORMS[app]
    if text is None:
        fitting = [info.name for info in mixers.available() if form.dims in info.dims and info.has(form.causal)]
        return sorted(fitting, key=lambda name: name != "softmax")
    found = list(dict.fromkeys(split(text)))
    for one in found:
        for layer in one.split("+"):
            causal = form.causal if form.dims == 1 else None
            mixers.create(layer, dims=form.dims, channels=64, heads=4, size=(8,) * form.dims, causal=causal)
    return found


def plan_of(app: str, data: Path | None, minutes: float, options: Sequence[str]) -> Plan:
    """Of the data that are given, or else of this repository's. Raises UsageError where there are none."""
    example = FORMS[app].example
    if data is not None:
        return Plan(app, str(data), minutes, tuple(options))
    if not example:
        raise UsageError(f"there are no example data for {app}", hint="give --data, and its options behind --")
    if not Path(example[0]).exists():
        raise UsageError(
            "there are no example data here", where=example[0], hint="give --data, or call from the repository"
        )
    return Plan(app, example[0], minutes, (*example[1:], *options))


def compare(
    plan: Plan, names: Sequence[str], seeds: int, out: Path, say: Callable[[str], None] = lambda sentence: None
) -> list[Trained]:
    """Train what is not trained yet, seed by seed, so that an interrupted comparison has all mechanisms in it.

    Raises UsageError where `out` holds a comparison with another plan.
    """
    path = out / RECORD
    now = json.loads(json.dumps(asdict(plan)))
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        for key, value in now.items():
            if before.get(key) != value:
                raise UsageError(
                    f"holds a comparison with {key} = {before.get(key)}, now it is {value}",
                    where=out,
                    hint="give another --out",
                )
    else:
        with replacing(path) as part:
            part.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
    found = []
    for seed in range(seeds):
        for name in names:
            found.append(_train(plan, name, seed, folder_of(out, name, seed)))
            last = found[-1]
            say(f"{name}, seed {seed}: " + (last.error or f"{FORMS[plan.app].measure} {last.value:.4g}"))
    return found


def folder_of(out: Path, mixer: str, seed: int) -> Path:
    """Where a training lies."""
    return out / f"{re.sub(r'[^a-z0-9_=.-]+', '-', mixer)}-{seed}"


def _train(plan: Plan, mixer: str, seed: int, folder: Path) -> Trained:
    if not (folder / "model.json").exists():
        command = [sys.executable, "-m", "attn.cli", *plan.command(mixer, seed, folder)[1:], "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 130:
            raise KeyboardInterrupt
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            return Trained(mixer, seed, error=last.removeprefix("error: "))
    record = load_record(folder)
    with (folder / "run" / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    header = read_header(folder / "model.safetensors")
    value = record.metrics.get(FORMS[plan.app].measure)
    if not isinstance(value, float):
        raise TrainingError(f"has no {FORMS[plan.app].measure} in its record", where=folder)
    return Trained(
        mixer,
        seed,
        value,
        sum(math.prod(stored.shape) for stored in header.values()),
        len(rows),
        float(rows[-1]["seconds"]) / 60,
        tuple((float(row["seconds"]) / 60, float(row["val_loss"])) for row in rows),
    )


def table(found: Sequence[Trained], measure: str) -> list[dict[str, Any]]:
    """A row for each mechanism: mean, standard deviation, and the paired difference from the first one.

    p is that of a paired t-test over the seeds, for each mechanism alone; with fewer than two seeds, or without any
    spread, there is none.
    """
    names = list(dict.fromkeys(each.mixer for each in found))
    values = {
        name: {each.seed: each.value for each in found if each.mixer == name and not each.error} for name in names
    }
    rows = []
    for name in names:
        own = [each for each in found if each.mixer == name and not each.error]
        shared = sorted(values[name].keys() & values[names[0]].keys())
        gaps = [values[name][seed] - values[names[0]][seed] for seed in shared] if name != names[0] else []
        numbers = list(values[name].values())
        rows.append(
            {
                "mixer": name,
                "seeds": len(own),
                measure: statistics.fmean(numbers) if numbers else None,
                "deviation": statistics.stdev(numbers) if len(numbers) > 1 else None,
                "difference": statistics.fmean(gaps) if gaps else None,
                "p": paired_p(gaps),
                "parameters": own[0].parameters if own else None,
                "epochs": statistics.fmean(each.epochs for each in own) if own else None,
                "minutes": statistics.fmean(each.minutes for each in own) if own else None,
                "error": next((each.error for each in found if each.mixer == name and each.error), None),
            }
        )
    return rows


def paired_p(gaps: Sequence[float]) -> float | None:
    """Two-sided p of a paired t-test (Student 1908) on differences; None where it has no answer."""
    if len(gaps) < 2 or not (spread := statistics.stdev(gaps)):
        return None
    from scipy.stats import t

    statistic = statistics.fmean(gaps) / spread * math.sqrt(len(gaps))
    return float(2 * t.sf(abs(statistic), len(gaps) - 1))
