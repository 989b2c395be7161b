"""Options that mean the same in several `attn reid` commands: a labelled set and its columns, and the model."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attn.core.errors import UsageError
from attn.options import no_effect

if TYPE_CHECKING:
    import numpy as np

    from attn.apps.reid.index import Embed
    from attn.apps.reid.predict import ReIDPredictor
    from attn.data_adapters.images.cutout import Display
    from attn.data_adapters.images.identities import LabelledIndividuals

Labelled = Annotated[
    Path,
    typer.Argument(
        help="A table with paths and identities, a folder in a published layout, or one with a folder per individual."
    ),
]
SaOnly = Annotated[bool, typer.Option("--sa-only", help="Without the local branch: faster, and half as many channels.")]
InGallery = Annotated[
    Path,
    typer.Option(help="A gallery of `index`; in `search` also a folder of photographs or a table, indexed on the fly."),
]
Verify = Annotated[
    bool | None,
    typer.Option(
        "--verify/--no-verify",
        help="Look again at the best 50 images by local features; else `calibrate` tries it, others do as it found.",
    ),
]
FORMATS = ("coco", "voc", "yolo", "megadetector")
FRAMES = ("shown", "stored")
NO = "none"


@dataclass(frozen=True)
class Columns:
    """What the columns of a labelled set mean. "none" takes no column."""

    image: Annotated[str | None, typer.Option(help="Column with the path of the image.")] = None
    identity: Annotated[
        str | None, typer.Option(help="Column that says who it is; 'none': nobody is named, whatever the data say.")
    ] = None
    within: Annotated[
        str | None,
        typer.Option(help="Column by which images are compared, as a flank: only those that share the value are."),
    ] = None
    camera: Annotated[
        str | None,
        typer.Option(help="Column with the camera: of one individual, images that share it are not compared."),
    ] = None
    encounter: Annotated[
        str | None,
        typer.Option(help="Column with the encounter: of one individual, images that share it are not compared."),
    ] = None
    time: Annotated[str | None, typer.Option(help="Column with the time of the image.")] = None
    box: Annotated[
        str | None,
        typer.Option(
            help="Columns of a box in the image, as x,y,w,h, or a MegaDetector or COCO .json; 'none': no box."
        ),
    ] = None
    box_format: Annotated[
        str | None, typer.Option(help="coco (x, y, w, h in pixels), voc (corners), yolo (centre) or megadetector.")
    ] = None
    box_frame: Annotated[
        str | None, typer.Option(help="Boxes lie in the image as shown, upright (the default), or as stored.")
    ] = None
    unknown: Annotated[
        list[str] | None, typer.Option(help="An identity that means that nobody knows; may be repeated.")
    ] = None

    def open(self, source: Path, split: str = "all") -> "LabelledIndividuals":
        """The set, or one split of it."""
        from attn.data_adapters.images.identities import open_individuals

        self._check_words()
        settings: dict[str, Any] = asdict(self)
        settings |= {"box_frame": self.box_frame or "shown", "unknown": self.unknown or ()}
        return open_individuals(source, **settings, split=None if split == "all" else split)

    def open_gallery(self, source: Path) -> "LabelledIndividuals":
        """The set of photographs that is searched in; a folder of them has no columns, but may have detected boxes."""
        return (self if self.of_table(source) else self.detected()).open(source)

    def photographs(self, inputs: "Sequence[str]") -> "LabelledIndividuals":
        """Photographs that are asked about: nothing is known of them, but they may have detected boxes."""
        from attn.apps.reid.queries import of_files

        self._check_words()
        boxes = self.detected()
        return of_files(inputs, Path(boxes.box) if boxes.box else None, boxes.box_frame or "shown")  # type: ignore[arg-type]  # checked

    def of_table(self, source: str | Path) -> bool:
        """Whether `source` is what columns are about: a table, or the tables of Camtrap DP."""
        from attn.data_adapters.images.camtrap import is_camtrap
        from attn.data_adapters.tables.small import TABLE_SUFFIXES

        return str(source).lower().endswith(TABLE_SUFFIXES) or is_camtrap(Path(source))

    def off(self) -> list[str]:
        """The rules that are turned off."""
        return [rule for rule in ("within", "camera", "encounter") if getattr(self, rule) == NO]

    def detected(self) -> "Columns":
        """Of these, what is about photographs without a table: a detector's file of boxes, and their frame."""
        if self.box is None or not self.box.lower().endswith(".json"):
            return Columns()
        return Columns(box=self.box, box_frame=self.box_frame)

    def only_off(self) -> list[str]:
        """The rules that are turned off, where there is no table. Raises UsageError for columns."""
        given, of_files = asdict(self), asdict(self.detected())
        columns = {name: value for name, value in given.items() if value != NO and value != of_files[name]}
        no_effect("on photographs: it is about columns of a table", **columns)
        return self.off()

    def _check_words(self) -> None:
        for name, value, known in (("format", self.box_format, FORMATS), ("frame", self.box_frame, FRAMES)):
            if value not in (None, *known):
                raise UsageError(f"--box-{name} is {', '.join(known[:-1])} or {known[-1]}, not {value!r}")


def advancing(embed: "Embed", advance: Callable[[], None]) -> "Embed":
    """The same, and a bar advances with each picture."""

    def embed_and_advance(pictures: "Sequence[Display]") -> "np.ndarray":
        found = embed(pictures)
        for _ in pictures:
            advance()
        return found

    return embed_and_advance


def load(model: str | None, device: str | None = None, *, sa_only: bool = False) -> "ReIDPredictor":
    """The predictor."""
    from attn.apps.reid.predict import ReIDPredictor

    return ReIDPredictor.load(model, device, sa_only=sa_only)
