"""`attn reid confirm`: what people decided on the page of `search --review`, and what other programs want of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attn import console
from attn.apps.reid.options import InGallery, load
from attn.core.errors import UsageError
from attn.options import AsJson, Device, Model, OutTable, no_effect

if TYPE_CHECKING:
    from attn.apps.reid.gallery import ModelId
    from attn.apps.reid.index import Embed


def confirm(
    gallery: InGallery,
    answers: Annotated[
        Path | None, typer.Argument(help="answers.json, as the page of search --review saves it.")
    ] = None,
    who: Annotated[str | None, typer.Option(help="Who decides, if another than answers.json says.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take back the last confirm.")] = False,
    history: Annotated[
        Path | None, typer.Option(help="Write a capture history to this .csv: individuals x occasions.")
    ] = None,
    occasion: Annotated[
        str | None, typer.Option(help="What an occasion is: day, month, year, encounter or camera.")
    ] = None,
    camtrap: Annotated[
        Path | None, typer.Option(help="Write Camtrap DP to this folder: deployments, media, observations.")
    ] = None,
    model: Model = None,
    device: Device = None,
    out: OutTable = None,
    as_json: AsJson = False,
) -> None:
    """Write decisions into a gallery: who, when, from what to what. Take them back. Export who was seen when.

    Pictures that are not in the gallery yet are added to it, for which the model is needed.
    """
    from attn.apps.reid.gallery import open_gallery
    from attn.apps.reid.review import confirm as room
    from attn.apps.reid.review.answers import read_answers
    from attn.apps.reid.review.camtrap import write_camtrap
    from attn.apps.reid.review.captures import capture_history, write_table
    from attn.apps.reid.review.decisions import read_log

    if undo:
        if answers is not None:
            raise UsageError("answers.json has no effect with --undo", hint="leave it out")
    elif answers is None:
        if history is None and camtrap is None:
            raise UsageError("nothing to do", hint="give answers.json, --undo, --history or --camtrap")
        no_effect("without answers.json", who=who)
    if history is None:
        no_effect("without --history", occasion=occasion)

    def own_model() -> "tuple[Embed, ModelId]":
        predictor = load(model, device)
        return predictor.embed, predictor.id

    rows: list[dict[str, object]] = []
    if undo:
        rows = room.undo(gallery, who)
    elif answers is not None:
        rows = room.confirm(read_answers(answers), gallery, own_model, who)
    opened = open_gallery(gallery, whole=True)
    if history is not None:
        table, without = capture_history(opened, occasion)
        write_table(history, table)
        console.say(f"{history}: {len(table)} individuals on {table.width - 2} occasions")
        if without:
            console.say(f"{without} pictures of known individuals have no occasion, and do not count")
    if camtrap is not None:
        observations, lacking = write_camtrap(opened, read_log(gallery), camtrap)
        for sentence in (f"{camtrap}: {observations} observations", *lacking):
            console.say(sentence)
    console.show_rows(rows, out, as_json=as_json)
