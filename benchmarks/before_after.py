"""Is this tree as fast as an older one? CPU seconds of the same work in both, in processes that alternate.

    git worktree add ../before 5c62055
    uv run python benchmarks/before_after.py ../before

Only names that both trees have are used: the predictors, `fit` of the estimator, and networks in training mode. A
process runs one work in one tree on one thread and prints the CPU seconds of its best repetition, because what else
the machine does can only add to them. The table has the median over the turns, and the ratio of the medians.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

from rows import keep

SET_UP = """
import time
import numpy as np, torch
from attn import CTRClassifier, CTRPredictor, GalaxyPredictor, MusicGenerator
torch.set_num_threads(1)
torch.manual_seed(0)
random = np.random.default_rng(0)

def measure(work, repetitions):
    times = []
    for _ in range(repetitions + 1):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    print(min(times[1:]))

def train_step(model, *inputs):
    model.train()
    def step():
        model.zero_grad()
        model(*inputs).float().square().mean().backward()
    return step
"""

WORKS = {
    "galaxy, predict 64 pictures": """
pictures = list(random.integers(0, 256, (64, 224, 224, 3), dtype=np.uint8))
predictor = GalaxyPredictor.load()
measure(lambda: list(predictor.predict_many(pictures)), 3)
""",
    "galaxy, training step of 32": """
from attn.apps.galaxy.model import Astroformer, variant
measure(train_step(Astroformer(variant("nano")), torch.randn(32, 3, 64, 64)), 5)
""",
    "music, 10 s of piano": """
generator = MusicGenerator.load(bundled="piano")
measure(lambda: generator.generate(seconds=10, seed=0), 2)
""",
    "music, 8 bars of a chorale": """
generator = MusicGenerator.load(bundled="chorale")
measure(lambda: generator.generate(bars=8, seed=0), 2)
""",
    "music, training step of 4 x 512": """
model = MusicGenerator.load(bundled="piano").model
measure(train_step(model, torch.randint(1, model.config.vocabulary, (4, 512))), 3)
""",
    "ctr, score 1,000 items": """
predictor = CTRPredictor.load()
row = {"user_id": "1", "age": "25", "gender": "F", "occupation": "4", "zip": "55117"}
items = [{"movie_id": str(i), "genres": "Drama|Comedy", "year": str(1990 + i % 10)} for i in range(1000)]
measure(lambda: predictor.score(row, items), 5)
""",
    "ctr, one epoch of 50,000 rows": """
x = random.integers(0, 100, (50_000, 10)).astype(str)
y = random.integers(0, 2, 50_000)
measure(lambda: CTRClassifier(epochs=1).fit(x, y), 1)
""",
    "ctr, training until it stops": """
rows = 30_000
user, item, hour = (random.integers(0, most, rows) for most in (800, 200, 24))
pair, users, items = (np.random.default_rng(1).normal(0, 0.8, size) for size in ((8, 8), 800, 200))
logit = pair[user % 8, item % 8] + users[user] + items[item] + 0.5 * np.sin(hour / 4) - 1.5
y = (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(int)
x = np.stack([user, item, hour, user % 8, item % 8], 1).astype(str)
began = time.process_time()
fitted = CTRClassifier().fit(x[:20_000], y[:20_000])
seconds = time.process_time() - began
from sklearn.metrics import roc_auc_score
print(roc_auc_score(y[20_000:], fitted.predict_proba(x[20_000:])[:, 1]), seconds)
""",
}


def measured(tree: Path, work: str) -> list[float]:
    """The CPU seconds, after the AUC where the work prints one."""
    # -P: without it, the folder that this is run in would come before the tree.
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", SET_UP + WORKS[work]],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{work} in {tree}: {done.stderr[-2000:]}")
    return [float(number) for number in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="a working tree of the older commit")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--only", default="", help="works whose name contains this")
    options = parser.parse_args()
    trees = {"before": options.before.resolve(), "after": Path(__file__).resolve().parent.parent}
    for work in WORKS:
        if options.only not in work:
            continue
        seconds: dict[str, list[float]] = {name: [] for name in trees}
        aucs: dict[str, float] = {}
        for _ in range(options.turns):
            for name, tree in trees.items():
                *auc, taken = measured(tree, work)
                seconds[name].append(taken)
                aucs |= {f"auc_{name}": each for each in auc}
        before, after = (statistics.median(values) for values in seconds.values())
        ratios = [a / b for b, a in zip(seconds["before"], seconds["after"], strict=True)]
        row = {"work": work, "before": before, "after": after, "turns": options.turns, **aucs}
        keep("before_after", row | {"least": min(ratios), "most": max(ratios)})


if __name__ == "__main__":
    main()
