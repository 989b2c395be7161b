"""`attn mixers bench`: what it measures, what it refuses, and the time that mechanisms claim."""

import json
import statistics

import pytest
import torch
from typer.testing import CliRunner

from attn.cli import app
from attn.core import mixers
from attn.core.errors import UsageError
from attn.mixers.bench import Layer, exponent, layers, medians, rows_of, side_of


def run(*arguments):
    return CliRunner().invoke(app, ["mixers", *arguments], prog_name="attn")


def test_the_exponent_is_that_of_a_power_law():
    tokens = [16, 64, 4096]
    assert exponent(tokens, [3 * n**1.5 for n in tokens]) == pytest.approx(1.5)
    assert exponent([16], [2.0]) is None
    assert exponent([16, 64], [0.0, 1.0]) is None


def test_a_row_for_each_size_with_the_growth_of_products():
    (layer,) = layers(["interacting"], 8, 2)
    small, large = rows_of(layer, [64, 128])
    assert (small["name"], small["dims"], small["causal"], small["tokens"]) == ("interacting", 1, False, 64)
    for row, n in ((small, 64), (large, 128)):
        assert row["products_m"] == pytest.approx((3 * 2 * n * 8 * 8 + 2 * 2 * n * n * 8) / 1e6)  # q, k, v
        assert row["forward_ms"] > 0 and row["step_ms"] > 0 and row["times"] > 0 and row["memory_mib"] > 0
    ratio = large["products_m"] / small["products_m"]
    assert 2 ** small["fitted"] == pytest.approx(ratio)
    assert small["fitted"] == large["fitted"]


def test_plain_attention_is_as_fast_as_itself():
    (row,) = rows_of(layers(["softmax"], 32, 2)[0], [1024])
    assert 0.2 < row["times"] < 5


def test_a_map_is_square_and_says_its_tokens():
    assert [side_of(n) for n in (1, 250, 256, 2048)] == [1, 16, 16, 45]
    (layer,) = (layer for layer in layers(["large_kernel"], 8, 2) if layer.dims == 2)
    assert [row["tokens"] for row in rows_of(layer, [250])] == [256]


def test_calls_take_turns():
    seen = []
    assert len(list(medians([lambda: seen.append("a"), lambda: seen.append("b")]))) == 2
    assert "".join(seen) == "ab" * (len(seen) // 2)


def test_the_command_prints_and_draws(tmp_path):
    done = run(
        "bench",
        "--tokens",
        "16,64",
        "--mixers",
        "softmax,dual",
        "--width",
        "8",
        "--heads",
        "2",
        "--out",
        str(tmp_path / "b"),
    )
    assert done.exit_code == 0, done.stderr
    header, *rows = (line.split("\t") for line in done.stdout.splitlines())
    assert {"name", "tokens", "forward_ms", "times", "memory_mib", "claimed", "fitted"} <= {*header}
    assert len(rows) == 2 * 4  # both have a form for sequences and one for maps
    report = json.loads((tmp_path / "b" / "report.json").read_text())
    assert len(report["rows"]) == 8 and (tmp_path / "b" / "costs.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--tokens", "256,many"),
            "--tokens is numbers from 1 to 1,048,576, not '256,many'; write them as in 256,1024",
        ),
        (("--tokens", "0"), "--tokens is numbers from 1 to 1,048,576, not '0'"),
        (("--mixers", "sofmax"), "there is no mixer 'sofmax'; there are axial, "),
        (("--width", "9"), "a width of 9 cannot be split into 4 heads"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(arguments, said):
    done = run("bench", *arguments)
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr.startswith(f"error: {said}") and done.stderr.count("\n") == 1


def test_json_before_a_command_is_refused():
    assert "write it behind" in run("--json", "bench").stderr


# The time of 2,048 and 8,192 tokens of a sequence follows the products: mixing costs more than everything else.
TIMED = [
    info
    for info in mixers.available()
    if info.exponent == 2 and info.dims == (1,) and info.name in ("softmax", "interacting", "relative")
]


@pytest.mark.slow
@pytest.mark.parametrize("info", TIMED, ids=lambda info: info.name)
def test_time_grows_as_is_claimed(info):
    """On one thread: the processor's time of two counts also how long they wait for each other."""
    torch.set_num_threads(1)
    layer = Layer(info=info, dims=1, width=16, heads=2, device="cpu")
    fits = [rows_of(layer, [2048, 8192])[0]["fitted_time"] for _ in range(3)]
    assert statistics.median(fits) == pytest.approx(info.exponent, abs=0.25), fits


def test_names_are_checked():
    with pytest.raises(UsageError, match="there is no mixer"):
        layers(["softmax", "no"], 8, 2)
