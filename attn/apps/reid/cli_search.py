"""`attn reid search`: who is in photographs, the picture of the ranks, and the page on which a person decides."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attn import console
from attn.apps.reid.options import Columns, InGallery, SaOnly, Verify, advancing, load
from attn.core.errors import UsageError
from attn.core.files import require_unread
from attn.options import AsJson, Device, Inputs, Model, OutTable, Picture, Split, count, grouped

if TYPE_CHECKING:
    from attn.apps.reid.gallery import Gallery
    from attn.apps.reid.predict import ReIDPredictor
    from attn.apps.reid.review.page import Page
    from attn.apps.reid.verify import Verifier
    from attn.data_adapters.images.identities import LabelledIndividuals

MOST_SAID = 20  # sentences of one kind


@grouped
def search(
    inputs: Inputs,
    gallery: InGallery,
    columns: Columns = Columns(),
    split: Split = "all",
    together: Annotated[bool, typer.Option("--together", help="All inputs show one individual: one answer.")] = False,
    top: Annotated[int, count("How many answers a query gets.", most=10_000)] = 10,
    images: Annotated[bool, typer.Option("--images", help="Rank images instead of individuals.")] = False,
    picture: Picture = None,
    verify: Verify = None,
    review: Annotated[
        Path | None, typer.Option(help="Write a page to this folder, on which a person decides; see `confirm`.")
    ] = None,
    model: Model = None,
    sa_only: SaOnly = False,
    device: Device = None,
    out: OutTable = None,
    as_json: AsJson = False,
) -> None:
    """Say who is in photographs: the individuals of a gallery, each once, the most similar first; or nobody known.

    Inputs are photographs, or one table with columns, or a folder of Camtrap DP; rows of one encounter and identity get
    one answer. Of one individual, images that share --camera or --encounter are not compared; --within compares equal
    values alone.
    "none" turns a rule off.
    """
    from functools import partial

    from attn.apps.reid.local_features import local_features
    from attn.apps.reid.queries import gallery_at, questions
    from attn.apps.reid.ranks import failed_row, rows_of, summary, without_probabilities
    from attn.apps.reid.ranks_picture import MOST_ROWS, check_name, draw_ranks
    from attn.apps.reid.review.answers import shown_of
    from attn.apps.reid.search import Answer
    from attn.apps.reid.search import search as search_gallery
    from attn.apps.reid.store import said as said_of_store
    from attn.apps.reid.verify import Verifier, looks_again

    if picture is not None:
        check_name(picture)
    of_table = len(inputs) == 1 and columns.of_table(inputs[0])
    off = columns.off() if of_table or columns.of_table(gallery) else columns.only_off()
    asked = columns.open(Path(inputs[0]), split) if of_table else columns.photographs(inputs)
    predictor = load(model, device, sa_only=sa_only)

    def searched_in(place: Path) -> "LabelledIndividuals":
        individuals = columns.open_gallery(place)
        for notice in individuals.notices:
            console.say(f"gallery: {notice}")
        return individuals

    for notice in asked.notices:
        console.say(notice)
    opened, indexed = gallery_at(gallery, predictor.embed, predictor.id, searched_in)
    for sentence in said_of_store(len(opened)):
        console.say(sentence)
    for id, reason in indexed.left_out[:MOST_SAID] if indexed else []:
        console.say(f"left out of the gallery: {reason if id in reason else f'{id}: {reason}'}")
    if picture is not None:
        known = [opened.photos / path for path in opened.rows["path"]]
        require_unread(picture, [asked.root / path for path in asked.paths] + known)
    answers, rows = list[Answer](), list[dict[str, object]]()
    drawn: list[tuple[Answer, Any]] = []
    verifier = Verifier(opened) if looks_again(verify, predictor.calibration) else None
    page = _page_of(review, gallery, opened)
    with console.progress(len(asked), "searching") as advance:
        for question in questions(asked, opened, advancing(predictor.embed, advance), off=off, together=together):
            rows += [failed_row(id, reason, predictor.record.name) for id, reason in question.failed]
            if question.query is None:
                continue
            own = [asked.read(row) for row in question.rows] if verifier or page or picture else []
            again = partial(verifier.counts, [local_features(each) for each in own]) if verifier else None
            answers.append(
                search_gallery(question.query, opened, top, predictor.calibration, pictures=images, again=again)
            )
            rows += rows_of(answers[-1], opened, [asked.ids[row] for row in question.rows], predictor.record.name)
            if picture is not None and len(drawn) < MOST_ROWS:
                drawn.append((answers[-1], own))
            if page is not None:
                itself = question.query.itself or [()] * len(own)
                shown = [shown_of(asked, row, mine, opened) for row, mine in zip(question.rows, itself, strict=True)]
                page.add(answers[-1], [*zip(shown, own, strict=True)])
    why = without_probabilities(predictor, verified=verifier is not None)
    for sentence in [*summary(answers, off, why), *_said_of(verifier, verify, predictor)]:
        console.say(sentence)
    if page is not None:
        console.say(f"{page.write()}: open it in a browser; attn reid confirm takes the answers.json that it saves")
    if picture is not None:
        draw_ranks(picture, drawn, opened, verifier)
        console.say(f"{len(drawn)} of {len(answers)} queries drawn in {picture}")
    console.show_rows(rows, out, title=str(gallery), as_json=as_json)


def _said_of(verifier: "Verifier | None", asked: bool | None, predictor: "ReIDPredictor") -> list[str]:
    """What a person should know of the verification, in sentences."""
    from attn.apps.reid.verify import BEST

    if verifier is None:
        tried = None if predictor.calibration is None else predictor.calibration.verified
        if asked is not None or (tried is not None and not tried.helps):
            return []
        how = "pip install attn[verify]" if tried else "--verify does it, and calibrate finds out whether it helps"
        return [f"local features: not looked at; {how}"]
    said = [f"local features: looked at in the best {BEST} images of each query"]
    if verifier.gone:
        said.append(
            f"{len(verifier.gone)} photographs of the gallery cannot be read any more, and could not be verified"
        )
    return said


def _page_of(folder: Path | None, place: Path, gallery: "Gallery") -> "Page | None":
    """The page of --review; its answers are for a gallery that stays."""
    if folder is None:
        return None
    from attn.apps.reid.gallery import GALLERY
    from attn.apps.reid.review.page import Page
    from attn.core.files import claim

    if not (place / GALLERY).is_file():
        raise UsageError("--review decides about a gallery that stays", where=place, hint="attn reid index makes one")
    claim(folder)
    return Page(folder, gallery)
