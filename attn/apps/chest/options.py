"""Options that mean the same in several `attn chest` commands: a labelled set and its columns, how files are read."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attn import console
from attn.core.errors import UsageError
from attn.options import Label, count

if TYPE_CHECKING:
    from attn.apps.chest.predict import ChestPredictor
    from attn.apps.chest.read import Reading
    from attn.data_adapters.dicom.labelled import LabelledStudies
    from attn.data_adapters.dicom.radiograph import NotAnImageError

RESEARCH_USE = "research use, not a medical device"

Labelled = Annotated[
    Path,
    typer.Argument(help="A table with paths and labels, a published list of images, or a folder with one per class."),
]


@dataclass(frozen=True)
class Columns:
    """What the columns of a labelled set mean."""

    image: Annotated[str | None, typer.Option(help="Column with the path of the image.")] = None
    label: Label = None
    patient: Annotated[
        str | None, typer.Option(help="Column that says whose image it is; 'none': each image is of another patient.")
    ] = None
    uncertain: Annotated[
        str | None, typer.Option(help="What -1 in CheXpert means: ignore (the default), zero or one.")
    ] = None

    def open(self, source: Path) -> "LabelledStudies":
        """The set."""
        from attn.data_adapters.dicom.labelled import open_studies

        if self.uncertain not in (None, "ignore", "zero", "one"):
            raise UsageError(f"--uncertain is ignore, zero or one, not {self.uncertain!r}")
        return open_studies(source, **asdict(self))


@dataclass(frozen=True)
class Files:
    """How files are read, and what they are called in results."""

    window: Annotated[
        str | None,
        typer.Option(
            help="Another display than the file's first: a window's number from 0, its name, or CENTER,WIDTH."
        ),
    ] = None
    frame: Annotated[int | None, count("Only this frame of each file, counted from 1.")] = None
    hash_names: Annotated[bool, typer.Option("--hash-names", help="Write pseudonyms instead of paths.")] = False
    key: Annotated[
        Path | None,
        typer.Option("--key", help="File with the secret of pseudonyms; a new one in each run when not given."),
    ] = None

    def reading(self) -> "Reading":
        """The same for the readers."""
        from attn.apps.chest.read import Reading
        from attn.data_adapters.dicom.privacy import read_key

        return Reading(self.window, self.frame, read_key(self.key), self.hash_names)


def load(model: str | None, device: str | None = None) -> "ChestPredictor":
    """The predictor; says first what it is for."""
    from attn.apps.chest.predict import ChestPredictor

    say_what_it_is_for()
    return ChestPredictor.load(model, device=device)


def preprocessing(model: str | None) -> Any:
    """What the model does to pixels, without its weights."""
    from attn.apps.chest.predict import BUNDLED_MODEL
    from attn.apps.chest.preprocess import Preprocessing
    from attn.core.models.folder import load_record, resolve
    from attn.core.settings import stored

    record = load_record(resolve(model, "chest", BUNDLED_MODEL))
    return stored(Preprocessing, record.preprocessing, record.name)


def say_what_it_is_for() -> None:
    """To everybody who reads results."""
    console.say(RESEARCH_USE)


def say_skipped(found: "NotAnImageError") -> None:
    """Of an input that holds no image."""
    console.say(f"skipped: {found}")
