"""`tests` mirrors `attn` folder by folder, so that the tests of a module are found by its name."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "attn"
WHOLE = {".", "apps", "fuzz", "examples"}  # what stands directly in these folders tests several modules together


def files() -> list[Path]:
    return sorted(path.relative_to(TESTS) for path in TESTS.rglob("test_*.py"))


def mirrors(path: Path) -> bool:
    """Whether a module, or a package, has the name of the test file, or the name it begins with: test_train_step.py."""
    words = path.stem.removeprefix("test_").split("_")
    names = ("_".join(words[:count]) for count in range(1, len(words) + 1))
    folder = PACKAGE / path.parent
    return any((folder / f"{name}.py").exists() or (folder / name).is_dir() for name in names)


@pytest.mark.parametrize("path", [path for path in files() if path.parent.as_posix() not in WHOLE], ids=str)
def test_file_has_the_name_of_a_module(path: Path) -> None:
    assert (PACKAGE / path.parent).is_dir(), f"attn has no folder {path.parent}"
    assert mirrors(path) or path.stem.endswith(("_hostile", "_memory")), (
        f"attn/{path.parent} has no module of that name"
    )


def test_files_were_found() -> None:
    assert Path("core/mixers/test_registry.py") in files()
    assert mirrors(Path("core/mixers/test_registry.py"))
    assert not mirrors(Path("core/mixers/test_nothing.py"))
