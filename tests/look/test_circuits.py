"""A circuit that was planted is found, exactly; paths, overlaps and scaling have their closed forms."""

from itertools import combinations

import pytest
import torch
from look_fixtures import probe_of
from torch import Tensor, nn

from attn.core.attention.attend import mix
from attn.core.errors import UsageError
from attn.look.circuits import Pair, Patching, Task, find_circuit, overlap, scaled_ld, tasks_of
from attn.look.layout import on_grid
from attn.look.probe import Batch, Probe
from attn.look.sites import Head, find_sites, head_named

N, LAST = 6, 5


class Moving(nn.Module):
    """Heads that each move two channels of one token to two channels of another: (from, to, read, write)."""

    def __init__(self, *moves: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.moves = moves

    def forward(self, x_bnc: Tensor) -> Tensor:
        weights = torch.zeros(len(self.moves), N, N)
        weights[..., 0] = 1  # nothing stands in token 0
        for head, (source, target, _, _) in enumerate(self.moves):
            weights[head, target] = torch.eye(N)[source]
        v = torch.stack([x_bnc[..., read : read + 2] for _, _, read, _ in self.moves], dim=1)
        z_bhn2 = mix(weights.expand(len(x_bnc), -1, -1, -1), v, site=self)
        out = torch.zeros_like(x_bnc)
        for head, (_, _, _, write) in enumerate(self.moves):
            out[..., write : write + 2] += z_bhn2[:, head]
        return out


class Two(nn.Module):
    """Tokens 2 and 3 are gathered in token 4 by heads 0.0 and 0.1, and brought to the last one by 1.1."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Moving((3, 4, 0, 2), (2, 4, 0, 2), (3, 4, 0, 6))
        self.second = Moving((4, LAST, 6, 6), (4, LAST, 2, 4), (1, LAST, 0, 6))

    def forward(self, x_bnc: Tensor) -> Tensor:
        x_bnc = x_bnc + self.first(x_bnc)
        return x_bnc + self.second(x_bnc)


def example(**content: float) -> Batch:
    """Tokens with the given content, as in t3=1.0: channel 0 gets it, channel 1 its opposite."""
    x_bnc = torch.zeros(1, N, 8)
    for name, value in content.items():
        x_bnc[0, int(name[1:]), :2] = torch.tensor([value, -value])
    return Batch((str(content),), (x_bnc,), {"*": on_grid(1, N)})


def probe() -> Probe:
    network = Two()

    def log_p(x_bnc: Tensor) -> Tensor:
        out = network(x_bnc)
        return (out[:, LAST:, 4:6] + out[:, LAST:, :2]).log_softmax(-1)

    return probe_of(network, log_p)


def task(clean: Batch, corrupt: Batch) -> Task:
    return Task("planted", (Pair(clean, corrupt, 0, 1),))


THREE = task(example(t3=1.0), example(t3=-1.0))
TWO = task(example(t2=2.0, t3=0.5), example(t2=-2.0, t3=0.5))


def found_for(wanted: Task) -> dict[str, object]:
    looked = probe()
    return find_circuit(looked, wanted, find_sites(looked, wanted.pairs[0].clean))


def test_the_planted_circuit_is_found_exactly() -> None:
    found = found_for(THREE)
    assert found["circuit"] == ["0.0", "1.1"] and found["recovered"] == pytest.approx(1)
    assert found["all_heads"] == pytest.approx(1) and found["beside"] == pytest.approx(0)
    scores = {row["name"]: (row["activation"], row["path"]) for row in found["heads"]}  # type: ignore[attr-defined]
    assert scores.pop("0.0") == pytest.approx((1, 0))  # it tells the answer nothing itself
    assert scores.pop("1.1") == pytest.approx((1, 1))
    assert all(each == pytest.approx((0, 0)) for each in scores.values())
    assert found["paths"] == [{"from": "0.0", "to": "1.1", "score": pytest.approx(1)}]


def test_a_set_of_heads_recovers_what_it_carries_and_the_empty_one_nothing() -> None:
    looked = probe()
    patching = Patching(looked, THREE.pairs[0], find_sites(looked, THREE.pairs[0].clean))
    assert patching.activation([]) == 0
    assert patching.activation([Head(0, 0), Head(0, 2)]) == pytest.approx(1)
    assert patching.activation([Head(0, 2), Head(1, 0)]) == pytest.approx(0)
    assert patching.path(Head(0, 2), Head(1, 1)) == pytest.approx(0)


def test_heads_that_carry_nothing_are_no_circuit() -> None:
    found = found_for(task(example(t5=1.0), example(t5=-1.0)))  # the last token itself differs
    assert found["circuit"] == [] and found["all_heads"] == pytest.approx(0) and found["recovered"] == 0


def test_two_tasks_share_a_head_and_scaling_it_moves_both() -> None:
    circuits = [found_for(each)["circuit"] for each in (THREE, TWO)]
    assert circuits == [["0.0", "1.1"], ["0.1", "1.1"]]
    assert overlap(*circuits, heads=6)["overlap"] == pytest.approx(1 / 3)  # type: ignore[arg-type]
    looked = probe()
    sites = find_sites(looked, THREE.pairs[0].clean)
    for each in (THREE, TWO):
        before, after = scaled_ld(looked, each, {head_named("1.1", sites): 1.5}, sites)
        assert after == pytest.approx(1.5 * before) and before > 0
        assert scaled_ld(looked, each, {Head(1, 0): 1.5}, sites)[1] == pytest.approx(before)


def test_chance_is_the_mean_over_all_pairs_of_sets() -> None:
    found = overlap(["0", "1"], ["1", "2", "3"], heads=5)
    drawn = [(({*a} & {*b}), ({*a} | {*b})) for a in combinations("01234", 2) for b in combinations("01234", 3)]
    assert found["chance"] == pytest.approx(sum(len(x) / len(y) for x, y in drawn) / len(drawn))
    assert found["p"] == pytest.approx(sum(len(x) >= 1 for x, _ in drawn) / len(drawn))
    assert overlap([], ["1"], heads=5) == {"overlap": None, "chance": None, "p": None}


@pytest.mark.parametrize(
    ("clean", "corrupt", "said"),
    [
        (["a"], [], "--clean is given 1 times and --corrupt 0 times"),
        (["a"], ["longer"], "a and longer: are of different size, 6x8 and 7x8"),
        (["a"], ["both"], "a and both: hold 1 and 2 examples"),
        (["a"], ["a"], "a and a: have the same answer, '0'"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(clean: list[str], corrupt: list[str], said: str) -> None:
    one = example(t3=1.0)
    inputs = {
        "a": [one],
        "both": [one, one],
        "longer": [Batch(("l",), (torch.zeros(1, N + 1, 8),), {})],
    }
    looked = probe()
    reading = Probe("p", "p", looked.network, lambda names: inputs[names[0]], looked.log_p, "")
    with pytest.raises(UsageError, match=said):
        tasks_of(reading, clean, corrupt)


def test_a_head_that_is_not_there_is_refused_with_those_that_are() -> None:
    looked = probe()
    sites = find_sites(looked, THREE.pairs[0].clean)
    assert head_named("second.2", sites) == head_named("1.2", sites) == Head(1, 2)
    for text in ("1.3", "2.0", "third.0", "1", "1.-1", ""):
        with pytest.raises(UsageError, match=r"its heads are 0\.0, 0\.1, 0\.2, 1\.0, 1\.1, 1\.2"):
            head_named(text, sites)
