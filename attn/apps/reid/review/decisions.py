"""Who decided what: the log of a gallery. It is only ever added to; taking back is a further entry.

An entry changes the identity of a picture from `old` to `new`. It holds as long as the picture has the identity that it
had when the decision was made: where somebody corrects the table of photographs later, the table is right. So the log
can be applied to a gallery any number of times, and a `confirm` that is killed between the log and the gallery is made
good by the next one, or by the next `index`.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from attn.core.errors import InputError, UsageError
from attn.core.files import replacing
from attn.data_adapters.boundary import boundary

LOG = "decisions.jsonl"
MOST_BYTES = 1 << 28

Text = Annotated[str, Field(max_length=4096)]


class Decision(BaseModel):
    """One line of the log.

    batch: one `confirm`, from 1. who: the person. when: UTC, ISO 8601. picture: its id in the gallery. answer: yes (an
    individual that was known), new (one that was not), no (none of those that were shown; `new` is `old`), or undo.
    rejected: individuals that were shown and that it is not. added: the picture was not in the gallery before this
    batch; with undo, it is not after it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = Field(ge=1)
    who: Text
    when: Text
    picture: Text
    answer: Literal["yes", "new", "no", "undo"]
    old: Text
    new: Text
    rejected: list[Text] = []
    added: bool = False


def read_log(folder: Path) -> list[Decision]:
    """All entries, the oldest first; none where nothing was decided. InputError: not such a log."""
    path = folder / LOG
    if not path.is_file():
        return []
    with boundary(path, "is not a log of decisions"):
        if path.stat().st_size > MOST_BYTES:
            raise InputError("is too large for a log of decisions", where=path)
        lines = path.read_bytes().decode().removesuffix("\n").split("\n")  # names may hold other ends of lines
    found = []
    for number, line in enumerate(lines, 1):
        with boundary(f"{path}, line {number}", "is not a decision", "correct the line or take it out"):
            found.append(Decision.model_validate_json(line))
    return found


def add_to_log(folder: Path, log: Sequence[Decision], more: Iterable[Decision]) -> list[Decision]:
    """The log with these entries behind it, which is written whole or not at all; call it within `writing`."""
    log = [*log, *more]
    with replacing(folder / LOG) as part:
        lines = [json.dumps(each.model_dump(), ensure_ascii=False) for each in log]
        part.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return log


def taken_back(log: Sequence[Decision], who: str, when: str) -> list[Decision]:
    """Entries that take back the last batch that is not taken back yet. UsageError: there is none."""
    open_batches: list[int] = []
    for batch in sorted({each.batch for each in log}):
        if any(each.answer == "undo" for each in log if each.batch == batch):
            open_batches.pop()
        else:
            open_batches.append(batch)
    if not open_batches:
        raise UsageError("there is no decision to take back", hint="leave --undo out")
    last = [each for each in log if each.batch == open_batches[-1]]
    batch = log[-1].batch + 1
    return [
        Decision(batch=batch, who=who, when=when, picture=each.picture, answer="undo", old=each.new, new=each.old,
                 added=each.added)
        for each in reversed(last)
    ]  # fmt: skip


def with_decisions(rows: pl.DataFrame, log: Iterable[Decision]) -> pl.DataFrame:
    """Rows of a gallery whose identities are those that were decided on."""
    of: dict[str, list[Decision]] = defaultdict(list)
    for each in log:
        of[each.picture].append(each)
    identities = []
    for id, identity in rows.select("id", "identity").iter_rows():
        for each in of.get(id, ()):
            identity = each.new if each.old == identity else identity
        identities.append(identity)
    return rows.with_columns(pl.Series("identity", identities, pl.String))
