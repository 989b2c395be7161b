"""Other readers of radiographs, each as a function from a file to the picture that it shows, (H, W), 0 to 1."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

Reader = Callable[[Path], Any]


def radreader(path: Path) -> Any:
    """Its display."""
    import radreader

    return np.asarray(radreader.read(str(path)).pixels)


def torchxrayvision(path: Path) -> Any:
    """Its display, which it scales to -1024 to 1024 for its models."""
    from torchxrayvision.utils import load_image, read_xray_dcm

    pixels = load_image(str(path))[0] if path.suffix == ".png" else read_xray_dcm(path, voi_lut=True)
    return (np.asarray(pixels) + 1024) / 2048


def monai(path: Path) -> Any:
    """Its modality values (it applies no window), from the lowest to the highest; it puts columns first."""
    from monai.transforms import LoadImage

    values = np.asarray(
        LoadImage(image_only=True, reader="PILReader" if path.suffix == ".png" else "PydicomReader")(path)
    )
    return ((values - values.min()) / max(np.ptp(values), 1e-9)).squeeze().T


PEERS: dict[str, Reader] = {"radreader": radreader, "torchxrayvision": torchxrayvision, "monai": monai}


def installed() -> dict[str, Reader]:
    """Those of PEERS that are there."""
    return {name: read for name, read in PEERS.items() if find_spec(name) is not None}
