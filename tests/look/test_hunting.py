"""Heads that were planted are found, exactly, and nothing where nothing was planted."""

from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
import torch
from look_fixtures import WIDTH, N, Planted, probe_of, tokens
from torch import Tensor

from attn.core.attention.attend import attend
from attn.core.decoding.guidance import Guidance
from attn.core.errors import InputError, UsageError
from attn.look.hunting import LEAST_PAIRS, FoundHead, FoundHeads, Hunter, chance, hunt, read_heads, softened_sites
from attn.look.importance import Answers
from attn.look.probe import Batch, Probe
from attn.look.sites import Head, Site, find_sites

SITES = [Site("a", 3), Site("b", 3)]
HEADS = [Head(layer, head) for layer in (0, 1) for head in range(3)]


def hunter(read: set[int]) -> Hunter:
    """Three heads that bring the first token what lies below it; the answer reads those in `read`.

    What is brought speaks for the true class and what the first token has itself against it.
    """
    network = Planted(("column", "column", "column"))
    x_bnc = torch.zeros(LEAST_PAIRS, N, 3 * WIDTH)
    x_bnc[:, 0, ::WIDTH] = -0.1
    x_bnc[:, N // 4, ::WIDTH] = torch.linspace(0.4, 0.5, LEAST_PAIRS)[:, None]  # below the first token, in its column

    def log_p(x_bnc: Tensor) -> Tensor:
        z_bc = (network(x_bnc) - x_bnc)[:, 0]  # what the heads bring
        said_b = sum((z_bc[:, head * WIDTH] for head in read), torch.zeros(len(x_bnc)))
        return torch.stack([said_b, -said_b], -1)[:, None].log_softmax(-1)

    probe = probe_of(network, log_p)
    batch = Batch(tuple("abcd"), (x_bnc,), {}, torch.zeros(LEAST_PAIRS, 1, dtype=torch.long))
    return Hunter(Answers(probe, [batch]), "true", find_sites(probe, batch))


@pytest.mark.parametrize("planted", [{1}, {0, 2}, set()])
def test_the_planted_heads_are_found_and_no_other(planted: set[int]) -> None:
    found = hunter(planted).hunt()
    assert sorted(found["heads"]) == [f"0.{head}" for head in sorted(planted)]
    assert (found["value"] > found["start"]) == bool(planted)
    useless = [found["alone"][f"0.{head}"] for head in {0, 1, 2} - planted]
    assert useless == pytest.approx([found["start"]] * len(useless))


def modular(weights: dict[Head, float], pairs: int = 8, noise: float = 0.0) -> object:
    """The sum of the weights of the heads, around a value of each pair, and noise that each choice of heads draws."""

    def objective(guidance: Guidance | None) -> np.ndarray:
        chosen = {} if guidance is None else guidance.heads
        gain = sum(weights[Head("ab".index(site), head)] for site, heads in chosen.items() for head in heads)
        rng = np.random.default_rng([1, *(ord(site) * 100 + head for site, heads in chosen.items() for head in heads)])
        return np.arange(pairs) + gain + noise * rng.standard_normal(pairs)

    return objective


def test_greedy_equals_exhaustive_for_a_modular_objective() -> None:
    weights = dict(zip(HEADS, [0.3, -0.2, 0.0, 0.7, 0.1, -0.4], strict=True))
    found = hunt(modular(weights, noise=1e-3), HEADS, SITES)  # type: ignore[arg-type]
    subsets = [chosen for size in range(7) for chosen in combinations(HEADS, size)]
    best = max(subsets, key=lambda chosen: sum(weights[head] for head in chosen) - 1e-9 * len(chosen))
    assert sorted(found["heads"]) == sorted(map(str, best)) and found["heads"] == ["1.0", "0.0", "1.1"]
    assert found["value"] - found["start"] == pytest.approx(1.1, abs=1e-2)


def test_noise_is_not_taken_for_a_head() -> None:
    """Of 60 hunts in which heads only draw noise, at LEVEL 3 find something on average."""
    rng = np.random.default_rng(0)
    wrong = sum(bool(hunt(lambda _: rng.standard_normal(8), HEADS, SITES)["heads"]) for _ in range(60))
    assert wrong <= 8


def test_chance_of_no_gain() -> None:
    assert chance(np.zeros(8)) == 1 and chance(np.full(8, -1.0)) == 1 and chance(np.full(8, 0.1)) == 0
    gain_p = np.random.default_rng(0).normal(0.3, 1, 12)
    sign = np.array(list(product([-1, 1], repeat=12)))  # an independent test: signs are as likely either way
    assert chance(gain_p) == pytest.approx(float(((sign * gain_p).mean(1) >= gain_p.mean()).mean()), abs=0.02)


def test_a_hunt_needs_inputs_an_objective_and_heads() -> None:
    with pytest.raises(UsageError, match="a hunt compares at least 4 inputs, not 3; give more of them"):
        hunt(modular({}, pairs=3), [], SITES)  # type: ignore[arg-type]
    probe = probe_of(Planted(("self",)))
    with pytest.raises(UsageError, match="planted has no objective 'joy'; there are true"):
        Hunter(Answers(probe, [tokens(1)]), "joy", find_sites(probe, tokens(1)))


def test_attention_to_another_sequence_is_not_softened() -> None:
    """The second site reads a memory: its queries are no keys."""

    class Crossing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own, self.cross = torch.nn.Identity(), torch.nn.Identity()

        def forward(self, x_bnc: Tensor) -> Tensor:
            x_bhnc = x_bnc[:, None]
            x_bhnc = attend(x_bhnc, x_bhnc, x_bhnc, site=self.own)
            return attend(x_bhnc, x_bhnc[:, :, :3], x_bhnc[:, :, :3], site=self.cross)[:, 0]

    probe = probe_of(Crossing())
    sites = find_sites(probe, tokens(1))
    assert [site.name for site in sites] == ["own", "cross"]
    assert softened_sites(Answers(probe, [tokens(1)]), sites) == {"own"}


def test_a_file_of_heads_comes_back(tmp_path: Path) -> None:
    written = FoundHeads(
        app="music", model="m", fingerprint="f", objective="density", start=1.0, strength=3.0, softness=0.5,
        heads=(FoundHead(name="0.1", site="a", head=1, value=2.0), FoundHead(name="0.2", site="a", head=2, value=3.0)),
    )  # fmt: skip
    written.save(tmp_path / "heads.json")
    read = read_heads(tmp_path / "heads.json")
    assert read == written and read.guidance() == Guidance({"a": (1, 2)}, 3.0, 0.5)
    assert read.guidance(strength=1.0, softness=0.0) == Guidance({"a": (1, 2)}, 1.0, 0.0)
    text = (tmp_path / "heads.json").read_text()
    for broken in ("", "[]", "{}", text[:-5], text.replace("3.0", "NaN"), text.replace('"head": 1', '"head": -1')):
        (tmp_path / "broken.json").write_text(broken)
        with pytest.raises(InputError, match=r"broken\.json: is no file of heads"):
            read_heads(tmp_path / "broken.json")
    (tmp_path / "large.json").write_text(" " * (2**20 + 1))
    with pytest.raises(InputError, match="too large for a file of heads"):
        read_heads(tmp_path / "large.json")
    with pytest.raises(InputError, match=r"nothing\.json: there is no such file"):
        read_heads(tmp_path / "nothing.json")


def test_an_objective_of_the_app_is_measured_on_the_examples() -> None:
    seen: list[tuple[str, ...]] = []

    def planted(batches: object, guidance: Guidance | None) -> np.ndarray:
        seen.extend(batch.ids for batch in batches)  # type: ignore[attr-defined]
        return np.full(4, float(guidance is not None and 1 in guidance.heads.get("blocks.0.mixer", ())))

    looked = probe_of(Planted(("self", "row")))
    probe = Probe("p", "p", looked.network, looked.read, looked.log_p, "", objectives={"planted": planted})
    found = Hunter(Answers(probe, [tokens(2)]), "planted", find_sites(probe, tokens(2))).hunt()
    assert found["heads"] == ["0.1"] and set(seen) == {tokens(2).ids}
    assert found["said"] == "Guided by 0.1, planted goes from 0 to 1."
