"""What the commands say, and to whom: tables and bars for people, plain lines for programs.

On a terminal, tables are drawn and bars move. Elsewhere tables are tab-separated with a header line, and there are no
bars. `--json` prints JSON: one object per line for a stream of results, so that a program reads the first before the
last is computed; one indented value for everything else. Results go to standard output; bars and errors to standard
error.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from attn.cells import as_text, cell, jsonable, printable, shortened
from attn.core.errors import AttnError, UsageError
from attn.core.files import legible

if TYPE_CHECKING:
    from polars import DataFrame
    from rich.console import Console

    from attn.core.results.partial import PartialTable
    from attn.core.results.prediction import Prediction

T = TypeVar("T")

OUTPUT = "standard output"
ID_WIDTH = 40
LIKELIEST = 3
MOST_WAITING = 1000  # failed rows at the beginning of a stream


def show_predictions(predictions: Iterable["Prediction"], labels: Sequence[str], *, as_json: bool = False) -> int:
    """Print each prediction as it comes, in constant memory, and return how many failed.

    On a terminal: id, label, the likeliest classes, flags, and for a failed input the reason. Elsewhere: the
    columns of a `--out` table, tab-separated. As JSON: one object per line with the same columns, and the
    list `embedding` if there is one.
    """
    tabbed = None if as_json or sys.stdout.isatty() else _TabbedRows()
    show = _json_line if as_json else _drawn_line
    failed = 0
    for number, prediction in enumerate(predictions):
        if tabbed is not None:
            tabbed.add(prediction.row(labels), failed=prediction.error is not None)
        else:
            show(prediction, labels, number == 0)
        failed += prediction.error is not None
    if tabbed is not None:
        tabbed.end()
    return failed


def give_predictions(
    predictions: Iterable["Prediction"],
    labels: Sequence[str],
    out: Path | None,
    *,
    as_json: bool = False,
    partial: "PartialTable | None" = None,
    resume: bool = False,
) -> int:
    """Write the predictions to the table `out` if there is one, else show them; returns how many failed.

    With `partial` an interruption keeps the rows so far; `resume` begins with those that one has kept.
    """
    if out is None:
        return show_predictions(predictions, labels, as_json=as_json)
    from attn.core.results.tables import ResultWriter

    table = ResultWriter(out, labels, partial)
    try:
        with table:
            failed = table.resume() if resume else 0
            for prediction in predictions:
                table.write(prediction)
                failed += prediction.error is not None
    except KeyboardInterrupt as stop:
        if partial is None or not table.rows:
            raise
        kept = f"interrupted; {table.rows:,} rows are kept, and the same command with --resume goes on from them"
        raise KeyboardInterrupt(kept) from stop
    show_written(out, table.rows, failed=failed, as_json=as_json)
    return failed


def show_table(rows: Sequence[Mapping[str, object]], *, title: str | None = None, as_json: bool = False) -> None:
    """Print rows with the columns of the first one: drawn, tab-separated or, as JSON, a list of objects."""
    if as_json:
        print_json(rows)
    elif not rows:
        return
    elif sys.stdout.isatty():
        from rich.table import Table
        from rich.text import Text

        table = Table(*rows[0], title=title, title_justify="left")
        for row in rows:
            table.add_row(*(Text(cell(row.get(column))) for column in rows[0]))
        _terminal().print(table)
    else:
        show_line("\t".join(rows[0]))
        for row in rows:
            show_line("\t".join(cell(row.get(column)) for column in rows[0]), flush=True)


def show_answer(answer: Mapping[str, object], *, as_json: bool = False) -> None:
    """Print one thing that was done or found: a table of one row or, as JSON, an object."""
    if as_json:
        print_json(answer)
    else:
        show_table([answer])


def show_written(path: Path, rows: int, *, failed: int = 0, as_json: bool = False) -> None:
    """Say that a table was written instead of shown."""
    if as_json:
        print_json({"written": path, "rows": rows, "failed": failed})
    else:
        say(f"{rows:,} rows written to {path}")


def show_rows(
    rows: Sequence[Mapping[str, object]], out: Path | None, *, title: str | None = None, as_json: bool = False
) -> None:
    """Write the rows to the table `out` if there is one, else print them; exit code 1 if a row has an `error`."""
    failed = sum(row.get("error") is not None for row in rows)
    if out is None:
        show_table(rows, title=title, as_json=as_json)
    else:
        from attn.core.results.tables import TableWriter

        with TableWriter(out) as table:
            table.write(rows)
        show_written(out, len(rows), failed=failed, as_json=as_json)
    end(failed)


def write_report(folder: Path, report: dict[str, Any], *pictures: Path) -> None:
    """Write `report` to report.json in a folder of attn's, and note under `written` that and the pictures."""
    from attn.core.files import replacing

    path = folder / "report.json"
    report["written"] = [*pictures, path]
    with replacing(path) as part:
        part.write_text(as_text(report) + "\n", encoding="utf-8")


class FrameStream:
    """Prints the frames of a stream as they come: rows tab-separated below their names, or a JSON object per line."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._named = False

    def show(self, frame: "DataFrame") -> None:
        """Print the rows of the next frame."""
        if self.as_json:
            for row in frame.iter_rows(named=True):
                _print_line(row)
            return
        if not self._named:
            show_line("\t".join(map(printable, frame.columns)))
        self._named = True
        for cells in frame.iter_rows():
            show_line("\t".join(map(cell, cells)))


def each(
    paths: Iterable[Path], act: Callable[[Path, str], Mapping[str, object]], columns: Sequence[str], *, label: str
) -> list[dict[str, object]]:
    """Do the same to many files: a row for each file.

    `act` takes a path and a name for what it writes, which differs for files of the same name in several folders. It
    gives cells of `columns`. A row has `id`, the columns, and `error`: the reason if the file failed. A UsageError is
    the fault of the options and not of a file, and ends everything. `label` is shown beside the progress bar.
    """
    rows: list[dict[str, object]] = []
    names: set[str] = set()
    paths = list(paths)
    with progress(len(paths), label) as advance:
        for path in paths:
            own = legible(path.name)  # what draws a name wants UTF-8
            name, number = own, 1
            while name in names:
                number += 1
                name = f"{own}.{number}"
            names.add(name)
            row: dict[str, object] = {"id": legible(str(path)), **dict.fromkeys(columns), "error": None}
            try:
                row |= act(path, name)
            except UsageError:
                raise
            except AttnError as error:
                row["error"] = legible(str(error))
            rows.append(row)
            advance()
    return rows


def end(failed: int) -> None:
    """Leave the command with exit code 1 if inputs failed."""
    if failed:
        say(f"{failed:,} of the inputs failed; the column `error` has the reasons")
        raise typer.Exit(1)


def print_json(value: object) -> None:
    """Print one value as indented JSON. Arrays become lists, paths text, and what is not finite null."""
    show_line(as_text(value))


@contextmanager
def progress(total: int | None, label: str) -> Iterator[Callable[[], None]]:
    """A bar on standard error that vanishes at the end; call the function that it gives once per item.

    Nothing is drawn when standard error is not a terminal, or when standard output is one and shows the
    results themselves.
    """
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(label, total=total)
        yield lambda: bar.advance(task)


def counted(items: Iterable[T], advance: Callable[[], None]) -> Iterator[T]:
    """The same items; the bar advances with each."""
    for item in items:
        yield item
        advance()


def say(sentence: str) -> None:
    """One line for the person at the terminal, on standard error so that results stay clean.

    Of the processes of a training on several devices only the first speaks.
    """
    if os.environ.get("LOCAL_RANK", "0") in ("", "0"):
        _say(sentence)


def show_line(line: str, *, flush: bool = False) -> None:
    """A line of results. The error of an output that cannot take it names the output."""
    try:
        print(line, flush=flush)
    except OSError as error:
        error.filename = OUTPUT
        raise


def fault(sentence: str) -> None:
    """One line that begins with "error: ". Every process of a training says its own."""
    _say(f"error: {sentence}")


def _say(sentence: str) -> None:
    with suppress(OSError, ValueError):  # a standard error that is closed or full cannot show the message
        print(printable(sentence), file=sys.stderr, flush=True)


def _json_line(prediction: "Prediction", labels: Sequence[str], first: bool) -> None:
    row: dict[str, Any] = dict(prediction.row(labels))
    if prediction.embedding is not None:
        row["embedding"] = prediction.embedding
    _print_line(row)


def _print_line(value: object) -> None:
    show_line(json.dumps(jsonable(value), ensure_ascii=False, allow_nan=False), flush=True)


class _TabbedRows:
    """Tab-separated rows below their names. Failed rows lack the extra columns and wait for a row that has them."""

    def __init__(self) -> None:
        self._columns: list[str] | None = None
        self._waiting: list[Mapping[str, object]] = []

    def add(self, row: Mapping[str, object], *, failed: bool) -> None:
        """Print the next row, or keep it while no row but failed ones has come."""
        self._waiting.append(row)
        if self._columns is not None or not failed or len(self._waiting) == MOST_WAITING:
            self.end()

    def end(self) -> None:
        """Print what waits."""
        if self._columns is None and self._waiting:
            self._columns = list(dict.fromkeys(name for row in self._waiting for name in row))
            show_line("\t".join(map(printable, self._columns)))
        for row in self._waiting:
            show_line("\t".join(cell(row.get(name)) for name in self._columns or ()), flush=True)
        self._waiting.clear()


def _drawn_line(prediction: "Prediction", labels: Sequence[str], first: bool) -> None:
    from rich.text import Text

    width = max([5, *map(len, labels)])
    if first:
        header = f"{'id':<{ID_WIDTH}}  {'label':<{width}}  probabilities"
        _terminal().print(Text(header, style="bold"))
    line = Text(f"{shortened(printable(prediction.id), ID_WIDTH):<{ID_WIDTH}}  ")
    if prediction.error is not None:
        line.append(printable(prediction.error), style="red")
    elif prediction.label is None:  # the answer is a number
        line.append("  ".join(f"{printable(name)} {cell(value)}" for name, value in prediction.values.items()))
    else:
        line.append(f"{printable(prediction.label):<{width}}  ", style="bold")
        ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])[:LIKELIEST]
        line.append("  ".join(f"{printable(name)} {p:.2f}" for name, p in ranked))
    if prediction.flags:
        line.append(f"  {printable(';'.join(prediction.flags))}", style="yellow")
    _terminal().print(line)


def _terminal() -> "Console":
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)
