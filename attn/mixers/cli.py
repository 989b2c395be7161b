"""The `attn mixers` commands: the list of mechanisms, what they cost, and what they are worth in an app."""

from pathlib import Path
from typing import Annotated, Any

import typer

from attn import console
from attn.core.errors import UsageError
from attn.mixers.forms import FORMS
from attn.options import MOST_COUNT, AsJson, Device, OutReport, Seeds, claiming, count, number

MOST_TOKENS = 1_048_576

Mixers = Annotated[str | None, typer.Option(help="Mechanisms, as in a,b,c; all that fit when not given.")]

app = typer.Typer(help="Attention mechanisms: listed, timed, and compared in an app.")


@app.callback(invoke_without_command=True)
def mixers(context: typer.Context, as_json: AsJson = False) -> None:
    """List the attention mechanisms that `--mixer` can name: the apps that they fit, and what they cost.

    `bench` measures what they cost, and `compare` what they are worth in an app.
    """
    if context.invoked_subcommand is not None:
        if as_json:
            raise UsageError("--json has no effect before a command", hint="write it behind")
        return
    from dataclasses import asdict

    from attn.core.mixers import available

    rows = []
    for info in available():
        apps = [app for app, form in FORMS.items() if form.dims in info.dims and info.has(form.causal)]
        rows.append({"name": info.name, "apps": apps, **asdict(info)})
    console.show_table(rows, title="mixers", as_json=as_json)


@app.command()
@claiming
def bench(
    tokens: Annotated[str, typer.Option(help="Numbers of tokens; of a map, its side is the root.")] = "256,1024,4096",
    mixers: Mixers = None,
    width: Annotated[int, count("Channels of an attention layer, all heads together.", most=16_384)] = 64,
    heads: Annotated[int, count("Attention heads of a layer.", most=1024)] = 4,
    device: Device = None,
    out: OutReport = None,
    as_json: AsJson = False,
) -> None:
    """Measure a layer of each mechanism: time, memory, products, and how they grow with the tokens.

    Times are of the processor, all threads together, or of a GPU. `times` compares a pass with plain attention's.
    `claimed` is the exponent that `attn mixers` states, `fitted` that of the products, `fitted_time` that of the time.
    """
    from attn.mixers.bench import layers, rows_of

    sizes = _sizes(tokens)
    chosen = layers([name for name in (mixers or "").split(",") if name], width, heads, device or "cpu")
    rows: list[dict[str, Any]] = []
    with console.progress(len(chosen), "measuring") as advance:
        for layer in chosen:
            rows += rows_of(layer, sizes)
            advance()
    if out is not None:
        from attn.mixers.bench_picture import draw

        draw(rows, out / "costs.png")
        console.write_report(out, {"width": width, "heads": heads, "rows": rows}, out / "costs.png")
    console.show_table(rows, title="costs", as_json=as_json)


def _sizes(text: str) -> list[int]:
    sizes = [int(part) if part.isascii() and part.isdigit() and len(part) < 8 else 0 for part in text.split(",")]
    if not all(1 <= size <= MOST_TOKENS for size in sizes):
        raise UsageError(
            f"--tokens is numbers from 1 to {MOST_TOKENS:,}, not {text[:40]!r}", hint="write them as in 256,1024"
        )
    return sorted(set(sizes))


@app.command()
def compare(
    app: Annotated[str, typer.Argument(help="chest, ctr, galaxy, music or reid.")],
    options: Annotated[
        list[str] | None, typer.Argument(help="Behind --: further options of `attn APP train`, the same for all.")
    ] = None,
    mixers: Mixers = None,
    seeds: Seeds = 3,
    minutes: Annotated[float, number("Stop after this many minutes.", least=0, most=MOST_COUNT)] = 5,
    data: Annotated[
        Path | None, typer.Option(help="Data to train on; those of this repository's examples folder if not given.")
    ] = None,
    out: OutReport = None,
    as_json: AsJson = False,
) -> None:
    """Train each mechanism in an app with the same seeds and budget, and compare what they are worth.

    The others are compared with the first mechanism. The same command goes on where one was interrupted. --minutes is
    the budget of each training. A + joins the mechanisms of layers, as in softmax,softmax+static+softmax. The trainings
    lie in --out as well, which is runs/mixers-APP when not given.
    """
    from attn.core.files import claimed
    from attn.mixers.compare import choices, plan_of, table
    from attn.mixers.compare import compare as run_trainings
    from attn.mixers.compare_picture import draw

    if app not in FORMS:
        raise UsageError(f"{app!r} has no mechanisms to compare", hint=f"choose {', '.join(FORMS)}")
    form = FORMS[app]
    names = choices(app, mixers)
    plan = plan_of(app, data, minutes, options or ())
    out = out or Path("runs") / f"mixers-{app}"
    with claimed(out):
        found = run_trainings(plan, names, seeds, out, console.say)
        rows = table(found, form.measure)
        report: dict[str, Any] = {
            "app": app,
            "data": plan.data,
            "options": plan.options,
            "budget": f"{minutes:g} minutes a training",
            "measure": form.measure,
            "better": "higher" if form.higher else "lower",
            "rows": rows,
        }
        draw(found, form.measure, out / "comparison.png")
        console.write_report(out, report, out / "comparison.png")
    console.say(f"{report['budget']}; {form.measure}: {report['better']} is better; p of a paired t-test over seeds")
    if as_json:
        console.print_json(report)
    else:
        console.show_table(rows, title=form.measure)
    console.end(sum(row["error"] is not None for row in rows))
