"""Writes the tree in architecture.md from the first lines of the modules: `python docs/make_tree.py`."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- the tree: python docs/make_tree.py -->\n", "<!-- end of the tree -->\n"
COLUMN = 32


def first_line(module: Path) -> str:
    """The first line of a module's docstring; nothing where it has none."""
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) if module.exists() else None
    return (text or "").split("\n\n")[0].replace("\n", " ")


def lines(folder: Path, depth: int = 0) -> Iterator[str]:
    """A line for the folder, for each of its modules, and for what is in its folders."""
    indent = "  " * depth
    yield f"{indent}{folder.name}/".ljust(COLUMN) + " " + first_line(folder / "__init__.py")
    for module in sorted(folder.glob("*.py")):
        if module.name != "__init__.py":
            yield f"{indent}  {module.name}".ljust(COLUMN) + " " + first_line(module)
    for below in sorted(folder.iterdir()):
        if any(below.glob("*.py")):
            yield from lines(below, depth + 1)


def tree() -> str:
    """The block between the two marks of the page."""
    body = "\n".join(line.rstrip() for line in lines(ROOT / "attn"))
    return f"```\n{body}\n```\n"


def renewed(page: str) -> str:
    """The page with the tree as it is now."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + tree() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
