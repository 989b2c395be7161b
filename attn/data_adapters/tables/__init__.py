"""Tables of any size and format, read front to back in batches: CSV, TSV, Parquet, Arrow, libsvm, and click logs.

`open_table` finds the format; `reading` is the boundary to collect a query of a table in. What columns mean is in
`fields`, cells as numbers in `codes`. `small` reads the small tables of other adapters whole.
"""

from typing import TYPE_CHECKING

from attn.data_adapters.lazy import lazy

if TYPE_CHECKING:
    from attn.data_adapters.tables.open import Table as Table
    from attn.data_adapters.tables.open import open_table as open_table
    from attn.data_adapters.tables.source import reading as reading

__all__ = ["Table", "open_table", "reading"]

__getattr__ = lazy(
    __name__,
    {"Table": "open", "open_table": "open", "reading": "source"},
)
