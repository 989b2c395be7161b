"""Writes the tables of results.md and of the README from benchmarks/results: `python docs/make_results.py`.

A table is a file of rows, one JSON object a line, which a benchmark keeps (`benchmarks/rows.py`), and a dict of
columns. The modules of `result_tables` have the tables. On a page two marks enclose a table and name it.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))

from result_tables import chest, ctr, galaxy, house, lab, mixers, music, reid  # noqa: E402
from result_tables.cells import Tables, rows  # noqa: E402

PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "results.md",
    ROOT / "docs" / "mixers.md",
    ROOT / "docs" / "lab.md",
    ROOT / "docs" / "findings.md",
)
MARKED = re.compile(r"(<!-- table ([a-z0-9_]+): python docs/make_results\.py -->\n).*?(<!-- end -->\n)", re.DOTALL)
TABLES: Tables = {
    name: each for app in (galaxy, music, ctr, chest, reid, house, mixers, lab) for name, each in app.TABLES.items()
}


def table(name: str) -> str:
    """The table in Markdown."""
    source, columns = TABLES[name]
    lines = ["|" + "|".join(f" {title} " for title in columns) + "|", "|" + "---|" * len(columns)]
    for row in rows(source) if isinstance(source, str) else source():
        cells = [column.format(**row) if isinstance(column, str) else column(row) for column in columns.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def renewed(page: str) -> str:
    """The page with its tables as they are now."""
    return MARKED.sub(lambda found: found[1] + table(found[2]) + found[3], page)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
