"""`attn galaxy predict`: files, tables of paths, or the sources of a survey image, as rows of labels."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attn import console
from attn.apps.galaxy.options import Hdu, Image, Tta
from attn.options import (
    AsJson,
    BatchSize,
    Device,
    Inputs,
    Model,
    OutTable,
    Resume,
    Strict,
    Workers,
    count,
    grouped,
    no_effect,
    number,
)

if TYPE_CHECKING:
    from attn.data_adapters.sky.detect import Detection


@dataclass(frozen=True, kw_only=True)
class CatalogColumns:
    """Which columns of the catalogue hold what; those with the usual names when not given."""

    ra: Annotated[str | None, typer.Option(help="Column of --catalog with the right ascension.")] = None
    dec: Annotated[str | None, typer.Option(help="Column of --catalog with the declination.")] = None
    x: Annotated[str | None, typer.Option(help="Column of --catalog with pixels along the rows, from 0.")] = None
    y: Annotated[str | None, typer.Option(help="Column of --catalog with pixels across the rows, from 0.")] = None
    id: Annotated[str | None, typer.Option(help="Column of --catalog with the names of the sources.")] = None

    def chosen(self) -> dict[str, str]:
        """The names that were given."""
        return {meaning: name for meaning, name in asdict(self).items() if name is not None}


@dataclass(frozen=True, kw_only=True)
class Search:
    """What --detect counts as a source."""

    threshold: Annotated[
        float | None,
        number("With --detect: least height above the sky, in its noise; 3 when not given.", least=0.5, most=1e6),
    ] = None
    min_area: Annotated[int | None, count("With --detect: least number of connected pixels; 25 when not given.")] = None
    no_stars: Annotated[
        bool, typer.Option("--no-stars", help="With --detect: leave out what is no larger than the image's stars.")
    ] = False

    def detection(self) -> "Detection":
        """These options, and the usual values of those that were not given."""
        from attn.data_adapters.sky.detect import Detection

        usual = Detection()
        return Detection(self.threshold or usual.threshold, self.min_area or usual.min_area, stars=not self.no_stars)


@grouped
def predict(
    inputs: Inputs,
    image: Image = None,
    model: Model = None,
    hdu: Hdu = None,
    bands: Annotated[
        bool, typer.Option("--bands", help="The inputs are one galaxy or survey image, one file per band.")
    ] = False,
    catalog: Annotated[
        Path | None,
        typer.Option(help="Classify each source of this table (ra, dec or x, y) in the one survey image given."),
    ] = None,
    columns: CatalogColumns = CatalogColumns(),
    detect: Annotated[bool, typer.Option("--detect", help="Find the sources of the survey image first.")] = False,
    search: Search = Search(),
    strict: Strict = False,
    tta: Tta = False,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="Add the feature vector.")] = False,
    batch_size: BatchSize = 16,
    workers: Workers = 4,
    device: Device = None,
    out: OutTable = None,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Classify galaxies: a label and probabilities for each, a reason for each that cannot be read.

    An input may be a table with a column of paths; its other columns are carried along.
    """
    from attn.apps.galaxy.predict import GalaxyPredictor
    from attn.apps.galaxy.read import list_sources, source_id
    from attn.core.results.partial import PartialTable, not_among
    from attn.core.results.tables import result_schema

    if bands:
        no_effect("with --bands, which takes the first usable image of each file", hdu=hdu)
    if out is None and not as_json:
        no_effect("without --out or --json", embeddings=embeddings)
    if out is None:
        no_effect("without --out", resume=resume)
    if catalog is None:
        no_effect("without --catalog", **columns.chosen())
    if not detect:
        no_effect("without --detect", **asdict(search))
    if catalog is not None or detect:
        no_effect("with a survey image", image=image)
    predictor = GalaxyPredictor.load(model, device=device)
    sources, total = list_sources(
        inputs,
        predictor.preprocessing.stretch,
        hdu=hdu,
        bands=bands,
        catalog=catalog,
        columns=columns.chosen(),
        detect=search.detection() if detect else None,
        image=image,
        own={
            *result_schema(predictor.labels),
            "anomaly",
            *([] if predictor.number is None else [predictor.number.name]),
        },
    )
    partial, done = None, []
    if out is not None:
        settings = {
            "model": [predictor.record.name, predictor.record.files],
            "catalog": str(catalog or ""),
            "image": image,
            "hdu": hdu,
            "bands": bands,
            "detect": detect,
            **asdict(columns),
            "strict": strict,
            "tta": tta,
            "embeddings": embeddings,
            **{name.replace("_", "-"): value for name, value in asdict(search).items()},
        }
        partial = PartialTable(out, settings)
        done = partial.ids() if resume else []
        sources = not_among(done, sources, source_id)
    with console.progress(total and total - len(done), "classifying") as advance:
        results = predictor.predict_many(
            sources,
            hdu=hdu,
            tta=tta,
            embeddings=embeddings,
            strict=strict,
            batch_size=batch_size,
            workers=workers,
        )
        counted = console.counted(results, advance)
        failed = console.give_predictions(
            counted, predictor.labels, out, as_json=as_json, partial=partial, resume=bool(done)
        )
    console.end(failed)
