"""One cut-out from whatever a caller has: a FITS file, one file per band, a picture, an array."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attn.apps.galaxy.objects import Numbered, read_object
from attn.core.errors import InputError, UsageError
from attn.core.results.prediction import Value
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.images.pictures import PICTURE_SUFFIXES
from attn.data_adapters.paths import expand_inputs
from attn.data_adapters.sky.kinds import FITS_SUFFIXES
from attn.data_adapters.sky.labelled import read_image
from attn.data_adapters.sky.listed import LISTING_SUFFIXES, ListedImage, listed_images
from attn.data_adapters.sky.looks import looks
from attn.data_adapters.sky.stretch import Stretch, render

if TYPE_CHECKING:
    from attn.data_adapters.sky.detect import Detection

SUFFIXES = FITS_SUFFIXES + PICTURE_SUFFIXES
"""The endings a folder is searched for."""

Source = Any
"""What a predictor takes: a path, a tuple of paths (one per band), a `Cutout`, or an object of `objects.read_object`.

A catalogue row that gave no cut-out is an InputError.
"""


def read_cutout(x: Source, stretch: Stretch, hdu: int | str | None = None) -> Cutout:
    """The display pixels (H, W, 3) of one galaxy, with what was done to get them as flags.

    Raises InputError when it cannot be read, or is a survey image and not a cut-out.
    """
    cutout = _read(x, stretch, hdu)
    seen = looks(cutout.pixels)
    return replace(cutout, flags=tuple(dict.fromkeys([*cutout.flags, *seen.flags])), measures=seen.measures)


def _read(x: Source, stretch: Stretch, hdu: int | str | None) -> Cutout:
    if isinstance(x, Cutout):
        return x
    if isinstance(x, InputError):
        raise x
    if isinstance(x, tuple):
        from attn.data_adapters.sky.band_files import read_bands  # astropy, which pictures do without

        image = read_bands([Path(path) for path in x])
        pixels, flags = render(image.data, stretch)
        return Cutout(id=source_id(x), pixels=pixels, flags=(*image.flags, *flags))
    if isinstance(x, str | Path):
        return read_image(x, stretch, hdu=hdu)
    if isinstance(x, ListedImage):
        return replace(read_image(x.path, stretch, hdu=hdu), id=x.id, values=dict(x.values))
    return read_object(x.value if isinstance(x, Numbered) else x, stretch, hdu, source_id(x))


def list_sources(
    inputs: Sequence[str],
    stretch: Stretch,
    *,
    hdu: int | str | None = None,
    bands: bool = False,
    catalog: Path | None = None,
    columns: Mapping[str, str] | None = None,
    detect: "Detection | None" = None,
    image: str | None = None,
    own: Collection[str] = (),
) -> tuple[Iterable[Source], int | None]:
    """What the predictor is to read, and how many there are where that is known.

    `bands`: the inputs are one image, a file per band. `catalog`, `detect`: the input is a survey image, and its
    sources are those of the table, or those found in it; `columns` are the table's names for ra, dec, x, y and id.
    Otherwise an input that is a table means the paths in its column `image`. The other columns of a table are carried
    along, under another name if that is one of `own`. Raises UsageError for options that exclude each other.
    """
    if catalog is not None and detect is not None:
        raise UsageError("--catalog and --detect exclude each other", hint="use one of them")
    if bands and len(inputs) < 2:
        raise UsageError("--bands needs a file for each of several bands", hint="name two or more")
    if catalog is None and detect is None:
        if bands:
            return [tuple(inputs)], 1
        sources = [x for path in expand_inputs(inputs, SUFFIXES) for x in _of_table(path, image, own)]
        return sources, len(sources)
    if len(inputs) != 1 and not bands:
        raise UsageError(
            f"a catalogue or a detection needs one survey image, not {len(inputs)} inputs",
            hint="say --bands if they are its bands",
        )
    survey = inputs if bands else inputs[0]
    if catalog is None:
        from attn.data_adapters.sky.detect import detected_cutouts

        return detected_cutouts(survey, stretch, hdu=hdu, detection=detect), None
    from attn.data_adapters.sky.catalog import read_catalog
    from attn.data_adapters.sky.cutouts import catalog_cutouts

    rows = read_catalog(catalog, columns, own)
    return catalog_cutouts(survey, rows, stretch, hdu=hdu), len(rows)


def _of_table(path: Path, image: str | None, own: Collection[str]) -> Iterable[Source]:
    """The images of a table, or the file itself."""
    return listed_images(path, own, image) if path.name.lower().endswith(LISTING_SUFFIXES) else [path]


def source_values(x: Source) -> Mapping[str, Value]:
    """The extra cells of an input's row, known before it is read."""
    return getattr(x, "values", {}) if isinstance(x, ListedImage | InputError) else {}


def source_id(x: Source) -> str:
    """What a result row calls this input."""
    if isinstance(x, Cutout):
        return x.id
    if isinstance(x, InputError):
        return x.where or ""
    if isinstance(x, Numbered | ListedImage):
        return x.id
    if isinstance(x, tuple):
        return "+".join(map(str, x))
    return str(x) if isinstance(x, str | Path) else "array"
