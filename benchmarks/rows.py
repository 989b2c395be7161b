"""Keeps what a benchmark measures in `benchmarks/results`. `docs/make_results.py` makes the tables of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attn.core.files import replacing

RESULTS = Path(__file__).parent / "results"


def keep(name: str, row: Mapping[str, Any], folder: Path = RESULTS) -> None:
    """Print the row, and write it to `folder/NAME.jsonl` in the place of the row whose first value is the same."""
    line = json.dumps(row, ensure_ascii=False)
    print(line, flush=True)
    path, first = folder / f"{name}.jsonl", next(iter(row))
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    places = [number for number, old in enumerate(lines) if json.loads(old)[first] == row[first]]
    lines[slice(*([places[0], places[0] + 1] if places else [len(lines), None]))] = [line]
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text("\n".join([*lines, ""]), encoding="utf-8")
