"""The formulas of PS3.3 C.11, against the standard's own pseudocode written out value by value."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from attn.data_adapters.dicom.lut import Rescale, Span, Table, Window, span_of_counts

VALUES = np.array([-1e9, -2048, -1, -0.5, 0, 0.5, 1, 99, 100, 100.5, 127.5, 128, 200, 4095, 1e9])
DOCS = Path(__file__).parents[3] / "docs" / "chest.md"


def standard(x: float, c: float, w: float, function: str) -> float:
    """The conditions of C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2, with the output from 0 to 1."""
    if function == "SIGMOID":
        power = -4 * (x - c) / w
        return 0.0 if power > 700 else 1 / (1 + math.exp(power))
    if function == "LINEAR_EXACT":
        if x <= c - w / 2:
            return 0
        if x > c + w / 2:
            return 1
        return (x - c) / w + 0.5
    if x <= c - 0.5 - (w - 1) / 2:
        return 0
    if x > c - 0.5 + (w - 1) / 2:
        return 1
    return (x - (c - 0.5)) / (w - 1) + 0.5


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(128, 256), (100, 1), (100.5, 2.5), (-1000, 400), (0, 1e6)])
def test_windows(center: float, width: float, function: str) -> None:
    shown = Window(center, width, function).display(VALUES)
    assert shown.tolist() == pytest.approx([standard(x, center, width, function) for x in VALUES], abs=1e-12)


def test_window_of_a_width_below_one() -> None:
    shown = Window(0.5, 0.25, "LINEAR_EXACT").display(np.array([0.3, 0.4, 0.5, 0.6, 0.7]))
    assert shown == pytest.approx([0, 0.1, 0.5, 0.9, 1], abs=1e-12)


def test_tables_clamp_and_span_their_nominal_range() -> None:
    table = Table(-2, np.array([0, 64, 255]), 8)
    assert table(np.array([-9.0, -2, -1.5, -1, 0, 9])).tolist() == [0, 0, 0, 64, 255, 255]
    assert table.display(np.array([-1.0])) == pytest.approx(64 / 255)
    assert Table(0, np.array([4095]), 16).display(np.zeros(1)) == pytest.approx(4095 / 65535)


@pytest.mark.parametrize("seed", range(4))
def test_span_is_the_percentile_of_the_pixels(seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, 997) // (1 + seed)
    values = np.arange(256) * -3.0 + 7  # of the codes, in falling order
    found = span_of_counts(values, np.bincount(pixels, minlength=256))
    assert (found.low, found.high) == pytest.approx(np.percentile(values[pixels], [0.5, 99.5]))


def test_span_of_few_values() -> None:
    values = np.arange(3.0)
    assert span_of_counts(values, np.array([1000, 1, 0])) == Span(0, 1), "a span of one value is that of all"
    assert span_of_counts(values, np.array([0, 5, 0])).display(values).tolist() == [0, 0, 0], "a constant picture"
    assert span_of_counts(values, np.zeros(3, int)) == Span(0, 0), "all is padding"


@pytest.mark.parametrize("name", ["NORMAL", "Soft tissue 2", "WINDOW12", "algo1", "LUNG/BONE"])
def test_a_display_says_its_name(name: str) -> None:
    assert str(Window(50, 400, name=name)) == f"LINEAR window {name}, center 50, width 400"
    assert str(Table(0, np.arange(2), 8, name)) == f"table {name} of 2 entries of 8 bits from 0"


@pytest.mark.parametrize("name", ["", "-", "Doe", "LUNG Doe", "DoeLUNG", "BONE 123", "18981231", "Jörgänsson", "肺"])
def test_a_display_says_no_free_text(name: str) -> None:
    assert str(Window(50, 400, name=name)) == "LINEAR window, center 50, width 400"
    assert str(Table(0, np.arange(2), 8, name)) == "table of 2 entries of 8 bits from 0"


def table_of_the_docs() -> dict[str, list[float]]:
    rows = {}
    for line in DOCS.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 5 and re.fullmatch(r"-?[\d.]+", cells[1]):
            rows[cells[0]] = [float(cell) for cell in cells[1:]]
    return rows


def test_numbers_of_the_docs() -> None:
    rows = table_of_the_docs()
    stored = np.array([1500.0, 2000, 2500, 0])
    values = Rescale(2, -1000)(stored)
    assert rows.pop("modality value") == values.tolist()
    steps = {
        "`LINEAR`, center 3000, width 4001": (Window(3000, 4001), False),
        "the same, MONOCHROME1": (Window(3000, 4001), True),
        "`LINEAR_EXACT`, center 3000, width 4000, MONOCHROME1": (Window(3000, 4000, "LINEAR_EXACT"), True),
        "`SIGMOID`, center 3000, width 4000, MONOCHROME1": (Window(3000, 4000, "SIGMOID"), True),
        "VOI LUT of 8 bits, first value 2000, entries 0, 1, 2, ..., 255, MONOCHROME1": (
            Table(2000, np.arange(256), 8),
            True,
        ),
    }
    assert rows.keys() == steps.keys()
    for name, (voi, inverse) in steps.items():
        shown = voi.display(values)
        shown = np.where(stored == 0, 0, 1 - shown if inverse else shown)
        assert shown == pytest.approx(rows[name], abs=5e-7), name
