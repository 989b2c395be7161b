"""Values of a DICOM header as plain numbers and text, whatever stands in the file."""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from attn.core.errors import InputError
from attn.data_adapters.dicom.file import sealed


class Header:
    """Looks elements up: first in the functional groups of one frame, then in those of all, then in the data set."""

    def __init__(self, dataset: Dataset, frame: int = 0) -> None:
        self.dataset = dataset
        per_frame = items(dataset, "PerFrameFunctionalGroupsSequence")
        groups = [*per_frame[frame : frame + 1], *items(dataset, "SharedFunctionalGroupsSequence")[:1]]
        self.scopes = [item for group in groups for item in _macros(group)] + [dataset]

    def __contains__(self, keyword: str) -> bool:
        return self.scope(keyword) is not None

    def scope(self, keyword: str) -> Dataset | None:
        """The data set that has this element with a value."""
        return next((scope for scope in self.scopes if _filled(scope, keyword)), None)

    def text(self, keyword: str, at: int = 0) -> str:
        """One value as text, "" when it is absent."""
        values = self.texts(keyword)
        return values[at] if at < len(values) else ""

    def texts(self, keyword: str) -> list[str]:
        """All values as text."""
        scope = self.scope(keyword)
        return [] if scope is None else [str(value).strip() for value in _values(scope, keyword)]

    def numbers(self, keyword: str) -> list[float]:
        """All values as numbers; NaN for one that is no finite number."""
        return [number(text) for text in self.texts(keyword)]

    def number(self, keyword: str) -> float | None:
        """The first value as a number: None when it is absent, NaN when it is no finite number."""
        found = self.numbers(keyword)
        return found[0] if found else None

    def items(self, keyword: str) -> list[Dataset]:
        """The items of a sequence."""
        scope = self.scope(keyword)
        return [] if scope is None else items(scope, keyword)


def number(text: str) -> float:
    """A finite number, else NaN."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) and "_" not in text else math.nan


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence of a data set; none when the element is no sequence."""
    value = _value(dataset, keyword)
    return [item for item in value if isinstance(item, Dataset)] if _is_many(value) else []


def _macros(group: Dataset) -> Iterator[Dataset]:
    names = ("PixelMeasuresSequence", "PixelValueTransformationSequence", "FrameVOILUTSequence")
    for name in names:
        yield from items(group, name)[:1]


def _filled(dataset: Dataset, keyword: str) -> bool:
    value = _value(dataset, keyword)
    return value is not None and (not hasattr(value, "__len__") or len(value) > 0)


def _values(dataset: Dataset, keyword: str) -> list[Any]:
    value = _value(dataset, keyword)
    return list(value) if _is_many(value) else [value]


def _is_many(value: object) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, str | bytes)


@lru_cache(1024)
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


def _value(dataset: Dataset, keyword: str) -> Any:
    """The value of an element; "?" when its bytes are not what its VR says."""
    tag = _tag(keyword)
    if tag not in dataset:
        return None
    try:
        with sealed(keyword, "cannot be converted", warns=False):
            return dataset[tag].value
    except InputError:
        return "?"
