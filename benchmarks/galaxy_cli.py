"""CPU seconds of whole commands over small FITS files: `attn galaxy predict`, and the exported script without torch.

    uv run python benchmarks/galaxy_cli.py

Each command is a process of its own, start included, on one thread. The commands take turns, over 1,000 drawn cubes of
88 px and over one of them, whose time is that of the start. It keeps the medians over the turns.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from galaxy import write_files
from rows import keep

from attn.apps.galaxy.export import export
from attn.apps.galaxy.predict import GalaxyPredictor

SIDE = 88


def cpu_seconds(command: list[str]) -> float:
    """User and system time of a command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | one_thread)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--files", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder, served = Path(place) / "fits", Path(place) / "served"
        folder.mkdir()
        paths = list(map(str, write_files(folder, options.files, SIDE)))
        export(GalaxyPredictor.load(), served)
        predict = [sys.executable, "-m", "attn.cli", "galaxy", "predict"]
        commands = {
            "attn galaxy predict": [*predict, "--out", str(Path(place) / "rows.csv")],
            "attn galaxy predict --tta": [*predict, "--tta", "--out", str(Path(place) / "rows.csv")],
            "python score.py (ONNX Runtime)": [sys.executable, str(served / "score.py")],
        }
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(options.turns):
            for name, command in commands.items():
                seconds[name].append((cpu_seconds([*command, paths[0]]), cpu_seconds([*command, *paths])))
    for name, turns in seconds.items():
        start, whole = (statistics.median(column) for column in zip(*turns, strict=True))
        row = {"command": name, "files": options.files, "cpu_s": whole, "start_s": start}
        keep("galaxy_cli", row | {"each_ms": 1000 * (whole - start) / (options.files - 1)})


if __name__ == "__main__":
    main()
