"""Which heads carry the difference between two inputs: activation and path patching between pairs.

Circuit Component Reuse (Merullo et al. 2023, arXiv:2310.08744) and the work that it builds on:

    ld       ln p(correct) - ln p(wrong) of the last answer; correct is what the model answers to the clean input, wrong
             what it answers to the corrupt one
    score    (ld_patched - ld_clean) / (ld_corrupt - ld_clean): 0 changes nothing, 1 is as good as the corrupt input

*Activation patching* puts the corrupt output of a head into a clean pass. *Path patching* does so too, and holds all
other heads at their clean outputs, so that only what the head itself tells the answer is left; or it lets one later
head see the change, and puts that head's new output into a clean pass: what the first tells through the second.

A circuit is the fewest heads, taken in the order of their scores, that are enough and needed: with their corrupt
outputs alone the score reaches ENOUGH of what all heads reach, and with all corrupt outputs but theirs only the rest.

Shapes: B examples, R answers, K classes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from attn.core.attention.watch import intervene, record
from attn.core.errors import UsageError
from attn.look.probe import Batch, Probe
from attn.look.sites import Head, Site, all_heads, scaled

ENOUGH = 0.9  # of what all heads together reach
LEAST = 0.1  # that all heads together must reach: the difference may go beside them
MOST_PAIRS = 8
MOST_IN_PATHS = 6  # heads of a circuit between which paths are asked for


@dataclass(frozen=True, eq=False)
class Pair:
    """A clean and a corrupt example of one size, and the numbers of the answers that the model gives to them."""

    clean: Batch
    corrupt: Batch
    correct: int
    wrong: int


@dataclass(frozen=True, eq=False)
class Task:
    """What `--clean` and `--corrupt` name: pairs of examples, whose scores are averaged."""

    name: str
    pairs: tuple[Pair, ...]


def tasks_of(probe: Probe, clean: Sequence[str], corrupt: Sequence[str]) -> list[Task]:
    """The pairs that a user names; the n-th clean input goes with the n-th corrupt one.

    Raises UsageError unless there are as many clean as corrupt inputs, and for pairs of different size or with the
    same answer.
    """
    if len(clean) != len(corrupt):
        raise UsageError(
            f"--clean is given {len(clean)} times and --corrupt {len(corrupt)} times", hint="each goes with the other"
        )
    return [_task(probe, one, other) for one, other in zip(clean, corrupt, strict=True)]


def _task(probe: Probe, clean: str, corrupt: str) -> Task:
    where = f"{clean} and {corrupt}"
    ones, others = ([each for batch in probe.examples([name]) for each in batch.parts(1)] for name in (clean, corrupt))
    if len(ones) != len(others):
        raise UsageError(f"hold {len(ones)} and {len(others)} examples", where=where, hint="pairs are one to one")
    pairs = []
    for one, other in list(zip(ones, others, strict=True))[:MOST_PAIRS]:
        sizes = [" and ".join("x".join(map(str, arg.shape[1:])) for arg in each.args) for each in (one, other)]
        if sizes[0] != sizes[1]:
            what = f"are of different size, {sizes[0]} and {sizes[1]}"
            raise UsageError(what, where=where, hint="what is patched from one into the other must fit")
        answers = [int(probe.answer(each)[0, -1].argmax()) for each in (one, other)]
        if answers[0] != answers[1]:
            pairs.append(Pair(one, other, *answers))
    if not pairs:
        hint = "a circuit is looked for between two answers"
        raise UsageError(f"have the same answer, {probe.label(answers[0])!r}", where=where, hint=hint)
    return Task(where, tuple(pairs))


class Patching:
    """A pair whose two passes were recorded, and passes of the clean input in which heads are replaced."""

    def __init__(self, probe: Probe, pair: Pair, sites: Sequence[Site]) -> None:
        self.probe, self.pair, self.sites = probe, pair, sites
        self.clean_ld, self.clean = self._record(pair.clean)
        self.corrupt_ld, self.corrupt = self._record(pair.corrupt)

    def _record(self, batch: Batch) -> tuple[float, dict[str, Tensor]]:
        with record(self.probe.network, (), heads=tuple(site.name for site in self.sites)) as seen:
            ld = self.ld(batch)
        return ld, {name: z.clone() for name, z in seen.heads.items()}

    def ld(self, batch: Batch) -> float:
        """The difference of the two answers in a pass, as the model is now."""
        log_p_k = self.probe.answer(batch)[0, -1]
        return float(log_p_k[self.pair.correct] - log_p_k[self.pair.wrong])

    def score(self, heads: dict[str, Callable[[Tensor], Tensor]]) -> float:
        """The score of a clean pass in which the outputs of heads are changed; 0 without a change."""
        if not heads:
            return 0.0
        with intervene(self.probe.network, heads=heads):
            patched = self.ld(self.pair.clean)
        return (patched - self.clean_ld) / (self.corrupt_ld - self.clean_ld)

    def activation(self, heads: Iterable[Head]) -> float:
        """The score with the corrupt outputs of these heads; the others see what comes of it."""
        return self.score({name: self._putting(name, chosen) for name, chosen in self._by_site(heads).items()})

    def without(self, heads: Iterable[Head]) -> float:
        """The score with the corrupt outputs of all heads but these, which are held at their clean ones."""
        held = self._by_site(heads)

        def put(name: str) -> Callable[[Tensor], Tensor]:
            def change(z: Tensor) -> Tensor:
                z = self.corrupt[name].clone()
                z[:, held.get(name, [])] = self.clean[name][:, held.get(name, [])]
                return z

            return change

        return self.score({site.name: put(site.name) for site in self.sites})

    def path(self, sender: Head, receiver: Head | None = None) -> float:
        """The score of what a head tells the answer itself, or what it tells through one later head."""
        frozen = {site.name: self._frozen(site.name, sender) for site in self.sites}
        if receiver is None:
            return self.score(frozen)
        name = self.sites[receiver.layer].name
        frozen[name] = self._frozen(name, sender, but=receiver.head)
        with intervene(self.probe.network, heads=frozen), record(self.probe.network, (), heads=name) as seen:
            self.probe.answer(self.pair.clean)
        heard = seen.heads[name][:, receiver.head].clone()

        def put(z: Tensor) -> Tensor:
            z = z.clone()
            z[:, receiver.head] = heard
            return z

        return self.score({name: put})

    def _by_site(self, heads: Iterable[Head]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for head in heads:
            found.setdefault(self.sites[head.layer].name, []).append(head.head)
        return found

    def _putting(self, name: str, chosen: list[int]) -> Callable[[Tensor], Tensor]:
        def put(z: Tensor) -> Tensor:
            z = z.clone()
            z[:, chosen] = self.corrupt[name][:, chosen]
            return z

        return put

    def _frozen(self, name: str, sender: Head, but: int | None = None) -> Callable[[Tensor], Tensor]:
        """All heads of a site at their clean outputs, the sender at its corrupt one, and `but` as it comes."""

        def freeze(z: Tensor) -> Tensor:
            held = self.clean[name].clone()
            if self.sites[sender.layer].name == name:
                held[:, sender.head] = self.corrupt[name][:, sender.head]
            if but is not None:
                held[:, but] = z[:, but]
            return held

        return freeze


def find_circuit(
    probe: Probe, task: Task, sites: list[Site], advance: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Scores of all heads, the circuit, what it recovers, and the paths between its heads; means over the pairs.

    Raises UsageError for a layer that attends several times in a pass, whose outputs no single record holds.
    """
    several = next((site for site in sites if site.passes > 1), None)
    if several is not None:
        raise UsageError(
            f"{several.name} attends {several.passes} times in a pass", hint="no circuit can be looked for"
        )
    patchings = [Patching(probe, pair, sites) for pair in task.pairs]

    def mean(score: Callable[[Patching], float]) -> float:
        return sum(map(score, patchings)) / len(patchings)

    heads = all_heads(sites)
    rows: list[dict[str, Any]] = []
    for head in heads:
        scores = [(each.activation([head]), each.path(head)) for each in patchings]
        activation, path = (sum(each) / len(patchings) for each in zip(*scores, strict=True))
        rows.append({"name": str(head), "activation": activation, "path": path})
        advance()
    everything = mean(lambda each: each.activation(heads))
    circuit: list[Head] = []
    reached, beside = 0.0, everything
    if everything >= LEAST:
        for n in sorted(range(len(heads)), key=lambda n: -abs(rows[n]["activation"])):
            circuit.append(heads[n])
            reached = mean(lambda each: each.activation(circuit))
            beside = mean(lambda each: each.without(circuit))
            if reached >= ENOUGH * everything and beside <= (1 - ENOUGH) * everything:
                break
    circuit.sort()
    inner = circuit[:MOST_IN_PATHS]
    paths = [
        {"from": str(a), "to": str(b), "score": mean(lambda each, a=a, b=b: each.path(a, b))}  # type: ignore[misc]
        for a in inner
        for b in inner
        if a.layer < b.layer
    ]
    first = task.pairs[0]
    return {
        "task": task.name,
        "pairs": len(task.pairs),
        "correct": probe.label(first.correct),
        "wrong": probe.label(first.wrong),
        "ld_clean": mean(lambda each: each.clean_ld),
        "ld_corrupt": mean(lambda each: each.corrupt_ld),
        "all_heads": everything,
        "circuit": [str(head) for head in circuit],
        "recovered": reached,
        "beside": beside,
        "heads": rows,
        "paths": paths,
    }


def overlap(one: Sequence[str], other: Sequence[str], heads: int) -> dict[str, float | None]:
    """|A ∩ B| / |A ∪ B| of two circuits, what as large sets at random have on average, and how often they have as much.

    None where a circuit is empty.
    """
    from scipy.stats import hypergeom

    a, b, shared = len(one), len(other), len({*one} & {*other})
    if not a or not b:
        return {"overlap": None, "chance": None, "p": None}
    drawn = hypergeom(heads, a, b)
    expected = sum(float(drawn.pmf(k)) * k / (a + b - k) for k in range(min(a, b) + 1))
    return {"overlap": shared / (a + b - shared), "chance": expected, "p": float(drawn.sf(shared - 1))}


def scaled_ld(probe: Probe, task: Task, factors: dict[Head, float], sites: list[Site]) -> tuple[float, float]:
    """The mean ld of the clean inputs, before and after heads are scaled."""
    before = after = 0.0
    for pair in task.pairs:

        def ld(pair: Pair = pair) -> float:
            log_p_k = probe.answer(pair.clean)[0, -1]
            return float(log_p_k[pair.correct] - log_p_k[pair.wrong])

        before += ld()
        with intervene(probe.network, heads=scaled(factors, sites)):
            after += ld()
    return before / len(task.pairs), after / len(task.pairs)
