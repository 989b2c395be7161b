"""The tree in docs/architecture.md has every module with the first line of its docstring."""

import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
SCRIPT = runpy.run_path(str(DOCS / "make_tree.py"))


def test_the_tree_is_that_of_the_package() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    assert SCRIPT["renewed"](page) == page, (
        "a module has come, gone or changed its first line: python docs/make_tree.py"
    )


def test_a_first_line_is_the_first_paragraph_of_the_docstring(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('"""One\nline.\n\nMore."""\n', encoding="utf-8")
    (tmp_path / "b.py").write_text("x = 1\n", encoding="utf-8")
    assert [SCRIPT["first_line"](tmp_path / name) for name in ("a.py", "b.py", "none.py")] == ["One line.", "", ""]
    head, first, second = SCRIPT["lines"](tmp_path)
    assert (
        head.startswith(f"{tmp_path.name}/")
        and first.split() == ["a.py", "One", "line."]
        and second.split() == ["b.py"]
    )


def test_the_table_of_flags_is_that_of_their_docstrings() -> None:
    from attn.data_adapters.dicom.flags import Flag

    script = runpy.run_path(str(DOCS / "make_flags.py"))
    page = (DOCS / "chest.md").read_text(encoding="utf-8")
    assert script["renewed"](page) == page, "a flag has come, gone or changed its docstring: python docs/make_flags.py"
    assert [word for word, _ in script["documented"]()] == [*Flag]
