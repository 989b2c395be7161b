"""`attn galaxy similar` and `attn galaxy anomalies`: a folder of galaxies in the order of what looks like what."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attn import console
from attn.apps.galaxy.options import Hdu
from attn.core.files import require_unread, same_file
from attn.options import AsJson, Device, Inputs, Model, OutTable, Picture

if TYPE_CHECKING:
    from attn.core.results.prediction import Prediction

Ranking = Callable[[list["Prediction"]], list["Prediction"]]


def similar(
    query: Annotated[str, typer.Argument(help="The galaxy to look for: a FITS file or a picture.")],
    among: Annotated[
        list[str], typer.Option(help="Files, folders, quoted globs, or list files (.txt) to search; may be repeated.")
    ],
    model: Model = None,
    hdu: Hdu = None,
    picture: Picture = None,
    device: Device = None,
    out: OutTable = None,
    as_json: AsJson = False,
) -> None:
    """Rank galaxies by how much they look like one of yours: the cosine of the model's feature vectors."""
    from attn.apps.galaxy.among import similar as rank_similar

    def rank(rows: list["Prediction"]) -> list["Prediction"]:
        return rank_similar(rows[0], rows[1:])

    _rank(rank, "similarity", among, model, hdu, picture, device, out, as_json=as_json, query=query)


def anomalies(
    inputs: Inputs,
    model: Model = None,
    hdu: Hdu = None,
    picture: Picture = None,
    device: Device = None,
    out: OutTable = None,
    as_json: AsJson = False,
) -> None:
    """Rank galaxies by how far they are from all others of the set, in the model's feature vectors."""
    from attn.apps.galaxy.among import unusual

    _rank(unusual, "distance", inputs, model, hdu, picture, device, out, as_json=as_json)


def _rank(
    rank: Ranking,
    score: str,
    inputs: list[str],
    model: str | None,
    hdu: str | None,
    picture: Path | None,
    device: str | None,
    out: Path | None,
    *,
    as_json: bool,
    query: str | None = None,
) -> None:
    """Embed the inputs, after the query if there is one, rank them, and show the rows in their order."""
    from attn.apps.galaxy.among_picture import check_name, draw_ranking
    from attn.apps.galaxy.predict import GalaxyPredictor
    from attn.apps.galaxy.read import SUFFIXES
    from attn.data_adapters.paths import expand_inputs

    if picture is not None:
        check_name(picture)
    asked = [] if query is None else [Path(query)]
    # A query that lies in the folder is no answer to itself.
    paths = [path for path in expand_inputs(inputs, SUFFIXES) if not any(same_file(path, own) for own in asked)]
    if picture is not None:
        require_unread(picture, [*asked, *paths])
    predictor = GalaxyPredictor.load(model, device=device)
    with console.progress(len(asked) + len(paths), "comparing") as advance:
        found = list(console.counted(predictor.predict_many([*asked, *paths], hdu=hdu, embeddings=True), advance))
    ranked = [replace(each, embedding=None) for each in rank(found)]
    if picture is not None:
        drawn = draw_ranking(picture, ranked, score, predictor.preprocessing.stretch, hdu)
        console.say(f"{drawn} of {len(ranked)} drawn in {picture}")
    console.end(console.give_predictions(ranked, predictor.labels, out, as_json=as_json))
