"""Score JSON rows, one object a line on standard input, with model.onnx and vocabulary.json of this folder.

    echo '{"device": "phone", "price": 3.5}' | python score.py

Prints one JSON object a line: the probability, and the fields whose value the model has not learned; for a line that is
no row, the error. Needs numpy and onnxruntime.
"""

import json
import math
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent
UNKNOWN, MISSING, VALUES = 0, 1, 2


class Scorer:
    """The model and its vocabulary."""

    def __init__(self, folder: Path = HERE) -> None:
        vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        self.fields = vocabulary["fields"]
        for field in self.fields:
            field["rows"] = {value: row for row, value in enumerate(field.get("values", ()), field["first"] + VALUES)}
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        self.inputs = {each.name: each.shape[1] for each in self.session.get_inputs()}

    def score(self, rows: list[dict[str, Any]]) -> tuple[list[float], list[list[str]]]:
        """Probabilities of rows (mappings from columns to values), and the unknown fields of each."""
        ids = np.zeros((len(rows), self.inputs.get("ids", 0)), np.int64)
        numbers = np.zeros((len(rows), self.inputs.get("numbers", 0)), np.float32)
        unknown: list[list[str]] = [[] for _ in rows]
        for number, row in enumerate(rows):
            for field in self.fields:
                cell = row[field["column"]]
                if field["kind"] == "number":
                    numbers[number, field["place"]] = scaled(field, cell)
                    continue
                found = encoded(field, cell)
                ids[number, field["place"] : field["place"] + len(found)] = found
                if field["first"] + UNKNOWN in found:
                    unknown[number].append(field["name"])
        given = {"ids": ids, "numbers": numbers}
        (p,) = self.session.run(None, {name: given[name] for name in self.inputs})
        return p.tolist(), unknown


def encoded(field: dict[str, Any], cell: Any) -> list[int]:
    """The ids of a cell."""
    text = time_part(field, cell) if field["kind"] == "time" else as_text(field, cell)
    if text is None:
        return [field["first"] + MISSING]
    if field["kind"] != "multi":
        return [field["rows"].get(text, field["first"] + UNKNOWN)]
    parts = dict.fromkeys(part.strip() for part in text.split(field["separator"]))
    known = [field["rows"].get(part, field["first"] + UNKNOWN) for part in parts if part]
    return known[: field["width"]] or [field["first"] + MISSING]


def as_text(field: dict[str, Any], cell: Any) -> str | None:
    """A value as the table it was learned from would have it."""
    if cell is None or cell == "":
        return None
    if isinstance(cell, list):
        return field.get("separator", "|").join(map(str, cell)) or None
    if isinstance(cell, bool):
        return str(int(cell))
    if isinstance(cell, float):
        return None if math.isnan(cell) else str(int(cell)) if cell.is_integer() else str(cell)
    return str(cell)


def time_part(field: dict[str, Any], cell: Any) -> str | None:
    """Hour, or weekday from 1 for Monday."""
    try:
        text = str(cell)
        time = datetime.strptime(text, field["format"]) if field["format"] else datetime.fromisoformat(text)
    except ValueError:
        return None
    return str(time.hour if field["part"] == "hour" else time.isoweekday())


def scaled(field: dict[str, Any], cell: Any) -> float:
    """A number as the model takes it."""
    try:
        x = float(cell)
    except (TypeError, ValueError):
        return math.nan
    if math.isinf(x):
        x = float(min(max(x, field["low"]), field["high"]))
    if math.isnan(x):
        return x
    if field["transform"] == "quantile":
        return float(np.interp(x, field["knots"], np.arange(len(field["knots"]))))
    if field["transform"] == "log2":
        return math.log(x) ** 2 if x > 2 else x
    return float((x - field["mean"]) / field["deviation"])


def main() -> None:
    """Read, score, print."""
    scorer, failed = Scorer(), False
    for line in sys.stdin:
        try:
            (p,), (unknown,) = scorer.score([json.loads(line)])
            answer = {"probability": p, "unknown": unknown}
        except (ValueError, TypeError) as error:
            answer, failed = {"error": f"not a JSON object: {error}"}, True
        except KeyError as error:
            answer, failed = {"error": f"the row has no {error.args[0]!r}"}, True
        print(json.dumps(answer), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
