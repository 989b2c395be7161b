"""Music Transformer (Huang et al. 2018, arXiv:1809.04281): the memory of relative attention, with and without skewing.

    S[i, j] = q_i · E[M - 1 - (i - j)]

    directly    a vector for each pair of tokens, R[i, j] = E[M - 1 - (i - j)]: L² D numbers for each head
    skewed      q Eᵀ, whose columns are moved ("memory efficient implementation"): the L D numbers of the table
    in blocks   the attention of this package, which skews a block of queries at a time

The L² logits are there in the first two forms; what skewing makes linear is the relative vectors alone. While it
skews, the logits are there twice. In blocks there are no L² numbers at any time.

Bytes are those of all tensors that are alive at once, in float32. The direct form of long sequences is counted and not
computed (torch's `meta` device); at SHORT both are done.

Shapes: B batch of 1, H heads, L tokens, D head dimension; M = L rows of the table.
"""

from collections.abc import Callable
from statistics import linear_regression
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attn.core.attention.attend import attend
from attn.core.attention.relative import Relative
from attn.core.measures.counting import count
from attn.lab.experiment import Advance, Experiment, Outcome, Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADS, D = 8, 64  # the paper's 512 channels
SHORT = 128
LENGTHS = (256, 512, 1024, 2048)
VECTORS = {650: 108.2, 2048: 1073.7, 3500: 3136.0}  # MB of a head's vectors, 4 L² D bytes
TABLES = {650: 0.1664, 2048: 0.5243, 3500: 0.896}  # MB of a head's table, 4 L D bytes
FLOAT = 4


def direct(q_bhld: Tensor, table_hmd: Tensor, rows_ll: Tensor) -> Tensor:
    """S (B, H, L, L) by a vector for each pair of tokens."""
    r_hlmd = table_hmd[:, rows_ll]
    return torch.einsum("bhld,hlmd->bhlm", q_bhld, r_hlmd)


def rows_of(length: int, device: str = "cpu") -> Tensor:
    """The row of the table for each pair; that of distance 0 for what follows."""
    place = torch.arange(length, device=device)
    return length - 1 - (place[:, None] - place).clamp(min=0)


def inputs(heads: int, length: int, seed: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Queries (1, H, L, D) and a table (H, L, D)."""
    generator = torch.Generator().manual_seed(seed)
    if device == "meta":
        return torch.empty(1, heads, length, D, device=device), torch.empty(heads, length, D, device=device)
    return (
        torch.randn(1, heads, length, D, generator=generator),
        torch.randn(heads, length, D, generator=generator) * D**-0.5,
    )


def peak_direct(heads: int, length: int, device: str = "meta") -> int:
    """Bytes of the direct form."""
    (q_bhld, table_hmd), rows_ll = inputs(heads, length, 0, device), rows_of(length, device)
    return count(lambda: direct(q_bhld, table_hmd, rows_ll)).peak


def peak_skewed(heads: int, length: int, device: str = "meta") -> int:
    """Bytes of the skewed form."""
    q_bhld, table_hmd = inputs(heads, length, 0, device)
    return count(lambda: Relative(table_hmd).logits(q_bhld, length)).peak


def peak_in_blocks(heads: int, length: int) -> int:
    """Bytes of the whole attention, its output among them."""
    q_bhld, table_hmd = inputs(heads, length, 0)
    return count(lambda: attend(q_bhld, q_bhld, q_bhld, relative=Relative(table_hmd), causal=True)).peak


def exponent(peaks: Callable[[int], float]) -> float:
    """The power of L with which bytes grow over LENGTHS."""
    logs = [torch.tensor([float(length), peaks(length)]).log().tolist() for length in LENGTHS]
    return linear_regression(*zip(*logs, strict=True)).slope


def run(seed: int, advance: Advance) -> Outcome:
    """Count all forms, and compare their values where they are computed."""
    q_bhld, table_hmd = inputs(2, SHORT, seed)
    by_pairs, by_skewing = direct(q_bhld, table_hmd, rows_of(SHORT)), Relative(table_hmd).logits(q_bhld, SHORT)
    advance()
    logits = {length: FLOAT * HEADS * length**2 for length in LENGTHS}
    peaks: dict[str, dict[int, int]] = {
        "directly": {length: peak_direct(HEADS, length) for length in LENGTHS},
        "skewed": {length: peak_skewed(HEADS, length) for length in LENGTHS},
        "in blocks": {length: peak_in_blocks(HEADS, length) for length in LENGTHS},
    }
    advance()
    last = LENGTHS[-1]
    vectors = {length: (peak_direct(1, length) - FLOAT * length**2) / 1e6 for length in VECTORS}
    tables = {length: inputs(1, length, seed)[1].nbytes / 1e6 for length in TABLES}
    measured = {
        "largest difference of the forms": float((by_pairs - by_skewing).tril().abs().max()),
        "counted over computed, directly": peak_direct(2, SHORT) / peak_direct(2, SHORT, "cpu"),
        **{f"vectors of a head, L = {length}, MB": value for length, value in vectors.items()},
        **{f"table of a head, L = {length}, MB": value for length, value in tables.items()},
        "vectors of a layer, GB": (peaks["directly"][last] - logits[last]) / 1e9,
        "table of a layer, MB": inputs(HEADS, last, seed, "meta")[1].nbytes / 1e6,
        "peak while skewing over the L² logits": peaks["skewed"][last] / logits[last],
        "peak directly over skewed": peaks["directly"][last] / peaks["skewed"][last],
        "peak in blocks over the L² logits": peaks["in blocks"][last] / logits[last],
        "exponent of L, directly": exponent(lambda length: peaks["directly"][length]),
        "exponent of L, in blocks": exponent(lambda length: peaks["in blocks"][length]),
    }
    advance()
    return Outcome(measured, {"peaks": peaks, "logits": logits})


def draw(figure: "Figure", outcome: Outcome) -> None:
    """Bytes over the length, with the formulas as lines."""
    axes = figure.subplots()
    figure.set_size_inches(7, 4.2)
    every = torch.linspace(LENGTHS[0], LENGTHS[-1], 100)
    lines = {
        "directly": (FLOAT * HEADS * every**2 * (D + 1), "4 H L² (D + 1)"),
        "skewed": (FLOAT * HEADS * every * (2 * every + 1), "4 H L (2 L + 1)"),
        "in blocks": (None, ""),
    }
    for name, marker in zip(lines, "sDo", strict=True):
        peaks, (line, formula) = outcome.shown["peaks"][name], lines[name]
        label = f"{name}: counted" + f", and {formula} bytes" * bool(formula)
        (dots,) = axes.plot([*peaks], [value / 1e6 for value in peaks.values()], marker, label=label)
        if line is not None:
            axes.plot(every, line / 1e6, color=dots.get_color(), lw=1)
    logits = outcome.shown["logits"]
    axes.plot([*logits], [value / 1e6 for value in logits.values()], ":", color="0.5", label="the L² logits alone")
    axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel=f"MB of a layer, {HEADS} heads of {D}")
    axes.set_xticks(LENGTHS, [str(length) for length in LENGTHS])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=8)


EXPERIMENT = Experiment(
    paper="Music Transformer, arXiv:1809.04281",
    setting=f"float32, head dimension {D}; a layer has {HEADS} heads and {LENGTHS[-1]:,} tokens",
    predictions=(
        Prediction("largest difference of the forms", 1e-4, "formula", most=True),
        Prediction("counted over computed, directly", 1.0, "the same tensors", 0.001),
        *(Prediction(f"vectors of a head, L = {n}, MB", mb, "4 L² D", mb / 1000) for n, mb in VECTORS.items()),
        *(Prediction(f"table of a head, L = {n}, MB", mb, "4 L D", mb / 1000) for n, mb in TABLES.items()),
        Prediction("vectors of a layer, GB", 8.5, "memory, per layer", 0.1),
        Prediction("table of a layer, MB", 4.2, "memory, per layer", 0.05),
        Prediction("peak while skewing over the L² logits", 2.0, "q Eᵀ and its copy", 0.01),
        Prediction("peak directly over skewed", (D + 1) / 2, "formulas", 0.5),
        Prediction("peak in blocks over the L² logits", 0.5, "no L² numbers", most=True),
        Prediction("exponent of L, directly", 2.0, "L² D", 0.01),
        Prediction("exponent of L, in blocks", 1.0, "no L² numbers", 0.15),
    ),
    steps=3,
    run=run,
    draw=draw,
)
