"""Speed of reading DICOM files, per transfer syntax, and of prediction, beside the bare decoder, network and peers.

    uv run --with radreader,torchxrayvision,monai python benchmarks/chest.py --cases ../shared/data/chest/cases

A drawn picture of 2,048 x 1,792 pixels is written in each syntax. `times_NAME` is the time from the file to float32
pixels here, over that of NAME: the decoder on the codestream, whose header is checked first, or another reader. Times
are of the CPU, so that other work on the machine does not count. Lossless JPEG is not measured: gdcm decodes it in a
process of its own. All sides alternate; the ratios are medians over the turns. With --cases it counts the published
cases that each reader shows as the table there says. `of_the_forward` is how fast files are predicted, over how fast
the network is on tensors that are ready.
"""

import argparse
import csv
import io
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from chest_peers import Reader, installed
from rows import keep

from attn.apps.chest.predict import ChestPredictor
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
FILES = 32  # of a prediction


def seconds(sides: dict[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """The CPU time of each side in each turn, after one turn that does not count."""
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(turns + 1):
        for name, side in sides.items():
            began = time.process_time()
            side()
            if turn:
                spent[name].append(time.process_time() - began)
    return spent


def ratio(above: list[float], below: list[float]) -> float:
    """The median over turns."""
    return median(one / other for one, other in zip(above, below, strict=True))


def ours(path: Path) -> Any:
    return next(read_radiographs(path, path.name)).pixels_hw


def bare(data: bytes, pixels: np.ndarray, syntax: str) -> Callable[[], object] | None:
    """The decoder on a codestream; None for what is not compressed."""
    if syntax in ("explicit", "deflated"):
        return None
    with open_dicom(io.BytesIO(data), "drawn") as file:
        layout, uid = read_layout(file), file.syntax
    stream = compressed(pixels, syntax)
    assert read_codestream(stream, layout).rows == layout.rows
    return lambda: decode_frame(stream, layout, uid, "drawn")


def reading(turns: int, peers: dict[str, Reader]) -> None:
    """A row per transfer syntax; a peer that cannot read it has no number."""
    for syntax in SYNTAXES:
        pixels = picture(*SIZE, bits=8 if syntax == "jpeg" else 12)
        data = drawn(pixels, syntax, WindowCenter=2048, WindowWidth=4096)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "drawn.dcm"
            path.write_bytes(data)
            sides: dict[str, Callable[[], object]] = {"ours": partial(ours, path)}
            if decoder := bare(data, pixels, syntax):
                sides["decoder"] = decoder
            sides |= {name: partial(read, path) for name, read in peers.items() if reads(read, path)}
            spent = seconds(sides, turns)
        row: dict[str, Any] = {"syntax": syntax, "files_per_second": 1 / median(spent["ours"])}
        row |= {f"times_{name}": ratio(spent["ours"], its) for name, its in spent.items() if name != "ours"}
        keep("chest_reading", row)


def reads(read: Reader, path: Path) -> bool:
    try:
        read(path)
    except Exception as error:  # a peer raises what it likes
        print(f"{path.name}: {type(error).__name__}", file=sys.stderr)
        return False
    return True


def right(read: Reader, folder: Path) -> dict[str, int]:
    """How many cases with an expected picture a reader shows within the tolerance; affine maps are fitted."""
    count, of = 0, 0
    for case in csv.DictReader((folder / "index.csv").open(encoding="utf-8")):
        if not case["expected_array"]:
            continue
        of += 1
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
    return {"right": count, "of": of}


def predicting(turns: int, model: str | None) -> None:
    """A row per kind of file: the whole way from files, beside the network on tensors that are ready."""
    predictor = ChestPredictor.load(model)
    for name, syntax, side in (("DICOM, 1,024 pixels", "explicit", 1024), ("DICOM, JPEG, 2,048 pixels", "jpeg", 2048)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "drawn.dcm"
            pixels = picture(side, side, bits=8 if syntax == "jpeg" else 12)
            path.write_bytes(drawn(pixels, syntax, WindowCenter=128, WindowWidth=256))
            batch = predictor.tensor([next(read_radiographs(path, "drawn"))] * 16)

            def forward(batch: torch.Tensor = batch) -> None:
                for _ in range(FILES // len(batch)):
                    predictor.log_probabilities(batch)

            def whole(path: Path = path) -> None:
                assert len(list(predictor.predict_many([path] * FILES))) == FILES

            spent = seconds({"whole": whole, "forward": forward}, turns)
        row = {"files": name, "files_per_second": FILES / median(spent["whole"])}
        keep("chest_prediction", row | {"of_the_forward": ratio(spent["forward"], spent["whole"])})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--model", help="of the prediction; the bundled one when not given")
    options = parser.parse_args()
    peers = installed()
    warnings.simplefilter("ignore")
    reading(options.turns, peers)
    if options.cases:
        for name, read in ({"attn": ours} | peers).items():
            keep("chest_cases", {"reader": name, **right(read, options.cases)})
    predicting(options.turns, options.model)


if __name__ == "__main__":
    try:
        main()
    except AttnError as error:
        sys.exit(str(error))
