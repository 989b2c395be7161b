"""The packages' public names are there, and importing a package imports no library."""

import subprocess
import sys
from importlib import import_module

import pytest

PACKAGES = ("tables", "images", "sky", "midi")


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_are_there(name: str) -> None:
    package = import_module(f"attn.data_adapters.{name}")
    for public in package.__all__:
        assert getattr(package, public).__name__ == public
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = package.nothing


def test_importing_the_packages_is_cheap() -> None:
    imports = "; ".join(f"import attn.data_adapters.{name}" for name in PACKAGES)
    heavy = "{'numpy', 'polars', 'astropy', 'PIL', 'h5py', 'torch'}"
    command = f"import sys; {imports}; print({heavy} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"
