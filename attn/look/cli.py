"""The `attn look` command: it reads options, asks the questions, and writes the page."""

from pathlib import Path
from typing import Annotated

import typer

from attn import console
from attn.options import AsJson, Device

app = typer.Typer(help="Inside a trained model: its heads, what they look at, and what happens without them.")


@app.command()
def look(
    model: Annotated[
        str, typer.Argument(help="bundled:APP, bundled:APP/NAME, a model folder, or hf://org/name.", show_default=False)
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            help="What the model reads: files, folders, quoted globs, a table; --clean and --corrupt if none."
        ),
    ] = None,
    clean: Annotated[
        list[str] | None,
        typer.Option(help="File of an input, between which and --corrupt a circuit is looked for; repeatable."),
    ] = None,
    corrupt: Annotated[
        list[str] | None, typer.Option(help="File of an input as large as --clean, with another answer; repeatable.")
    ] = None,
    scale: Annotated[
        list[str] | None, typer.Option(help="Scale a head and show the effect, as in 2.1=1.5; repeatable.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="Another model (a folder, bundled:APP or hf://org/name), whose circuits are compared."),
    ] = None,
    hunt: Annotated[
        str | None,
        typer.Option(
            help="Pick heads whose softening guides towards this: true, or of music repetition, consonance, density."
        ),
    ] = None,
    device: Device = None,
    out: Annotated[Path, typer.Option("--out", help="The page to write, an .html file.")] = Path("look.html"),
    as_json: AsJson = False,
) -> None:
    """Look inside a trained model: which heads matter, what they look at, and what happens without them.

    Writes one page that opens without a network, and prints the same numbers. A head is called LAYER.HEAD, as in 2.1.
    With --hunt, heads.json is written beside the page, for `attn music generate --guide`.
    """
    from attn.core.errors import UsageError
    from attn.core.files import replacing, require_free
    from attn.look.looking import Question
    from attn.look.looking import look as look_inside
    from attn.look.probe import open_probe
    from attn.look.report import page

    if out.suffix.lower() != ".html":
        raise UsageError("does not end in .html", where=out, hint="give a name such as look.html")
    heads = out.with_name("heads.json")
    if hunt is not None:
        require_free(heads)
    probe = open_probe(model, device)
    other = None if against is None else open_probe(against, device)
    question = Question(clean or (), corrupt or (), scale or (), other, hunt)
    report, figures = look_inside(probe, inputs or [], question)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as part:
        part.write_text(page(report, figures), encoding="utf-8")
    report["written"] = out
    if hunt is not None:
        from attn.look.hunting import found_heads

        found_heads(probe, report).save(heads)
        report["hunted"]["written"] = heads
    if as_json:
        console.print_json(report)
        return
    columns = ("name", "site", "pattern", "drop", "js", "entropy", "diversity", "sink", "near")
    rows = sorted(report["heads"], key=lambda row: -row["drop"])
    console.show_table([{name: row[name] for name in columns} for row in rows], title="heads")
    for circuit in report["circuits"]:
        console.say(f"circuit of {circuit['task']}: {', '.join(circuit['circuit']) or 'no head'}")
    for sentence in filter(None, (report["cannot"], report["sinks"]["said"])):
        console.say(sentence)
    if report["hunted"]:
        found = report["hunted"]
        console.say(f"{found['said']} written: {heads}")
    console.say(f"written: {out}")
