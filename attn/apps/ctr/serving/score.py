"""Score JSON rows, one object a line on standard input, with model.onnx and vocabulary.json of this folder.

    echo '{"device": "phone", "price": 3.5}' | python score.py

Prints one JSON object a line: the probability, and the fields whose value the model has not learned; for a line that is
no row, the error. Needs numpy and onnxruntime.
"""

import json
import math
import re
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
UNKNOWN, MISSING, VALUES = 0, 1, 2

# How cells are read: the same rules as in attn.data_adapters.tables.cells, which says more about them.
MISSING_TEXTS = frozenset(
    ("", "#N/A", "<NA>", "N/A", "n/a", "NA", "NULL", "Null", "null", "NaN", "NAN", "nan", "-nan", "None", "NaT", r"\N")
)
TRUTH = {"True": "1", "true": "1", "TRUE": "1", "False": "0", "false": "0", "FALSE": "0"}
WHOLE = re.compile(r"([+-]?[0-9]+)\.0+")
CLOCK = r"([01][0-9]|2[0-3])(?::[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]+)?)?)?"
ZONE = r"(?: ?(?:Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?))?"
YEAR_FIRST = re.compile(rf"([0-9]{{4}})[-/]([0-9]{{2}})[-/]([0-9]{{2}})(?:[ T]{CLOCK}{ZONE})?")
DAY_FIRST = re.compile(rf"([0-9]{{2}})[-/]([0-9]{{2}})[-/]([0-9]{{4}})(?:[ T]{CLOCK}{ZONE})?")
HOUR_ALONE = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]+)?)?")
EPOCH, SHORT_EPOCH = re.compile(r"(-?[0-9]{9,19})(?:\.[0-9]*)?"), re.compile(r"(-?[0-9]{1,19})(?:\.[0-9]*)?")
BESIDE = re.compile(r"[\s\u00a0\u202f$€£¥₹%']")
POINT = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
COMMA = re.compile(r"[+-]?[0-9]{1,3}(?:\.[0-9]{3})+(?:,[0-9]+)?|[+-]?[0-9]*,[0-9]+")
LARGEST = float(np.finfo(np.float32).max)


class Scorer:
    """The model and its vocabulary."""

    def __init__(self, folder: Path = HERE) -> None:
        import onnxruntime

        vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        self.learn(vocabulary["fields"])
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        self.inputs = {each.name: each.shape[1] for each in self.session.get_inputs()}

    def learn(self, fields: list[dict[str, Any]]) -> None:
        """Index the values of the fields."""
        self.fields = fields
        for field in fields:
            field["rows"] = {value: row for row, value in enumerate(field.get("values", ()), field["first"] + VALUES)}
            alike: dict[str | None, int] = {}
            for value, row in field["rows"].items():
                if (other := canonical(value, field)) != value:
                    alike.setdefault(other, row)
            field["alike"] = alike

    def score(self, rows: list[dict[str, Any]]) -> tuple[list[float], list[list[str]]]:
        """Probabilities of rows (mappings from columns to values), and the unknown fields of each."""
        ids = np.zeros((len(rows), self.inputs.get("ids", 0)), np.int64)
        numbers = np.zeros((len(rows), self.inputs.get("numbers", 0)), np.float32)
        unknown: list[list[str]] = [[] for _ in rows]
        for number, row in enumerate(rows):
            for field in self.fields:
                found, x, unread = read(field, row[field["column"]])
                if field["kind"] == "number":
                    numbers[number, field["place"]] = x
                else:
                    ids[number, field["place"] : field["place"] + len(found)] = found
                if unread:
                    unknown[number].append(field["name"])
        arrays = {"ids": ids, "numbers": numbers}
        (p,) = self.session.run(None, {name: arrays[name] for name in self.inputs})
        return p.tolist(), unknown


def read(field: Mapping[str, Any], cell: object) -> tuple[list[int], float, bool]:
    """The ids of a cell, or its number as the model takes it; and whether it says something that is not known."""
    text = text_of(cell, field.get("separator", "|"))
    if field["kind"] == "number":
        found, x = [], scaled(field, number_of(cell, field.get("decimal", ".")))
        unread = math.isnan(x)
    else:
        found, x = encoded(field, text), math.nan
        unread = field["kind"] == "time" and found == [field["first"] + MISSING]
    said = unread and text is not None and canonical(text) is not None
    return found, x, said or (field["kind"] != "number" and field["first"] + UNKNOWN in found)


def encoded(field: Mapping[str, Any], text: str | None) -> list[int]:
    """The ids of a cell."""
    if field["kind"] == "time" and text is not None:
        text = time_part(text, field["part"], field["format"])
    if text is None:
        return [field["first"] + MISSING]
    if field["kind"] != "multi":
        return [known(field, text)]
    return [known(field, part) for part in members(field, text)[: field["width"]]] or [field["first"] + MISSING]


def known(field: Mapping[str, Any], text: str) -> int:
    """The row of a text: its own, else that of a text that means the same."""
    if (row := field["rows"].get(text)) is not None:
        return int(row)
    if (alike := canonical(text, field)) is None:
        return int(field["first"] + MISSING)
    row = field["rows"].get(alike, field["alike"].get(alike))
    return int(field["first"] + UNKNOWN if row is None else row)


def members(field: Mapping[str, Any], text: str) -> list[str]:
    """The distinct parts of a set."""
    around = field.get("around") or " "
    parts = (part.strip().strip(around) for part in text.split(field.get("whole") or field["separator"]))
    return [part for part in dict.fromkeys(parts) if part]


def text_of(cell: object, separator: str = "|") -> str | None:
    """A cell of any Python type as text; None where it is missing."""
    if cell is None or isinstance(cell, str):
        return cell or None
    if isinstance(cell, np.datetime64):
        return None if np.isnat(cell) else str(cell)
    if isinstance(cell, np.timedelta64):
        return None if np.isnat(cell) else text_of(float(cell / np.timedelta64(1, "s")))
    if isinstance(cell, np.generic | np.ndarray):
        cell = cell.tolist()
    if isinstance(cell, set | frozenset):
        cell = sorted(cell, key=str)
    if isinstance(cell, list | tuple):
        return separator.join(text for part in cell if (text := text_of(part)) is not None) or None
    if isinstance(cell, bool):
        return str(int(cell))
    if isinstance(cell, timedelta):
        return None if str(cell) == "NaT" else text_of(cell.total_seconds())
    if isinstance(cell, Decimal):
        cell = float(cell)
    if isinstance(cell, float):
        return None if math.isnan(cell) else _text_of_float(cell)
    if isinstance(cell, bytes):
        return cell.decode(errors="replace") or None
    return None if type(cell).__name__ in ("NAType", "NaTType") else str(cell)


def _text_of_float(x: float) -> str:
    """As polars writes it, and whole numbers without a point."""
    if abs(x) < 2.0**53 and x.is_integer():
        return str(int(x))
    return np.format_float_positional(x, trim="0") if 1e-5 <= abs(x) < 1e-4 else re.sub(r"e-0", "e-", str(x))


def canonical(text: str, field: Mapping[str, Any] | None = None) -> str | None:
    """The one text that stands for all that mean the same, None for a missing value."""
    text = text.strip()
    if (whole := WHOLE.fullmatch(text)) is not None:
        text = whole[1]
    text = TRUTH.get(text, text)
    if text in MISSING_TEXTS:
        return None
    if field is not None and field.get("whole"):
        return field["whole"].join(sorted(members(field, text))) or None
    return text


def number_of(cell: object, decimal: str = ".") -> float:
    """A cell as a number, NaN if it is none."""
    if isinstance(cell, str):
        x = _number_of_text(cell, decimal)
    else:
        text = text_of(cell)
        x = math.nan if text is None else _number_of_text(text, ".")
    return x if not math.isfinite(x) else min(max(x, -LARGEST), LARGEST)


def _number_of_text(text: str, decimal: str) -> float:
    if decimal == "." and not math.isnan(x := _float(text)):
        return x
    bare = BESIDE.sub("", text)
    ways = [(POINT, bare.replace(",", "")), (COMMA, bare.replace(".", "").replace(",", "."))]
    for pattern, read_so in ways if decimal == "." else ways[::-1]:
        if pattern.fullmatch(bare):
            return _float(read_so)
    return _float(bare)


def _float(text: str) -> float:
    try:
        return math.nan if "_" in text or not text.isascii() or text != text.strip() else float(text)
    except ValueError:
        return math.nan


def time_part(text: str, part: str, format: str | None) -> str | None:
    """Hour, or weekday from 1 for Monday, of a time as text; None if it is none."""
    text = canonical(text) or ""
    if format is not None and format != "%s":
        try:
            moment = datetime.strptime(text, format)
        except ValueError:
            pass
        else:
            moment = moment if moment.tzinfo is None else moment.astimezone(UTC)
            return str(moment.hour if part == "hour" else moment.isoweekday())
    for pattern, order in ((YEAR_FIRST, (1, 2, 3)), (DAY_FIRST, (3, 2, 1))):
        if (found := pattern.fullmatch(text)) is None:
            continue
        try:
            day = date(*(int(found[group]) for group in order))
        except ValueError:
            continue
        return str(int(found[4] or 0) if part == "hour" else day.isoweekday())
    if part == "hour" and (found := HOUR_ALONE.fullmatch(text)) is not None:
        return str(int(found[1]))
    if (found := (SHORT_EPOCH if format == "%s" else EPOCH).fullmatch(text)) is None:
        return None
    seconds = since = int(found[1])
    for digits in (11, 14, 17):  # milliseconds, microseconds, nanoseconds
        if abs(since) >= 10**digits:
            seconds = since // 10 ** (digits - 8)
    return str(seconds // 3600 % 24 if part == "hour" else (seconds // 86_400 + 3) % 7 + 1)


def scaled(field: Mapping[str, Any], x: float) -> float:
    """A number as the model takes it."""
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
