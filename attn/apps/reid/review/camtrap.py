"""A gallery as Camtrap DP (Bubnicki et al. 2023, Remote Sensing in Ecology and Conservation; version 1.0).

Three tables that refer to one another, deployments, media and observations with `individualID`, and datapackage.json,
which lists them. What a gallery does not know is left empty and said: where the cameras stood, who leads the project.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from attn.apps.reid.gallery import Gallery, box_of
from attn.apps.reid.review.captures import moment, write_table
from attn.apps.reid.review.decisions import Decision
from attn.core.files import claim, replacing
from attn.data_adapters.images.camtrap import NO_DEPLOYMENT

STANDARD = "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0"
COLUMNS = {
    "deployments": (
        "deploymentID", "latitude", "longitude", "deploymentStart", "deploymentEnd", "timestampIssues",
        "deploymentComments",
    ),
    "media": ("mediaID", "deploymentID", "timestamp", "filePath", "filePublic", "fileMediatype"),
    "observations": (
        "observationID", "deploymentID", "mediaID", "eventID", "eventStart", "eventEnd", "observationLevel",
        "observationType", "individualID", "bboxX", "bboxY", "bboxWidth", "bboxHeight", "classificationMethod",
        "classifiedBy", "classificationTimestamp",
    ),
}  # fmt: skip
_TYPES = {".jpg": "jpeg", ".jpeg": "jpeg", ".tif": "tiff"}
_SPAN = "start and end are those of the first and the last picture"


def write_camtrap(gallery: Gallery, log: Iterable[Decision], folder: Path) -> tuple[int, list[str]]:
    """Write all pictures; returns the number of observations, and in sentences what the standard wants besides.

    Whoever decided on a picture classified it, at that time; else nothing says who did. A box is written where it is
    in fractions of the picture, as the format wants it. A camera is a deployment, from its first picture to its last.
    UsageError: the folder holds what attn did not write.
    """
    claim(folder)
    last = {each.picture: each for each in log if each.answer != "no"}
    times: dict[str, list[str]] = {}
    media: dict[str, tuple[object, ...]] = {}
    seen = []
    for row in gallery.rows.select("id", "path", "camera", "encounter", "time", "box", "identity").rows(named=True):
        medium, place, time = _id(row["path"]), row["camera"] or NO_DEPLOYMENT, moment(row["time"]).replace(" ", "T")
        suffix = Path(row["path"]).suffix.lower()
        times.setdefault(place, []).append(time)
        media[medium] = (medium, place, time, row["path"], "false", "image/" + _TYPES.get(suffix, suffix[1:]))
        decision = last.get(row["id"])
        by = ("human", decision.who, decision.when) if decision is not None and decision.answer != "undo" else ("",) * 3
        box = box_of(row["box"])
        four = (box.x, box.y, box.w, box.h) if box is not None and box.relative else ("",) * 4
        seen.append((_id(row["id"]), place, medium, row["encounter"], time, time, "media", "animal", row["identity"],
                     *four, *by))  # fmt: skip
    deployments = [
        (place, "", "", *_span(each), str(not all(map(_has_zone, each))).lower(), _SPAN)
        for place, each in sorted(times.items())
    ]
    tables: dict[str, Sequence[Sequence[object]]] = {
        "deployments": deployments, "media": [*media.values()], "observations": seen
    }  # fmt: skip
    for name, rows in tables.items():
        cells = [[str(cell) for cell in row] for row in rows]
        schema = dict.fromkeys(COLUMNS[name], pl.String)
        write_table(folder / f"{name}.csv", pl.DataFrame(cells, schema, orient="row"))
    every = [time for each in times.values() for time in each]
    people = sorted({each.who for each in last.values() if each.answer != "undo"})
    with replacing(folder / "datapackage.json") as part:
        part.write_text(json.dumps(_described(people, every), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return len(seen), _lacking(media, every)


def _described(people: Sequence[str], times: Sequence[str]) -> dict[str, object]:
    """datapackage.json as far as a gallery knows it."""
    start, end = (time[:10] for time in _span(times))
    known: dict[str, object] = {"temporal": {"start": start, "end": end}} if start else {}
    return known | {
        "profile": f"{STANDARD}/camtrap-dp-profile.json",
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "resources": [
            {
                "name": name,
                "path": f"{name}.csv",
                "profile": "tabular-data-resource",
                "schema": f"{STANDARD}/{name}-table-schema.json",
            }
            for name in COLUMNS
        ],
        "contributors": [{"title": who, "role": "contributor"} for who in people],
        "project": {"individualAnimals": True, "observationLevel": ["media"]},
        "taxonomic": [],
    }


def _lacking(media: Mapping[str, Sequence[object]], times: Sequence[str]) -> list[str]:
    without, outside = times.count(""), sum(".." in str(row[3]) for row in media.values())
    said = ["Camtrap DP also wants coordinates in deployments.csv, and project and place in datapackage.json"]
    said += [f"{without} pictures have no time, which Camtrap DP wants"] * (without > 0)
    return said + [f"{outside} pictures lie outside the folder of the photographs"] * (outside > 0)


def _span(times: Iterable[str]) -> tuple[str, str]:
    """The first and the last, "" where none is known."""
    known = sorted(filter(None, times))
    return (known[0], known[-1]) if known else ("", "")


def _has_zone(time: str) -> bool:
    return time.endswith("Z") or time[-6:-5] in ("+", "-")


def _id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
