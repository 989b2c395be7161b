"""A look inside a model: every question in turn, the numbers of all of them, and the pictures of the page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from time import process_time
from typing import Any

from attn import console
from attn.core.attention.watch import record
from attn.core.errors import UsageError
from attn.look.circuits import find_circuit, overlap, scaled_ld, tasks_of
from attn.look.draw import overlaid, png
from attn.look.heads import received, squared, statistics
from attn.look.hunting import Hunter
from attn.look.importance import Answers, importance, layer_importance, true_answer
from attn.look.patterns import patterns
from attn.look.probe import Batch, Probe
from attn.look.sinks import SCORE, Stack, find_sinks, stacks_of, watch_stack
from attn.look.sites import Head, Site, all_heads, find_sites, fitting, head_named, mixers_of
from attn.look.steering import steer, windows

MOST_PICTURES = 6
LARGEST_FACTOR = 100.0

Report = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Question:
    """What a user asks beside the questions that are always asked.

    clean, corrupt: pairs of inputs between which a circuit is looked for. scale: heads and factors, as in "2.1=1.5".
    against: another model, whose circuits between the same pairs are compared. hunt: the objective for which heads are
    picked.
    """

    clean: Sequence[str] = ()
    corrupt: Sequence[str] = ()
    scale: Sequence[str] = ()
    against: Probe | None = None
    hunt: str | None = None


def look(probe: Probe, inputs: Sequence[str], asked: Question | None = None) -> tuple[Report, list[tuple[str, str]]]:
    """The numbers of a report, and its pictures as HTML, each with what it shows. Raises UsageError and InputError.

    Without inputs those of the pairs are looked at.
    """
    asked = asked or Question()
    began = process_time()
    batches = fitting(probe, probe.examples(inputs or [*asked.clean, *asked.corrupt]))
    sites = find_sites(probe, batches[0])
    if not sites and (asked.clean or asked.corrupt or asked.scale or asked.hunt):
        raise UsageError(cannot(probe), hint="leave --clean, --corrupt, --scale and --hunt out")
    factors = factors_of(asked.scale, sites)  # what is wrong with a head is said before the work
    answers = Answers(probe, batches)
    hunter = None if asked.hunt is None else Hunter(answers, asked.hunt, sites)
    heads = all_heads(sites)
    tasks = len(asked.clean) * (1 if asked.against is None else 2)
    with console.progress(len(batches) + len(heads) * (1 + tasks) + len(mixers_of(probe)) + 2, "looking") as advance:
        circuits = _circuits(probe, sites, asked, factors, advance)
        rows = statistics(probe, batches, sites, advance) if sites else []
        found = importance(answers, sites, advance)
        for row, measured in zip(rows, found.values(), strict=True):
            row.update(measured)
        report: Report = {
            "model": probe.name,
            "app": probe.app,
            "answers": probe.answers,
            "cannot": None if sites else cannot(probe),
            "inputs": _inputs(answers),
            "layers": [{"layer": n, "site": s.name, "heads": s.heads, "over": s.over} for n, s in enumerate(sites)],
            "heads": rows,
            "modules": layer_importance(answers, advance),
            "patterns": patterns(probe, batches, sites),
        }
        advance()
        report |= {"sinks": _sinks(answers, sites), **circuits, "scaled": _scaled(answers, factors, sites)}
        advance()
    report["hunted"] = None
    if hunter is not None:
        with console.progress(hunter.most, "hunting") as advance:
            report["hunted"] = hunter.hunt(advance)
    report["cpu_seconds"] = round(process_time() - began, 1)
    for row in rows:
        row["pattern"] = report["patterns"]["heads"].get(row["name"])
    return report, _pictures(probe, batches, rows)


def cannot(probe: Probe) -> str:
    """For a model without attention weights: which questions can be answered, in one sentence."""
    modules = mixers_of(probe)
    can = "which of its layers matter, and what it answers," if modules else "what it answers"
    return (
        f"{probe.name} has no attention weights, so that only {can} can be said; which heads matter, where they look, "
        "their patterns, sinks and circuits are questions for a model with attention weights"
    )


def factors_of(scale: Sequence[str], sites: list[Site]) -> dict[Head, float]:
    """Heads and factors of `HEAD=1.5`. Raises UsageError."""
    factors = {}
    for text in scale:
        name, equals, number = text.partition("=")
        try:
            factor = float(number)
        except ValueError:
            factor = float("nan")
        if not equals or not 0 <= factor <= LARGEST_FACTOR:
            what = f"--scale is HEAD=FACTOR with a factor from 0 to {LARGEST_FACTOR:g}, not {text[:40]!r}"
            raise UsageError(what, hint="write it as in 2.1=1.5")
        factors[head_named(name, sites)] = factor
    return factors


def _sinks(answers: Answers, sites: list[Site]) -> Report:
    """The sinks of the examples, what steering the first one does, and what windows of attention do."""
    probe, batches = answers.probe, answers.batches
    rows: list[dict[str, Any]] = []
    steering: list[dict[str, Any]] = []
    window: list[dict[str, Any]] = []
    first, stacks = Answers(probe, batches[:1]), 0
    for batch in batches:
        for stack in stacks_of(batch, find_sites(probe, batch)):
            stacks += 1
            seen = watch_stack(probe, batch, stack)
            found = find_sinks(seen, stack, batch.ids)
            rows += [sink.row() for sink in found]
            if batch is not batches[0]:
                continue
            for sink in [each for each in found if each.example == batch.ids[0]][:1]:
                steering += [
                    {"sink": sink.name, "mlp": sink.made_by, **row} for row in steer(answers, stack, seen, sink)
                ]
            kept = [sink.token for sink in found] or [0]
            window += [
                {"keeps": ", ".join(sink.name for sink in found) or stack.layout.tokens[0], **row}
                for row in (windows(first, stack, kept) if _in_time(stack) else ())
            ]
    said = f"None found: no head gives a token both {SCORE:g} of all attention and three times the even share."
    if not stacks:
        said = "Not looked for: nothing says where the tokens of these layers lie, or they are too many."
    if rows:
        kinds = {kind: len([row for row in rows if row["kind"] == kind]) for kind in {row["kind"] for row in rows}}
        said = f"Found: {', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}."
    return {"said": said if sites else None, "found": rows, "steering": steering, "windows": window}


def _in_time(stack: Stack) -> bool:
    """Whether the tokens are a sequence that is written one after another."""
    return stack.layout.grid is None and bool((stack.layout.scales[0].number_nn < 0).any())


def _circuits(
    probe: Probe, sites: list[Site], asked: Question, factors: dict[Head, float], advance: Callable[[], None]
) -> Report:
    """The circuit of each task, also in the other model, and how much each two share."""
    tasks = tasks_of(probe, asked.clean, asked.corrupt)
    found = [{"model": probe.name, **find_circuit(probe, task, sites, advance)} for task in tasks]
    if factors:
        for row, task in zip(found, tasks, strict=True):
            row["ld_scaled"] = scaled_ld(probe, task, factors, sites)[1]
    if asked.against is not None:
        if not tasks:
            raise UsageError("--against compares circuits", hint="give --clean and --corrupt as well")
        other = asked.against
        their_sites = find_sites(other, other.examples(list(asked.clean[:1]))[0])
        shapes = [[site.heads for site in each] for each in (sites, their_sites)]
        if shapes[0] != shapes[1]:
            raise UsageError(f"has layers with {shapes[1]} heads, not {shapes[0]}", where=other.name)
        for task in tasks_of(other, asked.clean, asked.corrupt):
            found.append({"model": f"{other.name} (against)", **find_circuit(other, task, their_sites, advance)})
    heads = len(all_heads(sites))
    shared = [
        {"one": _called(a), "other": _called(b), **overlap(a["circuit"], b["circuit"], heads)}
        for a, b in combinations(found, 2)
    ]
    return {"circuits": found, "overlaps": shared}


def _called(circuit: Report) -> str:
    return f"{circuit['model']}: {circuit['task']}"


def _scaled(answers: Answers, factors: dict[Head, float], sites: list[Site]) -> Report | None:
    """What scaling heads does to the answers to the inputs."""
    if not factors:
        return None
    return {"heads": {str(head): factor for head, factor in factors.items()}, **answers.scaled(factors, sites)}


def _inputs(answers: Answers) -> list[dict[str, Any]]:
    """What the model answers to each input: the true answer and its probability, or the mean over several answers."""
    rows: list[dict[str, Any]] = []
    for batch, log_p, target in zip(answers.batches, answers.log_p, answers.targets, strict=True):
        true = true_answer(log_p, target)
        for place, name in enumerate(batch.ids):
            row: dict[str, Any] = {"input": name}
            if target.shape[1] == 1:
                row["true"] = answers.probe.label(int(target[place, 0]))
            else:
                row["answers"] = target.shape[1]
                row["nll"] = -float(true[place].mean())
            row["probability"] = float(true[place].exp().mean())
            rows.append(row)
    return rows


def _pictures(probe: Probe, batches: Sequence[Batch], rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Inputs that are pictures, with the attention that each place gets from the head that matters most."""
    shown = [batch for batch in batches if batch.pictures][:1]
    if not shown:
        return []
    batch = shown[0]
    figures = [(png(each, f"The input {name}"), name) for each, name in zip(batch.pictures, batch.ids, strict=True)]
    on_map = [row for row in rows if row["distance"]]
    if not on_map:
        return figures[:MOST_PICTURES]
    best = max(on_map, key=lambda row: row["drop"])
    with record(probe.network, best["site"]) as seen:
        probe.answer(batch)
    square = squared(seen[best["site"]], batch, best["site"])
    assert square is not None and square[1].grid is not None, "a row with distances has a layout"
    share_bn = received(square[0])[:, best["head"], square[1].before :]
    drawn = []
    for place, pair in enumerate(figures[:MOST_PICTURES]):
        map_pq = share_bn[place].reshape(square[1].grid).cpu().numpy()
        said = f"what head {best['name']} looks at, in red"
        drawn += [pair, (png(overlaid(batch.pictures[place], map_pq), f"{batch.ids[place]}: {said}"), said)]
    return drawn
