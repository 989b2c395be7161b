"""HeadHunter: the heads whose softening guides a model towards an objective, picked greedily.

"Where and How to Perturb" (Ahn et al. 2025, arXiv:2506.10978), algorithm 1: in each round every head that is left joins
those already picked, the objective is measured under guidance (`attn.core.decoding.guidance`), and the best joins. The
paper takes a fixed number of rounds; here a round must be better than the one before on the same pairs of input and
seed, by a t-test at LEVEL over the number of heads tried, so that nothing is found where there is nothing.

Shapes: P pairs, B examples, R answers of an example, K classes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field

from attn.core.attention.watch import AttentionRecord, intervene, record
from attn.core.decoding.guidance import MOST_STRENGTH, SOFTNESS, STRENGTH, Guidance
from attn.core.errors import UsageError
from attn.core.files import replacing
from attn.core.settings import read_made
from attn.look.importance import Answers, true_answer
from attn.look.probe import Objective, Probe
from attn.look.sites import Head, Site, all_heads

TRUE = "true"  # the objective that every model has
MOST_ROUNDS = 5
LEVEL = 0.05  # of the t-test of a round, shared by the heads that are tried in it
LEAST_GAIN = 1e-5  # of an objective: a smaller one is rounding
LEAST_PAIRS = 4  # fewer tell nothing apart


class FoundHead(BaseModel):
    """A head that was picked: its name, the module in which it is, its number there, and the objective with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(max_length=32)
    site: str = Field(max_length=1000)
    head: int = Field(ge=0, le=65_536)
    value: float = Field(allow_inf_nan=False)


class FoundHeads(BaseModel):
    """What `attn look --hunt` writes: the heads, for which objective, and of which model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    made_by: Literal["made by attn"] = "made by attn"
    app: str = Field(max_length=100)
    model: str = Field(max_length=4096)
    fingerprint: str = Field(max_length=100)
    objective: str = Field(max_length=100)
    start: float = Field(allow_inf_nan=False)
    strength: float = Field(ge=0, le=MOST_STRENGTH)
    softness: float = Field(ge=0, le=1)
    heads: tuple[FoundHead, ...] = Field(max_length=4096)

    def guidance(self, strength: float | None = None, softness: float | None = None) -> Guidance:
        """Guidance by these heads, as they were hunted unless a value is given."""
        chosen = _by_site([(head.site, head.head) for head in self.heads])
        return Guidance(
            chosen,
            self.strength if strength is None else strength,
            self.softness if softness is None else softness,
        )

    def save(self, path: Path) -> None:
        """Write a JSON file."""
        with replacing(path) as part:
            part.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_heads(path: Path) -> FoundHeads:
    """The heads of a file that `attn look --hunt` wrote. Raises InputError."""
    return read_made(path, FoundHeads, "file of heads", "`attn look MODEL INPUT --hunt OBJECTIVE` writes one")


class Hunter:
    """A hunt for an objective in a model: one of its app's, or the true class.

    Raises UsageError for an objective that the model has not, for a model without heads that can be softened, and for
    fewer than LEAST_PAIRS inputs.
    """

    def __init__(self, answers: Answers, name: str, sites: Sequence[Site]) -> None:
        probe = answers.probe
        there = [TRUE, *probe.objectives]
        if name not in there:
            raise UsageError(f"{probe.name} has no objective {name[:40]!r}", hint=f"there are {', '.join(there)}")
        if name == TRUE:
            require_pairs(sum(map(len, answers.targets)))
        fitting = softened_sites(answers, sites)
        self.answers, self.name, self.sites = answers, name, sites
        self.heads = [head for head in all_heads(sites) if sites[head.layer].name in fitting]
        if not self.heads:
            raise UsageError(f"{probe.name} has no heads that look at themselves", hint="leave --hunt out")

    @property
    def most(self) -> int:
        """How often the objective is measured at most."""
        return 1 + sum(len(self.heads) - n for n in range(min(MOST_ROUNDS, len(self.heads))))

    def hunt(self, advance: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """The row of a report. Raises UsageError for fewer than LEAST_PAIRS inputs."""

        def objective(guidance: Guidance | None) -> Float[np.ndarray, " P"]:
            if self.name == TRUE:
                return true_class(self.answers, guidance)
            return self.answers.probe.objectives[self.name](self.answers.batches, guidance)

        found = hunt(objective, self.heads, self.sites, advance=advance)
        names = ", ".join(found["heads"])
        said = (
            f"No head guides towards {self.name}."
            if not names
            else (f"Guided by {names}, {self.name} goes from {found['start']:.4g} to {found['value']:.4g}.")
        )
        return {"objective": self.name, "said": said, **found}


def true_class(answers: Answers, guidance: Guidance | None) -> Float[np.ndarray, " P"]:
    """The mean log-probability of the true answers of each example, under guidance."""
    values = []
    for batch, log_p_brk, target_br in zip(answers.batches, answers.log_p, answers.targets, strict=True):
        if guidance is not None and guidance.active:
            with intervene(answers.probe.network, weights=guidance.softening()):
                softened_brk = answers.probe.answer(batch)
            # what is impossible stays so: infinity less infinity is no number
            guided_brk = torch.where(log_p_brk.isinf(), log_p_brk, guidance.guided(log_p_brk, softened_brk))
            log_p_brk = guided_brk.log_softmax(-1)
        values.append(true_answer(log_p_brk, target_br).mean(-1).numpy())
    return np.concatenate(values)


def softened_sites(answers: Answers, sites: Sequence[Site]) -> set[str]:
    """The sites at which every query is one of its own keys: elsewhere there is no identity to soften towards."""

    def same(seen: AttentionRecord) -> bool:
        query, key = ({*each.flatten().tolist()} - {-1} for each in (seen.query_positions, seen.key_positions))
        return query == key

    with record(answers.probe.network, tuple(site.name for site in sites), keep=same) as seen:
        answers.probe.answer(answers.batches[0])
    return {name for name, fits in seen.items() if fits}


def hunt(
    objective: Objective,
    heads: Sequence[Head],
    sites: Sequence[Site],
    *,
    strength: float = STRENGTH,
    softness: float = SOFTNESS,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The heads picked, the objective without and with them, and that with each head alone.

    Raises UsageError for fewer than LEAST_PAIRS pairs.
    """

    def measured(chosen: Sequence[Head]) -> Float[np.ndarray, " P"]:
        by_site = _by_site([(sites[head.layer].name, head.head) for head in chosen])
        found = objective(Guidance(by_site, strength, softness) if chosen else None)
        advance()
        return found

    start_p = now_p = measured([])
    require_pairs(len(start_p))
    picked: list[Head] = []
    rounds: list[dict[str, Any]] = []
    alone: dict[str, float] = {}
    while len(picked) < min(MOST_ROUNDS, len(heads)):
        tried = {head: measured([*picked, head]) for head in heads if head not in picked}
        if not alone:
            alone = {str(head): float(value_p.mean()) for head, value_p in tried.items()}
        best = max(tried, key=lambda head: float(tried[head].mean()))
        p = chance(tried[best] - now_p)
        if not p <= LEVEL / len(tried):
            break
        picked.append(best)
        now_p = tried[best]
        rounds.append({"name": str(best), "value": float(now_p.mean()), "p": p})
    return {
        "pairs": len(start_p),
        "start": float(start_p.mean()),
        "value": float(now_p.mean()),
        "strength": strength,
        "softness": softness,
        "heads": [str(head) for head in picked],
        "rounds": rounds,
        "alone": alone,
    }


def found_heads(probe: Probe, report: dict[str, Any]) -> FoundHeads:
    """What a hunt found, as it is written."""
    found, layers = report["hunted"], report["layers"]
    rows = []
    for row in found["rounds"]:
        layer, head = map(int, row["name"].split("."))
        rows.append(FoundHead(name=row["name"], site=layers[layer]["site"], head=head, value=row["value"]))
    kept = {name: found[name] for name in ("objective", "start", "strength", "softness")}
    return FoundHeads(app=probe.app, model=probe.name, fingerprint=probe.fingerprint, heads=tuple(rows), **kept)


def require_pairs(pairs: int) -> None:
    """Raise UsageError where a hunt could tell nothing."""
    if pairs < LEAST_PAIRS:
        raise UsageError(f"a hunt compares at least {LEAST_PAIRS} inputs, not {pairs}", hint="give more of them")


def chance(gain_p: Float[np.ndarray, " P"]) -> float:
    """One-sided p of a paired t-test that the mean gain is not above 0; 1 where there is none."""
    from scipy.special import stdtr  # the tail of Student's t; scipy.stats takes seconds to load

    if not gain_p.mean() > LEAST_GAIN:
        return 1.0
    if gain_p.std() < 1e-9 * float(gain_p.mean()):
        return 0.0  # all pairs gain alike
    t = gain_p.mean() / (gain_p.std(ddof=1) / np.sqrt(len(gain_p)))
    return float(stdtr(len(gain_p) - 1, -t))


def _by_site(chosen: Sequence[tuple[str, int]]) -> dict[str, tuple[int, ...]]:
    by_site: dict[str, tuple[int, ...]] = {}
    for site, head in chosen:
        by_site[site] = (*by_site.get(site, ()), head)
    return by_site
