"""Score JSON rows, one object a line on standard input, with model.onnx and vocabulary.json of this folder.

    echo '{"device": "phone", "price": 3.5}' | python score.py

Prints one JSON object a line: the probability, the fields whose value the model has not learned, and those that the row
does not have; for a line that is no row, the error. Needs numpy and onnxruntime. `Encoder` is also what attn itself
reads rows with.

Shapes: N rows, C columns of ids, M numbers.
"""

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

HERE = Path(__file__).resolve().parent
UNKNOWN, MISSING, VALUES = 0, 1, 2
LONGEST = 1 << 20  # bytes of a line
REMEMBERED = 1 << 16  # cells of a field whose ids are kept; cells come again

# How cells are read: the same rules as in attn.data_adapters.tables.cells, which says more about them.
MISSING_TEXTS = frozenset(
    (
        *("", "#N/A", "<NA>", "N/A", "n/a", "NA", "NULL", "Null", "null", "NaN", "NAN", "nan", "-nan", "None", "NaT"),
        *(r"\N", "-", "?"),
    )
)
TRUTH = {"True": "1", "true": "1", "TRUE": "1", "False": "0", "false": "0", "FALSE": "0"}
WHOLE = re.compile(r"([+-]?[0-9]+)\.0+")
CLOCK = r"([01][0-9]|2[0-3])(?::[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]+)?)?)?"
ZONE = r"(?: ?(?:Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?))?"
YEAR_FIRST = re.compile(rf"([0-9]{{4}})[-/]([0-9]{{2}})[-/]([0-9]{{2}})(?:[ T]{CLOCK}{ZONE})?")
DAY_FIRST = re.compile(rf"([0-9]{{2}})[-/]([0-9]{{2}})[-/]([0-9]{{4}})(?:[ T]{CLOCK}{ZONE})?")
HOUR_ALONE = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]+)?)?")
EPOCH, SHORT_EPOCH = re.compile(r"(-?[0-9]{9,19})(?:\.[0-9]*)?"), re.compile(r"(-?[0-9]{1,19})(?:\.[0-9]*)?")
BESIDE = re.compile(r"^\s+|\s+$|[$€£¥₹%']\s*")
SPACED = re.compile(r"[+-]?[0-9]{1,3}(?:\s[0-9]{3})+(?:[.,][0-9]+)?\s*")
POINT = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
COMMA = re.compile(r"[+-]?[0-9]{1,3}(?:\.[0-9]{3})+(?:,[0-9]+)?|[+-]?[0-9]*,[0-9]+")
DIGITS = 38  # of the decimals that tables have
LARGEST = float(np.finfo(np.float32).max)


class Encoder:
    """Rows, which are mappings from columns to cells, as what the model takes. The fields are those of vocabulary.json.

    A column that a row lacks is as an empty cell.
    """

    def __init__(self, fields: Sequence[dict[str, Any]]) -> None:
        self.fields = fields
        self.columns = dict.fromkeys(field["column"] for field in fields)
        self.ids = sum(field["width"] for field in fields if field["kind"] != "number")
        self.numbers = sum(field["kind"] == "number" for field in fields)
        for field in fields:
            field["rows"] = {value: row for row, value in enumerate(field.get("values", ()), field["first"] + VALUES)}
            alike: dict[str | None, int] = {}
            for value, row in field["rows"].items():
                if (other := canonical(value, field)) != value:
                    alike.setdefault(other, row)
            field["alike"], field["seen"] = alike, {}

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Ids (N, C) int64, numbers (N, M) float32, and by field whether a cell says what is not known (N)."""
        return self.together({}, rows)

    def together(
        self, user: Mapping[str, Any], items: Sequence[Mapping[str, Any]]
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """The same of one user's row with each item; the columns of `user` are read once, also if an item has them."""
        ids, numbers = np.zeros((len(items), self.ids), np.int64), np.zeros((len(items), self.numbers), np.float32)
        unknown = {}
        for field in self.fields:
            cells = [row.get(field["column"]) for row in ([user] if field["column"] in user else items)]
            found, unread = self._read(field, cells)
            unknown[field["name"]] = np.broadcast_to(unread, len(items))
            if field["kind"] == "number":
                numbers[:, field["place"]] = found
            else:
                ids[:, field["place"] : field["place"] + field["width"]] = found
        return ids, numbers, unknown

    def missing(self, row: Mapping[str, Any]) -> list[str]:
        """The columns that a row does not have. Raises ValueError when it has none at all."""
        gone = [column for column in self.columns if column not in row]
        if len(gone) == len(self.columns):
            raise ValueError(f"the row has none of the columns {', '.join(gone[:20])}")
        return gone

    def _read(self, field: Mapping[str, Any], cells: Sequence[Any]) -> tuple[list[Any], list[bool]]:
        seen = field["seen"]
        if len(seen) > REMEMBERED:
            seen.clear()
        found = []
        for cell in cells:
            key = cell if type(cell) is str else (type(cell), text_of(cell, field.get("separator", "|")))
            if key not in seen:
                seen[key] = read(field, cell)
            found.append(seen[key])
        return [each[0] for each in found], [each[1] for each in found]


class Scorer:
    """The exported model and its vocabulary."""

    def __init__(self, folder: Path = HERE) -> None:
        import onnxruntime

        vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        self.encoder = Encoder(vocabulary["fields"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # of a few hundred rows, threads would wait for one another
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
        self.inputs = [each.name for each in self.session.get_inputs()]

    def score(self, rows: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[list[str]]]:
        """Probabilities (N) of rows, and the unknown fields of each."""
        ids, numbers, unknown = self.encoder(rows)
        given = {"ids": ids, "numbers": numbers}
        (p,) = self.session.run(None, {name: given[name] for name in self.inputs})
        return p.tolist(), [[name for name, row_n in unknown.items() if row_n[number]] for number in range(len(rows))]

    def answer(self, line: bytes) -> dict[str, Any]:
        """What is printed for one line of input."""
        try:
            row = json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            return {"error": f"not a JSON object: {str(error)[:200]}"}
        if not isinstance(row, dict):
            return {"error": "not a JSON object"}
        try:
            gone = self.encoder.missing(row)
            (p,), (unknown,) = self.score([row])
        except (ValueError, RecursionError) as error:
            return {"error": str(error)[:200]}
        if not math.isfinite(p):
            return {"error": "the model gives no probability for these numbers"}
        return {"probability": p, "unknown": unknown, "missing": gone}


def read(field: Mapping[str, Any], cell: object) -> tuple[list[int] | float, bool]:
    """The ids of a cell, as many as the field is wide, or its number; and whether it says what is not known."""
    text = text_of(cell, field.get("separator", "|"))
    if field["kind"] == "number":
        x = scaled(field, number_of(cell, field.get("decimal", ".")))
        return min(max(x, -LARGEST), LARGEST), math.isnan(x) and text is not None and canonical(text) is not None
    ids = encoded(field, text)
    unread = field["first"] + UNKNOWN in ids
    if field["kind"] == "time" and ids == [field["first"] + MISSING]:
        unread = text is not None and canonical(text) is not None
    return ids + [0] * (field["width"] - len(ids)), unread


def encoded(field: Mapping[str, Any], text: str | None) -> list[int]:
    """The ids of a cell."""
    if field["kind"] == "time" and text is not None:
        text = time_part(text, field["part"], field["format"])
    if text is None:
        return [field["first"] + MISSING]
    if field["kind"] not in ("multi", "sequence"):
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
    """The distinct parts of a set; all parts of a sequence, from the last to the first."""
    around = field.get("around") or " "
    parts = (part.strip().strip(around) for part in text.split(field.get("whole") or field["separator"]))
    found = [part for part in parts if part]
    return found[::-1] if field["kind"] == "sequence" else list(dict.fromkeys(found))


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
    if isinstance(cell, Decimal) and cell.is_finite() and abs(cell.adjusted()) < DIGITS:
        text = format(cell, "f") if cell else "0"
        return text.rstrip("0").rstrip(".") if "." in text else text
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
    if text in MISSING_TEXTS and (field is None or text not in field.get("keep", ())):
        return None
    if field is not None and field.get("whole"):
        kept = {"keep": field.get("keep", ())}
        return field["whole"].join(sorted({each for x in members(field, text) if (each := canonical(x, kept))})) or None
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
    bare = re.sub(r"\s", "", bare) if SPACED.fullmatch(bare) else bare.strip()
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


def lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a stream; of a longer one than is read, so much that it is known for one."""
    while line := file.readline(LONGEST + 1):
        yield line
        while len(line) > LONGEST and not line.endswith(b"\n"):
            line = file.readline(LONGEST + 1)


def main() -> None:
    """Read, score, print."""
    scorer, failed = Scorer(), False
    for line in lines(sys.stdin.buffer):
        answer = scorer.answer(line) if len(line) <= LONGEST else {"error": f"longer than {LONGEST:,} bytes"}
        failed = failed or "error" in answer
        try:
            print(json.dumps(answer), flush=True)
        except BrokenPipeError:  # nobody reads any more
            sys.stdout = None
            break
    sys.exit(failed)


if __name__ == "__main__":
    main()
