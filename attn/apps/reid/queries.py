"""From what people type to questions for a gallery: photographs, or rows of a table, those of an encounter together.

Shapes: P pictures of a query, C channels.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from attn.apps.reid.gallery import GALLERY, Gallery, ModelId, box_text, open_gallery, stamp
from attn.apps.reid.index import Embed, Indexed, index
from attn.apps.reid.nearest import unit
from attn.apps.reid.search import Query
from attn.core.errors import AttnError, InputError
from attn.core.models.stream import answer_stream
from attn.data_adapters.images.boxes import Frame
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.images.detections import with_detections
from attn.data_adapters.images.identities import LabelledIndividuals
from attn.data_adapters.images.identity_rows import Rows
from attn.data_adapters.images.photographs import PHOTOGRAPH_SUFFIXES, photographs_below
from attn.data_adapters.paths import expand_inputs

RULES = ("within", "camera", "encounter")
NO_VECTOR = "no usable embedding: the model gives zero or no number for it"


@dataclass(frozen=True)
class Question:
    """A query, or None where none of its pictures can be used; its rows in the set; what fails, as id and reason."""

    query: Query | None
    rows: list[int]
    failed: list[tuple[str, str]]


def list_photographs(inputs: Sequence[str]) -> list[Path]:
    """The photographs that people type: files, folders, globs and list files, each once; hidden files are left out."""
    found: dict[Path, None] = {}
    for text in inputs:
        below = photographs_below(Path(text))[0] if Path(text).is_dir() else []
        found |= dict.fromkeys(below or expand_inputs([text], PHOTOGRAPH_SUFFIXES))
    return list(found)


def of_files(inputs: Sequence[str], boxes: Path | None = None, frame: Frame = "shown") -> LabelledIndividuals:
    """Photographs of which nothing is known, or the boxes that a detector left in a file; ids are paths as typed."""
    paths = [str(path) for path in list_photographs(inputs)]
    nothing = [""] * len(paths)
    rows = Rows(Path(), paths, nothing, pl.DataFrame(), [None] * len(paths))
    return LabelledIndividuals(Path(), rows if boxes is None else with_detections(rows, boxes, frame))


def gallery_at(
    place: Path, embed: Embed, model: ModelId, open_set: Callable[[Path], LabelledIndividuals]
) -> tuple[Gallery, Indexed | None]:
    """The gallery in a folder; a folder of photographs or a table becomes one on the fly, which is kept in memory."""
    if (place / GALLERY).is_file():
        return open_gallery(place, model), None
    individuals = open_set(place)
    with TemporaryDirectory() as folder:
        return index(individuals, embed, model, Path(folder))


def questions(
    asked: LabelledIndividuals, gallery: Gallery, embed: Embed, *, off: Sequence[str] = (), together: bool = False
) -> Iterator[Question]:
    """The queries in the order of their first pictures.

    Rows that share an encounter, and the identity, are one query; with `together` all rows are. off: those of RULES
    that are not to be used. A picture that lies in the gallery has what is known of it there.
    """
    groups = [list(range(len(asked)))] if together else _by_encounter(asked)
    order = [row for rows in groups for row in rows]
    found: dict[int, tuple[np.ndarray, tuple[str, ...]] | str] = {}
    stream = answer_stream(order, asked.photograph, lambda each: _vectors(each, embed), batch_size=16)
    waiting, known = iter(groups), _Known(asked, gallery, off)
    rows = next(waiting, None)
    for row, answer in stream:
        found[row] = str(answer) if isinstance(answer, AttnError) else answer
        if rows is not None and row == rows[-1]:
            yield _question(asked, rows, {row: found.pop(row) for row in rows}, known)
            rows = next(waiting, None)


def _by_encounter(asked: LabelledIndividuals) -> list[list[int]]:
    """Row numbers of each query. A file with several boxes shows several individuals: its rows stay alone."""
    if asked.encounters is None:
        return [[i] for i in range(len(asked))]
    groups: dict[object, list[int]] = defaultdict(list)
    often = Counter(asked.paths)
    for i, encounter in enumerate(asked.encounters):
        alone = not encounter or (not asked.identities[i] and often[asked.paths[i]] > 1)
        groups[i if alone else (encounter, asked.identities[i])].append(i)
    return list(groups.values())


def _vectors(photographs: Sequence[Cutout], embed: Embed) -> Iterator[tuple[np.ndarray, tuple[str, ...]] | InputError]:
    vectors, usable = unit(np.asarray(embed([each.pixels for each in photographs])))
    for photograph, vector, good in zip(photographs, vectors, usable, strict=True):
        yield (vector, photograph.flags) if good else InputError(NO_VECTOR, where=photograph.id)


def _question(
    asked: LabelledIndividuals,
    rows: list[int],
    found: dict[int, tuple[np.ndarray, tuple[str, ...]] | str],
    known: "_Known",
) -> Question:
    failed = [(asked.ids[row], why) for row, why in found.items() if isinstance(why, str)]
    good = {row: answer for row, answer in found.items() if not isinstance(answer, str)}
    if not good:
        return Question(None, rows, failed)
    names = sorted({known.of(row)["identity"] for row in good} - {""})
    values = {rule: known.values(rule, good) for rule in RULES}
    query = Query(
        id=asked.ids[rows[0]] + (f" +{len(rows) - 1}" if len(rows) > 1 else ""),
        vectors=np.stack([vector for vector, _ in good.values()]),
        identity=names[0] if len(names) == 1 else "",
        within=values["within"],
        cameras=values["camera"],
        encounters=values["encounter"],
        itself=tuple(known.itself(row) for row in good),
        flags=tuple(dict.fromkeys(flag for _, flags in good.values() for flag in flags)),
    )
    return Question(query, list(good), failed)


class _Known:
    """What is known of the pictures that are asked for, from their own set or from the gallery that they lie in."""

    def __init__(self, asked: LabelledIndividuals, gallery: Gallery, off: Sequence[str]) -> None:
        self.asked, self.gallery = asked, gallery
        self.used = [rule for rule in RULES if rule not in off and (gallery.rows[rule] != "").any()]
        self.places: dict[tuple[int, int], list[int]] = defaultdict(list)
        stamps = {stamp(asked.root / path) for path in asked.paths}
        for row, key in enumerate(gallery.rows.select("bytes", "modified").iter_rows()):
            if key in stamps:
                self.places[key].append(row)

    def itself(self, row: int) -> tuple[int, ...]:
        """Rows of the gallery that are this very picture: of the same file, and not of another box in it."""
        path = self.asked.root / self.asked.paths[row]
        key = stamp(path)
        mine = self.asked.boxes[row]
        found = []
        for place in self.places.get(key, []) if key else []:
            there, box = self.gallery.rows.select("path", "box").row(place)
            same = (self.gallery.photos / there).exists() and path.samefile(self.gallery.photos / there)
            if same and (not box or mine is None or box == box_text(mine)):
                found.append(place)
        return tuple(found)

    def of(self, row: int) -> dict[str, str]:
        """identity, within, camera and encounter, each "" where it is not known."""
        asked = self.asked
        lists = {
            "identity": asked.identities, "within": asked.within, "camera": asked.cameras, "encounter": asked.encounters
        }  # fmt: skip
        known = {name: "" if values is None else values[row] for name, values in lists.items()}
        there = self.itself(row)
        if len(there) == 1:
            known |= {name: known[name] or self.gallery.rows[name][there[0]] for name in known}
        return known

    def values(self, rule: str, rows: Iterable[int]) -> tuple[str, ...] | None:
        """The value of each picture, or None where the rule is not used."""
        return tuple(self.of(row)[rule] for row in rows) if rule in self.used else None
