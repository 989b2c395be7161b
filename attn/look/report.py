"""A report as one page: no request leaves it, every picture has a text, and it can be read on a telephone."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from attn.cells import cell
from attn.look.draw import grey, heat, png

MOST_INPUTS = 20  # that the page lists; the JSON has all
MOST_DISTANCES = 40  # of a scale, beyond which the largest shares are shown
SHOWN = (
    "name", "pattern", "drop", "js", "entropy", "norm", "diversity", "sink", "sink_token", "near", "near_uniform",
    "site",
)  # fmt: skip
STEERED = "The first sink, as the MLP that makes it is turned down and up; norm 1 is the model as it is."
WINDOWED = (
    "NLL of the true tokens with all of the past, with a window of the last keys, and with a window as large that "
    "never forgets the sinks, or the first token where there are none."
)
PATCHED = (
    "0 is the answer to the clean input, 1 that to the corrupt one. activation: with the corrupt output of a head. "
    "path: what the head itself tells the answer, while all others are held."
)
SHARED = "What two circuits share of all their heads, beside what sets as large share by chance."
HUNTED = (
    "What the model says is pushed away from what it says with some heads looking at themselves; in each round the "
    "head joins with which the objective is best."
)
NOTHING = {"share": np.nan, "uniform": np.nan}
STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; margin: 0 auto; max-width: 60rem;
  padding: 0 1rem 3rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; border-top: 1px solid #ccc; padding-top: 1rem; }
.wide { overflow-x: auto; } svg { display: block; } svg text { font: 13px system-ui, sans-serif; fill: #1b1b1b; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { white-space: nowrap; padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
figure { display: inline-block; margin: 0 1rem 1rem 0; } figcaption { font-size: .85rem; max-width: 12rem; }
p, li, figcaption { overflow-wrap: anywhere; } .note { color: #555; }
"""
HEAD = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
)


def page(report: Mapping[str, Any], figures: Sequence[tuple[str, str]] = ()) -> str:
    """The page of a report. figures: pictures as HTML, each with what it shows."""
    title = f"Looking inside {report['model']}"
    parts = [HEAD, f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><h1>{escape(title)}</h1>"]
    parts += [_paragraph(f"The answer that is looked at: {report['answers']}.")]
    if report.get("cannot"):
        parts.append(_paragraph(f"{report['cannot']}."))
    parts += [_section("Inputs", _inputs(report, figures))]
    if report["heads"]:
        parts += [_section("Which heads matter", _importance(report)), _section("Where heads look", _distances(report))]
        parts.append(_section("What each head does", _heads(report["heads"])))
        parts.append(_section("Patterns", _patterns(report["patterns"])))
        parts.append(_section("Where attention drains away", _sinks(report["sinks"])))
    if report["circuits"]:
        parts.append(_section("Circuits", _circuits(report)))
    if report["scaled"]:
        parts.append(_section("Scaled heads", _scaled(report)))
    if report["hunted"]:
        parts.append(_section("Heads that guide", _hunted(report["hunted"])))
    if report["modules"]:
        parts.append(_section("Which layers matter", [_table(report["modules"])]))
    parts.append(_paragraph(f"This report took {report['cpu_seconds']:.0f} seconds of a core.", "note"))
    return "\n".join([*parts, "</body></html>", ""])


def _inputs(report: Mapping[str, Any], figures: Sequence[tuple[str, str]]) -> list[str]:
    drawn = [f"<figure>{picture}<figcaption>{escape(said)}</figcaption></figure>" for picture, said in figures]
    rows = report["inputs"]
    more = [_paragraph(f"{len(rows) - MOST_INPUTS} more inputs.")] if len(rows) > MOST_INPUTS else []
    return [*drawn, _table(rows[:MOST_INPUTS]), *more]


def _importance(report: Mapping[str, Any]) -> list[str]:
    layers, rows = report["layers"], report["heads"]
    values = np.full((len(layers), max(layer["heads"] for layer in layers)), np.nan)
    for row in rows:
        values[row["layer"], row["head"]] = row["drop"]
    best = max(rows, key=lambda row: row["drop"])
    said = f"Without head {best['name']} the true answer loses most: {best['drop']:.4f} of its probability."
    names = [str(layer["layer"]) for layer in layers]
    heads = [str(head) for head in range(values.shape[1])]
    largest = sorted(rows, key=lambda row: -row["js"])[:10]
    shares = [*rows[0]["partial"]]
    partial = [
        {"head": row["name"]} | {f"{float(share):.0%} away": row["partial"][share]["js"] for share in shares}
        for row in largest
    ]
    return [
        _paragraph(said),
        _wide(heat(values, names, heads, f"Drop of the true answer without each head, a line a layer. {said}")),
        _paragraph("A line is a layer, a column a head; red heads are needed, without blue ones the answer is surer."),
        _paragraph("How far the answer moves (Jensen-Shannon divergence, nats) as a head is taken away in part:"),
        _table(partial),
    ]


def _distances(report: Mapping[str, Any]) -> list[str]:
    parts = []
    scales = dict.fromkeys(scale for row in report["heads"] for scale in row["distance"])
    for scale in scales:
        rows = [row for row in report["heads"] if scale in row["distance"]]
        labels = list(dict.fromkeys(label for row in rows for label in row["distance"][scale]))
        tables = [row["distance"][scale] for row in rows]
        shares = np.array([[table.get(label, NOTHING)["share"] for label in labels] for table in tables])
        even = [tables[0].get(label, NOTHING)["uniform"] for label in labels]
        if len(labels) > MOST_DISTANCES:
            kept = sorted(np.argsort(-np.nan_to_num(shares).max(0))[:MOST_DISTANCES])
            labels, shares, even = [labels[k] for k in kept], shares[:, kept], [even[k] for k in kept]
        table = np.vstack([shares, even])
        names = [*(row["name"] for row in rows), "uniform"]
        alt = f"Share of the attention of each head by {scale}; the last line is uniform attention"
        parts += [_paragraph(f"Share of each head's attention by {scale}; the last line is uniform attention."),
                  _wide(heat(table, names, labels, alt, most=1.0 if table.max() > 0.5 else None))]  # fmt: skip
    return parts or [_paragraph("Nothing says how far apart these tokens are.")]


def _heads(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    shown = (
        "name",
        "pattern",
        "drop",
        "js",
        "entropy",
        "norm",
        "diversity",
        "sink",
        "sink_token",
        "near",
        "near_uniform",
        "site",
    )
    return [
        _table([{name: row[name] for name in shown} for row in rows]),
        _paragraph(
            "entropy: nats, of a query's weights. norm: of the head's output. diversity: divergence from the other "
            "heads of its layer, 0 to 1. sink: the largest share that one token gets from all. near: share that stays "
            "near, beside that of uniform attention.",
            "note",
        ),
    ]


def _patterns(found: Mapping[str, Any]) -> list[str]:
    parts = [_paragraph("Maps of heads, told apart by an autoencoder; a line is a query, a column a key.")]
    for row in found["clusters"]:
        heads = ", ".join(row["heads"])
        drawn = png(
            grey(np.array(row["map"])), f"The mean map of the pattern: {row['name']}, of heads {heads}", side=96
        )
        parts.append(f"<figure>{drawn}<figcaption>{escape(row['name'])}: heads {escape(heads)}</figcaption></figure>")
    return parts


def _sinks(found: Mapping[str, Any]) -> list[str]:
    shown = ("token", "kind", "level", "score", "norm", "made_by", "by_mlp", "by_attention", "input")
    parts = [_paragraph(found["said"]), _table([{name: row[name] for name in shown} for row in found["found"]])]
    if found["steering"]:
        parts += [_paragraph(STEERED), _table(found["steering"])]
    if found["windows"]:
        parts += [_paragraph(WINDOWED), _table(found["windows"])]
    return parts


def _circuits(report: Mapping[str, Any]) -> list[str]:
    parts = [_paragraph(PATCHED)]
    for row in report["circuits"]:
        heads = ", ".join(row["circuit"]) or "no head: heads do not carry the difference"
        said = (
            f"{row['model']}, {row['task']}: from {row['correct']} to {row['wrong']}. The circuit is {heads}. "
            f"It recovers {row['recovered']:.3g}, all heads {row['all_heads']:.3g}, all but it {row['beside']:.3g}."
        )
        parts += [_paragraph(said)]
        if "ld_scaled" in row:
            parts.append(_paragraph(f"ld of the clean input is {row['ld_clean']:.4g}, {row['ld_scaled']:.4g} scaled."))
        values = np.array([[each["activation"], each["path"]] for each in row["heads"]]).T
        names = [each["name"] for each in row["heads"]]
        parts += [_wide(heat(values, ["activation", "path"], names, f"Scores of the heads. {said}"))]
        parts += [_table(row["paths"])]
    if report["overlaps"]:
        parts += [_paragraph(SHARED), _table(report["overlaps"])]
    return parts


def _scaled(report: Mapping[str, Any]) -> list[str]:
    heads = ", ".join(f"{name} times {factor:g}" for name, factor in report["scaled"]["heads"].items())
    effect = {name: report["scaled"][name] for name in ("drop", "js", "nll")}
    return [_paragraph(f"Heads {heads}: what the true answer loses, and how far the answers move."), _table([effect])]


def _hunted(found: Mapping[str, Any]) -> list[str]:
    alone = [{"head": name, found["objective"]: value} for name, value in found["alone"].items()]
    return [
        _paragraph(f"{HUNTED} {found['said']}"),
        _table(found["rounds"]),
        _paragraph("Each head alone:"),
        _table(sorted(alone, key=lambda row: -row[found["objective"]])),
    ]


def _section(title: str, parts: Iterable[str]) -> str:
    return "\n".join([f"<section><h2>{escape(title)}</h2>", *parts, "</section>"])


def _paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def _wide(inside: str) -> str:
    return f'<div class="wide" tabindex="0">{inside}</div>'


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(name.replace("_", " "))}</th>' for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_cell(row.get(name)))}</td>" for name in rows[0]) + "</tr>" for row in rows
    )
    return _wide(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else cell(value)
