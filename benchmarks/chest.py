"""Speed of reading DICOM files, per transfer syntax, beside the bare decoder and radreader in one run.

    uv run --with radreader python benchmarks/chest.py --cases ../shared/data/chest/cases

A drawn picture of 2,048 x 1,792 pixels is written in each syntax. The CPU seconds are the least of several turns, in
which all sides alternate: from the file to float32 pixels here, and the decoder on the codestream, whose header is
checked first. `times_NAME` is the time of this reader over that of NAME.
With --cases it also counts the published cases that each reader shows as the table there says, and without radreader
its columns are left out.
"""

import argparse
import csv
import importlib.util
import io
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rows import keep

from attn.core.errors import AttnError
from attn.data_adapters.dicom.codestream import read_codestream
from attn.data_adapters.dicom.decode import decode_frame
from attn.data_adapters.dicom.file import open_dicom
from attn.data_adapters.dicom.frame_layout import read_layout
from attn.data_adapters.dicom.read import read_radiographs

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "data_adapters" / "dicom"))
from dicom_fixtures import compressed, drawn, picture

SYNTAXES = ("explicit", "deflated", "rle", "jpeg", "jpegls", "j2k", "j2k-lossy")
SIZE = (2048, 1792)


def radreader(path: Path) -> Any:
    """The display of radreader, 0 to 1."""
    import radreader

    return np.asarray(radreader.read(str(path)).pixels)


def seconds(sides: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """The least CPU seconds of each side, after one turn that does not count."""
    least = dict.fromkeys(sides, float("inf"))
    for turn in range(turns + 1):
        for name, side in sides.items():
            began = time.process_time()
            side()
            if turn:
                least[name] = min(least[name], time.process_time() - began)
    return least


def bare(data: bytes, pixels: np.ndarray, syntax: str) -> Callable[[], object] | None:
    """The decoder on a codestream; None for what is not compressed."""
    if syntax in ("explicit", "deflated"):
        return None
    with open_dicom(io.BytesIO(data), "drawn") as file:
        layout, uid = read_layout(file), file.syntax
    stream = compressed(pixels, syntax)
    assert read_codestream(stream, layout).rows == layout.rows
    return lambda: decode_frame(stream, layout, uid, "drawn")


def speed(turns: int, peers: bool) -> None:
    for syntax in SYNTAXES:
        pixels = picture(*SIZE, bits=8 if syntax == "jpeg" else 12)
        data = drawn(pixels, syntax, WindowCenter=2048, WindowWidth=4096)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "drawn.dcm"
            path.write_bytes(data)
            sides: dict[str, Callable[[], object]] = {"ours": lambda path=path: list(read_radiographs(path, "drawn"))}
            if decoder := bare(data, pixels, syntax):
                sides["decoder"] = decoder
            if peers:
                sides["radreader"] = lambda path=path: radreader(path)
            least = seconds(sides, turns)
        row: dict[str, Any] = {"syntax": syntax, "files_per_second": 1 / least["ours"]}
        row |= {f"times_{name}": least["ours"] / value for name, value in least.items() if name != "ours"}
        keep("chest_reading", row)


def right(read: Callable[[Path], Any], folder: Path) -> int:
    """How many of the cases with an expected picture a reader shows within the tolerance; affine maps are fitted."""
    count = 0
    for case in csv.DictReader((folder / "index.csv").open(encoding="utf-8")):
        if not case["expected_array"]:
            continue
        expected = np.load(folder / case["expected_array"])
        try:
            found = np.asarray(read(folder / case["file"]), np.float64)
        except Exception as error:  # a peer raises what it likes
            assert not isinstance(error, AssertionError)
            continue
        if found.shape != expected.shape:
            continue
        compared = np.isfinite(expected) & (expected > 0 if "affine" in case["check"] else True)
        if "affine" in case["check"]:
            count += bool(np.corrcoef(found[compared], expected[compared])[0, 1] > 0.9995)
        else:
            count += bool(np.abs(found - expected)[compared].max() <= float(case["tolerance"]))
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--cases", type=Path)
    options = parser.parse_args()
    peers = importlib.util.find_spec("radreader") is not None
    warnings.simplefilter("ignore")
    speed(options.turns, peers)
    if options.cases:
        readers: dict[str, Callable[[Path], Any]] = {"attn": lambda path: next(read_radiographs(path, "x")).pixels_hw}
        if peers:
            readers["radreader"] = radreader
        for name, read in readers.items():
            keep("chest_cases", {"reader": name, "right": right(read, options.cases)})


if __name__ == "__main__":
    try:
        main()
    except AttnError as error:
        sys.exit(str(error))
