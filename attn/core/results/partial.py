"""The rows of a prediction that was interrupted, kept beside the table that it was to write.

They lie in the hidden file `.NAME.partial.parquet`, whatever the format of the table, with the settings they were
computed with. The table itself appears whole or not at all.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from attn.core.errors import InputError, UsageError
from attn.core.files import legible, replacing

T = TypeVar("T")

_SETTINGS = "attn"  # key of the file's metadata
_ROWS_AT_ONCE = 1024


class PartialTable:
    """What an interruption left of the table `out`, if anything.

    `settings` are JSON values by option: all on which the rows depend, besides the inputs.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.path = out.with_name(f".{out.name}.partial.parquet")
        self.settings = dict(settings)

    def ids(self) -> list[str]:
        """The id of each row that is done; none without a file.

        Raises UsageError when the run that was interrupted had other settings, InputError when the file is damaged.
        """
        if not self.path.exists():
            return []
        try:
            before = json.loads(pl.read_parquet_metadata(self.path)[_SETTINGS])
            ids: list[str] = pl.scan_parquet(self.path).select("id").collect()["id"].to_list()
        except (pl.exceptions.PolarsError, OSError, ValueError, KeyError) as error:
            hint = "remove it, and run without --resume"
            raise InputError("the rows that an interruption left are damaged", where=self.path, hint=hint) from error
        if other := sorted(key for key in before.keys() | self.settings if before.get(key) != self.settings.get(key)):
            raise UsageError(
                f"the interrupted run had another {', '.join(f'--{key}' for key in other)}",
                where=self.path,
                hint="repeat it with the same options, or run without --resume",
            )
        return ids

    def frames(self) -> Iterator[pl.DataFrame]:
        """The rows, some at a time."""
        rows = pl.scan_parquet(self.path)
        for first in range(0, rows.select(pl.len()).collect().item(), _ROWS_AT_ONCE):
            yield rows.slice(first, _ROWS_AT_ONCE).collect()

    def keep(self, rows: pl.LazyFrame) -> None:
        """Keep `rows` in place of those of an earlier interruption."""
        with replacing(self.path) as part:
            rows.sink_parquet(part, metadata={_SETTINGS: json.dumps(self.settings)})

    def remove(self) -> None:
        """Remove the file, if there is one."""
        self.path.unlink(missing_ok=True)


def not_among(ids: Iterable[str], xs: Iterable[T], name: Callable[[T], str]) -> Iterator[T]:
    """The `xs` whose names are not among `ids`; an id that is there twice stands for two of them."""
    done = Counter(ids)
    for x in xs:
        id = legible(name(x))
        if done[id] > 0:
            done[id] -= 1
        else:
            yield x
