"""Tables that are published, by the names of their columns or by what their rows look like.

- Criteo Display Advertising Challenge (2014): tab separated, no header; label, 13 integers, 26 hashed categories. Its
  test file has no label.
- Avazu Click-Through Rate Prediction (2014): CSV; `hour` is YYMMDDHH, `id` names the row. The test file has no `click`.
- MovieLens-1M (Harper and Konstan 2015), as `movielens` joins it.
- Frappe (Baltrunas et al. 2015): application, user and context, with the number of uses `cnt`; with `label` as the CSV
  that benchmarks derive from it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layout:
    """A published table.

    columns: names in file order, with the label (None for a table without labels). multi: multi-valued columns and
    their separator. dates: timestamps and their strptime format. ids: columns that name the row. text: columns that are
    codes even where they look like numbers. cells: what cells match, a regular expression by column, to know a file
    without a header; empty when it always has one.
    """

    name: str
    columns: tuple[str, ...]
    label: str | None = None
    multi: Mapping[str, str] = field(default_factory=dict)
    dates: Mapping[str, str] = field(default_factory=dict)
    ids: tuple[str, ...] = ()
    text: frozenset[str] = frozenset()
    cells: tuple[str, ...] = ()

    def without_label(self) -> tuple[str, ...]:
        """The columns of a file to predict."""
        return tuple(name for name in self.columns if name != self.label)

    def names(self, width: int) -> tuple[str, ...] | None:
        """The columns of a file of that width, with or without label; None when no such file exists."""
        return {len(self.without_label()): self.without_label(), len(self.columns): self.columns}.get(width)

    def fits(self, rows: Sequence[Sequence[str | None]]) -> bool:
        """Whether these rows are a file of this layout without its header."""
        names = self.names(len(rows[0])) if rows and self.cells else None
        if names is None:
            return False
        patterns = [
            re.compile(pattern) for name, pattern in zip(self.columns, self.cells, strict=True) if name in names
        ]
        return all(p.fullmatch(cell or "") for row in rows for p, cell in zip(patterns, row, strict=True))


_INTEGERS = tuple(f"I{i}" for i in range(1, 14))
_CODES = tuple(f"C{i}" for i in range(1, 27))

CRITEO = Layout(
    "criteo",
    ("label", *_INTEGERS, *_CODES),
    label="label",
    text=frozenset(_CODES),
    cells=("[01]", *([r"(-?\d+)?"] * 13), *([r"([0-9a-f]{8})?"] * 26)),
)

_AVAZU_HASHES = (
    *("site_id", "site_domain", "site_category", "app_id", "app_domain", "app_category"),
    *("device_id", "device_ip", "device_model"),
)

AVAZU = Layout(
    "avazu",
    (
        *("id", "click", "hour", "C1", "banner_pos", *_AVAZU_HASHES, "device_type", "device_conn_type"),
        *(f"C{i}" for i in range(14, 22)),
    ),
    label="click",
    dates={"hour": "%y%m%d%H"},
    ids=("id",),
    text=frozenset({"id", *_AVAZU_HASHES}),
    cells=(r"\d+", "[01]", r"\d{8}", r"\d+", r"\d+", *(["[0-9a-f]{8}"] * 9), *([r"-?\d+"] * 10)),
)

MOVIELENS = Layout(
    "movielens",
    ("user_id", "movie_id", "gender", "age", "occupation", "zip", "genres", "year", "liked"),
    label="liked",
    multi={"genres": "|"},
    text=frozenset({"gender", "zip", "genres"}),
)

_CONTEXT = ("daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city")

FRAPPE = Layout("frappe", ("label", "user", "item", *_CONTEXT), label="label")

LAYOUTS = {layout.name: layout for layout in (CRITEO, AVAZU, MOVIELENS, FRAPPE)}


def layout_of(columns: Sequence[str]) -> Layout | None:
    """The layout whose features are all among these columns."""
    for layout in LAYOUTS.values():
        if set(layout.without_label()) - set(layout.ids) <= set(columns):
            return layout
    return None
