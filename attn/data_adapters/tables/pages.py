"""What the pages of a Parquet file declare, checked before polars decodes them.

polars takes memory for as many values as a page header says, and Rust ends the process when it does not get it: a few
wrong bytes would take the caller's process with them. Headers are in Thrift's compact protocol
(https://github.com/apache/parquet-format, parquet.thrift); fields are named here by their numbers there.
"""

import mmap
import struct
from pathlib import Path
from typing import Any

from attn.core.errors import InputError

MAGIC = b"PAR1"
MAX_VALUES = 1 << 27  # of a column in one row group
MAX_PAGE = 1 << 30  # bytes of a page, unpacked
MAX_DEPTH = 40

_ROW_GROUPS, _COLUMNS, _ROWS, _META_DATA = 4, 1, 3, 3  # of FileMetaData, RowGroup, RowGroup, ColumnChunk
_VALUES, _PACKED, _DATA_AT, _DICTIONARY_AT = 5, 7, 9, 11  # of ColumnMetaData
_TYPE, _PAGE_SIZE, _PAGE_PACKED, _DATA, _DICTIONARY, _DATA_V2 = 1, 2, 3, 5, 7, 8  # of PageHeader
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12


def check_pages(path: Path) -> None:
    """InputError when a header of the Parquet file `path` declares what cannot be, or more than is read at once."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if len(data) < 12 or data[:4] != MAGIC or data[-4:] != MAGIC:
            raise InputError("is not a table: it does not begin and end as Parquet files do", where=path)
        footer = int.from_bytes(data[-8:-4], "little")
        if footer > len(data) - 12:
            raise InputError("is damaged: its table of contents does not fit into it", where=path)
        try:
            table = _Reader(data, len(data) - 8 - footer, len(data) - 8).structure()
            for number, group in enumerate(table.get(_ROW_GROUPS, [])):
                if not 0 <= group[_ROWS] <= MAX_VALUES:
                    raise ValueError(f"row group {number} has {group[_ROWS]:,} rows")
                for chunk in group[_COLUMNS]:
                    _check_chunk(data, chunk[_META_DATA], len(data) - 8 - footer)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, struct.error) as error:
            raise InputError(f"is damaged: its pages cannot be read ({error})", where=path) from error


def _check_chunk(data: mmap.mmap, column: dict[int, Any], end: int) -> None:
    """Go through the pages of one column in one row group; ValueError for one that cannot be."""
    left = column[_VALUES]
    if not 0 <= left <= MAX_VALUES:
        raise ValueError(f"a column has {left:,} values in a row group")
    starts = [column[key] for key in (_DICTIONARY_AT, _DATA_AT) if column.get(key)]
    at = min(starts)
    end = min(end, at + column[_PACKED])
    while left and at < end:
        reader = _Reader(data, at, end)
        header = reader.structure()
        at = reader.at + header[_PAGE_PACKED]
        if not (header[_PAGE_PACKED] >= 0 and at <= end and 0 <= header[_PAGE_SIZE] <= MAX_PAGE):
            raise ValueError(f"a page of {header[_PAGE_SIZE]:,} bytes is {header[_PAGE_PACKED]:,} in the file")
        page = header.get(_DATA) or header.get(_DATA_V2)
        values = (page or header.get(_DICTIONARY) or {}).get(1, 0)
        if not 0 <= values <= (left if page else MAX_VALUES):
            raise ValueError(f"a page has {values:,} of {left:,} values")
        left -= values if page else 0


class _Reader:
    """Values in Thrift's compact protocol between the bytes `at` and `end`; a structure is a dict by field number."""

    def __init__(self, data: mmap.mmap, at: int, end: int) -> None:
        self.data, self.at, self.end = data, at, end
        if not 0 <= at <= end <= len(data):
            raise ValueError(f"byte {at:,} is outside the file")

    def structure(self, depth: int = 0) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        field = 0
        while (head := self._byte()) != 0:
            field = field + (head >> 4) if head >> 4 else self._zigzag()
            fields[field] = self._value(head & 0xF, depth, in_list=False)
        return fields

    def _value(self, kind: int, depth: int, *, in_list: bool) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError("structures are nested too deep")
        if kind in (_TRUE, _FALSE):
            return self._byte() == 1 if in_list else kind == _TRUE
        if _BYTE < kind < _DOUBLE:
            return self._zigzag()
        if kind in (_BYTE, _DOUBLE):
            return self._skip(1 if kind == _BYTE else 8)
        if kind == _BINARY:
            return self._skip(self._varint())
        if kind in (_LIST, _SET):
            head = self._byte()
            count = head >> 4 if head >> 4 != 15 else self._varint()
            return [self._value(head & 0xF, depth + 1, in_list=True) for _ in range(self._checked(count))]
        if kind == _MAP and (count := self._varint()):
            head = self._byte()
            for _ in range(self._checked(count)):
                self._value(head >> 4, depth + 1, in_list=True)
                self._value(head & 0xF, depth + 1, in_list=True)
            return None
        if kind == _STRUCT:
            return self.structure(depth + 1)
        if kind == _MAP:
            return None
        raise ValueError(f"there is no type {kind}")

    def _byte(self) -> int:
        if self.at >= self.end:
            raise ValueError("a header is cut off")
        self.at += 1
        return self.data[self.at - 1]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("a number has more than 64 bits")

    def _zigzag(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def _skip(self, size: int) -> None:
        if size > self.end - self.at:
            raise ValueError("a header is cut off")
        self.at += size

    def _checked(self, count: int) -> int:
        if count > self.end - self.at:
            raise ValueError(f"a list has {count:,} entries")
        return count
