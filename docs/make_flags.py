"""Writes the table of flags in chest.md from the docstrings of `Flag`: `python docs/make_flags.py`."""

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "chest.md"
FLAGS = ROOT / "attn" / "data_adapters" / "dicom" / "flags.py"
BEGIN, END = "<!-- the flags: python docs/make_flags.py -->\n", "<!-- end of the flags -->\n"


def documented() -> Iterator[tuple[str, str]]:
    """Each flag's word and what it means: the text below it in its module."""
    tree = ast.parse(FLAGS.read_text(encoding="utf-8"))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef)).body
    for node, below in pairwise(body):
        if isinstance(node, ast.Assign):
            assert isinstance(node.value, ast.Constant)
            assert isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant), f"{node.value.value}: no text"
            yield str(node.value.value), " ".join(str(below.value.value).split())


def table() -> str:
    """The block between the two marks of the page."""
    rows = "".join(f"| `{word}` | {text} |\n" for word, text in documented())
    return f"| flag | it says |\n|---|---|\n{rows}"


def renewed(page: str) -> str:
    """The page with the table as it is now."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
