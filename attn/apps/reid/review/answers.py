"""answers.json, as the page saves it: what was shown, and what a person said of it."""

from collections.abc import Sequence
from os.path import relpath
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from attn.apps.reid.gallery import Gallery, box_text
from attn.core.errors import InputError
from attn.data_adapters.boundary import boundary
from attn.data_adapters.images.identities import LabelledIndividuals

MOST_BYTES = 1 << 28
Text = Annotated[str, Field(max_length=4096)]
FIELDS = ("id", "path", "box", "camera", "encounter", "time", "within", "identity")


class Shown(BaseModel):
    """A picture as a row of a gallery has it, or would have it; path: from the folder of the photographs."""

    model_config = ConfigDict(frozen=True)

    id: Text
    path: Text
    box: Text = ""
    camera: Text = ""
    encounter: Text = ""
    time: Text = ""
    within: Text = ""
    identity: Text = ""

    @classmethod
    def of_gallery(cls, gallery: Gallery, row: int) -> Self:
        """Row `row` of a gallery."""
        return cls(**dict(zip(FIELDS, gallery.rows.select(FIELDS).row(row), strict=True)))


def shown_of(asked: LabelledIndividuals, row: int, itself: Sequence[int], gallery: Gallery) -> Shown:
    """Row `row` of a set that is asked about: the gallery's own row `itself` of it, or what one would be."""
    if len(itself) == 1:
        return Shown.of_gallery(gallery, itself[0])
    path = relpath((asked.root / asked.paths[row]).absolute(), gallery.photos.absolute())
    lists = {
        "camera": asked.cameras, "encounter": asked.encounters, "time": asked.times, "within": asked.within
    }  # fmt: skip
    known = {name: "" if texts is None else texts[row] for name, texts in lists.items()}
    cells = {"id": path + asked.ids[row].removeprefix(asked.paths[row]), "path": path, **known}
    cells |= {"box": box_text(asked.boxes[row])}
    return Shown(**{name: text.encode(errors="replace").decode() for name, text in cells.items()})


class Verdict(BaseModel):
    """What was said of the pictures of one query: which individual they show ("" with "no")."""

    model_config = ConfigDict(frozen=True)

    pictures: list[Shown]
    answer: Literal["yes", "new", "no"]
    individual: Text
    rejected: list[Text] = []


class Answers(BaseModel):
    """The file. who: the person that decided."""

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1]
    who: Text
    queries: list[Verdict]


def read_answers(path: Path) -> Answers:
    """InputError: no such file, or not one that the page saved."""
    with boundary(path, "is not what the page of attn reid search --review saves", "save it again"):
        if path.stat().st_size > MOST_BYTES:
            raise InputError("is too large for answers", where=path)
        return Answers.model_validate_json(path.read_bytes())
