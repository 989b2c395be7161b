"""A look inside a model: every question in turn, the numbers of all of them, and the pictures of the page."""

from collections.abc import Sequence
from typing import Any

from attn import console
from attn.core.attention.watch import record
from attn.look.draw import overlaid, png
from attn.look.heads import received, squared, statistics
from attn.look.importance import Answers, importance, layer_importance, true_answer
from attn.look.probe import Batch, Probe
from attn.look.sites import Site, all_heads, find_sites, mixers_of

MOST_PICTURES = 6
MOST_INPUTS = 20  # that the table of inputs shows

Report = dict[str, Any]


def look(probe: Probe, inputs: Sequence[str]) -> tuple[Report, list[tuple[str, str]]]:
    """The numbers of a report, and its pictures as HTML, each with what it shows. Raises UsageError and InputError."""
    batches = probe.examples(inputs)
    sites = find_sites(probe, batches[0])
    answers = Answers(probe, batches)
    steps = len(batches) + len(all_heads(sites)) + len(mixers_of(probe))
    with console.progress(steps, "looking") as advance:
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
        }
    return report, _pictures(probe, batches, sites, rows)


def cannot(probe: Probe) -> str:
    """For a model without attention weights: which questions can be answered, in one sentence."""
    modules = mixers_of(probe)
    can = "which of its layers matter, and what it answers," if modules else "what it answers"
    return (
        f"{probe.name} has no attention weights, so that only {can} can be said; which heads matter, where they look, "
        "their patterns, sinks and circuits are questions for a model with attention weights."
    )


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


def _pictures(
    probe: Probe, batches: Sequence[Batch], sites: list[Site], rows: list[dict[str, Any]]
) -> list[tuple[str, str]]:
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
