"""Speed of measuring, training and searching in re-identification, beside torchreid and timm.

    uv run --with torchreid python benchmarks/reid.py

Four questions, in CPU seconds of one thread; both sides alternate, and medians of their ratios are kept:
features to mAP for 3,368 queries and 15,913 pictures of a gallery, as many as Market-1501 has, against torchreid's
Python (its wheel brings no Cython); a training step of DCAL over one of self-attention alone; features/s of a ViT over
timm's of the same weights; one query among 100,000 vectors, and among a million.
"""

import argparse
import importlib.util
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import numpy as np
from rows import keep

QUERIES, GALLERY, CHANNELS = 3368, 15913, 768
PEOPLE, CAMERAS = 750, 6
OWN_PEAK = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"


def cpu_seconds(sides: dict[str, Callable[[], object]], turns: int, first: bool = True) -> dict[str, list[float]]:
    """The CPU time of each side in each turn; `first`: after one turn that does not count."""
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(turns + first):
        for name, side in sides.items():
            began = time.process_time()
            side()
            if turn >= first:
                spent[name].append(time.process_time() - began)
    return spent


def ratio(above: list[float], below: list[float]) -> float:
    """The median over turns."""
    return median(one / other for one, other in zip(above, below, strict=True))


def people(scale: float = 1.0) -> dict[str, Any]:
    """Unit vectors about one of each person, their persons and cameras, for queries and gallery."""
    rng = np.random.default_rng(0)
    centre = rng.standard_normal((PEOPLE, CHANNELS)).astype(np.float32)
    found: dict[str, Any] = {}
    for side, count in (("query", round(scale * QUERIES)), ("gallery", round(scale * GALLERY))):
        who = rng.integers(PEOPLE, size=count)
        x = centre[who] + 4 * rng.standard_normal((count, CHANNELS), np.float32)
        found[side] = x / np.linalg.norm(x, axis=1, keepdims=True)
        found[f"{side}_who"], found[f"{side}_camera"] = who, rng.integers(CAMERAS, size=count)
    return found


def ours_map(x: dict[str, Any]) -> float:
    from attn.core.measures.retrieval import Rules, cosine_distances, evaluate_retrieval

    rules = Rules(apart={"camera": (x["query_camera"], x["gallery_camera"])})
    distances = cosine_distances(x["query"], x["gallery"])
    measured = evaluate_retrieval(distances, x["query_who"], x["gallery_who"], rules)
    return float(measured.summary()["mAP"])


def torchreid_map(rank: ModuleType, x: dict[str, Any]) -> float:
    distance = 1 - x["query"] @ x["gallery"].T
    codes = (x["query_who"], x["gallery_who"], x["query_camera"], x["gallery_camera"])
    return float(rank.evaluate_py(distance, *codes, 50, False)[1])


def torchreid_rank() -> ModuleType | None:
    """Its file of measures alone: the package as a whole wants libraries that this has no need of."""
    package = importlib.util.find_spec("torchreid")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / "reid" / "metrics" / "rank.py"
    spec = importlib.util.spec_from_file_location("torchreid_rank", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no Cython
        spec.loader.exec_module(module)
    return module


def measuring(turns: int, scale: float) -> None:
    rank = torchreid_rank()
    if rank is None:
        print("torchreid is not here: uv run --with torchreid python benchmarks/reid.py", file=sys.stderr)
        return
    x = people(scale)
    sides = {"ours": lambda: ours_map(x), "theirs": lambda: torchreid_map(rank, x)}
    spent = cpu_seconds(sides, turns, first=False)
    found = _own_process(f"reid.ours_map(reid.people({scale}))")
    row("features to mAP, against torchreid's Python", "CPU-s", spent, ratio(spent["theirs"], spent["ours"]), "15")
    peak = {"ours": round(int(found[-1]) / 1024), "theirs": None, "ratio": None, "aim": "400"}
    keep("reid_speed", {"what": "its largest memory, MB", **peak})
    same_map(rank, x)


def same_map(rank: ModuleType, x: dict[str, Any], queries: int = 400) -> None:
    """Both say the same of distances in float64; in float32 some are equal, and only their order tells them apart."""
    some = {name: value[:queries] if name.startswith("query") else value for name, value in x.items()}
    wide = {name: some[name].astype(np.float64) if name in ("query", "gallery") else some[name] for name in some}
    gap = abs(ours_map(wide) - torchreid_map(rank, wide))
    keep(
        "reid_speed",
        {"what": f"difference of mAP, {queries} queries", "ours": gap, "theirs": None, "ratio": None, "aim": "1e-9"},
    )
    assert gap < 1e-9, gap


def training(turns: int) -> None:
    """A step on the maps of 32 images of 288 px with the recipe's partners."""
    import torch

    from attn.apps.reid.model import DCAL
    from attn.apps.reid.start import begin
    from attn.apps.reid.train import Recipe, ReIDModule
    from attn.apps.reid.variants import variant

    recipe, sides = Recipe(batch_size=32), {}
    partners = recipe.batch_size // recipe.share_partner
    maps = torch.randn(recipe.batch_size + partners, 1, 112, 18, 18).half()
    class_b = torch.arange(len(maps)) // recipe.images
    for name, changes, count in (
        ("DCAL", {}, len(maps)),
        ("self-attention", {"local": None, "pairs": False}, recipe.batch_size),
    ):
        model = DCAL(variant("hybrid", classes=100, **changes)).to(memory_format=torch.channels_last)
        begin(model, "lite0")
        module = ReIDModule(model, recipe, 100)
        module.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4)

        def step(module: ReIDModule = module, optimizer: torch.optim.Optimizer = optimizer, count: int = count) -> None:
            optimizer.zero_grad()
            module.training_step((maps[:count], class_b[:count]), 0).backward()
            optimizer.step()

        sides[name] = step
    spent = cpu_seconds(sides, turns)
    times = dict(zip(("ours", "theirs"), spent.values(), strict=True))
    row(
        "a training step of DCAL, over self-attention alone",
        "CPU-s",
        times,
        ratio(times["ours"], times["theirs"]),
        "at most 1.8",
    )


def features(turns: int) -> None:
    """Class tokens of DeiT-Tiny at 224 px, in batches of 16."""
    import timm
    import torch

    from attn.apps.reid.model import DCAL, PIXELS
    from attn.apps.reid.variants import variant

    theirs = timm.create_model("deit_tiny_patch16_224", num_classes=0).eval()
    ours = DCAL(variant("deit_tiny", local=None, pairs=False)).eval()
    ours.begin_from_timm(theirs.state_dict())
    x = torch.rand(16, 3, 224, 224)
    with torch.inference_mode():
        mean, deviation = (torch.tensor(each)[:, None, None] for each in PIXELS["patches"])  # ours does this itself
        sides = {"ours": lambda: ours.embed(x), "theirs": lambda: theirs((x - mean) / deviation)}
        spent = {name: [s / len(x) for s in its] for name, its in cpu_seconds(sides, turns).items()}
    row("features of an image, against timm's DeiT-Tiny", "CPU-s", spent, ratio(spent["theirs"], spent["ours"]), "1.0")


def searching(turns: int, sizes: Sequence[tuple[int, str]] = ((100_000, "0.050"), (1_000_000, ""))) -> None:
    """One query of 384 channels, and what the largest gallery takes in memory beside Python and NumPy."""
    for size, aim in sizes:
        spent = {"ours": [float(seconds) for seconds in _own_process(f"reid.queries({size}, {3 * turns})")[:-1]]}
        row(f"a query among {size:,} x 384", "CPU-s", spent, None, aim)
    peaks = [int(_own_process(f"reid.queries({size}, 1)")[-1]) for size in (1, sizes[-1][0])]
    peak = {"ours": round((peaks[1] - peaks[0]) / 1024), "theirs": None, "ratio": None, "aim": ""}
    keep("reid_speed", {"what": f"memory of {sizes[-1][0]:,} x 384 and a query, MB", **peak})


def queries(size: int, turns: int) -> None:
    """Prints the CPU seconds of each turn."""
    from attn.apps.reid.nearest import nearest

    gallery = np.random.default_rng(0).random((size, 384), np.float32)
    gallery -= 0.5
    gallery /= np.sqrt(np.einsum("gc,gc->g", gallery, gallery))[:, None]
    usable = np.ones(size, bool)
    spent = cpu_seconds({"ours": lambda: nearest(gallery[:1], gallery, min(10, size), usable)}, turns)
    print(*spent["ours"], sep="\n")


def _own_process(call: str) -> list[str]:
    """The lines that `call` prints, and the most memory of its process in kB."""
    command = [sys.executable, "-c", f"import reid; {call}; {OWN_PEAK}"]
    found = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent)
    return found.stdout.split()


def row(what: str, unit: str, spent: dict[str, list[float]], times: float | None, aim: str) -> None:
    theirs = round(median(spent["theirs"]), 4) if "theirs" in spent else None
    keep(
        "reid_speed",
        {
            "what": f"{what}, {unit}",
            "ours": round(median(spent["ours"]), 4),
            "theirs": theirs,
            "ratio": times,
            "aim": aim,
        },
    )


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of the queries and of the gallery to measure on"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    measuring(options.turns, options.scale)
    training(options.turns)
    features(options.turns)
    searching(options.turns)


if __name__ == "__main__":
    main()
