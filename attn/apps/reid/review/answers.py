"""answers.json, as the page saves it: what was shown, and what a person said of it."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from attn.apps.reid.gallery import Gallery
from attn.core.errors import InputError
from attn.data_adapters.boundary import boundary

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
