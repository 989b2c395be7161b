"""The answers of a search as rows of a table, and the sentences about all of them."""

from collections import Counter
from collections.abc import Sequence

from attn.apps.reid.gallery import Gallery
from attn.apps.reid.predict import ReIDPredictor
from attn.apps.reid.queries import RULES
from attn.apps.reid.search import Answer, Query
from attn.data_adapters.images.photographs import Flag

NOBODY = "nobody known"
COPY, BLANK = "copy", "blank-evidence"
_EQUAL = 1 - 1e-6  # the cosine of two copies
COLUMNS = (
    "id", "rank", "individual", "probability", "threshold", "similarity", "inliers", "score", "margin", "picture", "of",
    "answer", "filters", "flags", "error", "model",
)  # fmt: skip


def rows_of(answer: Answer, gallery: Gallery, ids: Sequence[str], model: str) -> list[dict[str, object]]:
    """A row of COLUMNS for each rank. ids: those of the query's pictures; `of` is the one that the evidence is for."""
    query = answer.query
    about: dict[str, object] = {**dict.fromkeys(COLUMNS), "id": query.id, "model": model}
    about |= {"answer": answer_of(answer), "filters": filters(answer), "threshold": answer.threshold}
    if not answer.ranked:
        return [about | {"flags": ";".join(query.flags), "error": "no picture of the gallery is left to compare with"}]
    rows = []
    for each in answer.ranked:
        blank = Flag.BLANK in gallery.rows["flags"][each.row].split(" ")
        flags = [*query.flags, *[COPY] * (each.similarity >= _EQUAL), *[BLANK] * blank]
        cells = {
            "rank": each.rank,
            "individual": each.individual,
            "probability": each.probability,
            "similarity": each.similarity,
            "inliers": each.inliers,
            "score": each.score,
        }
        cells |= {"margin": each.margin, "picture": each.picture, "of": ids[each.of_query], "flags": ";".join(flags)}
        rows.append(about | cells)
    return rows


def failed_row(id: str, reason: str, model: str) -> dict[str, object]:
    """The row of a picture that cannot be used."""
    return {**dict.fromkeys(COLUMNS), "id": id, "error": reason, "model": model}


def answer_of(answer: Answer) -> str | None:
    """Who it is: an individual, nobody known, or None where the model has no probabilities to decide by."""
    if answer.known is None:
        return None
    return (answer.ranked[0].individual or answer.ranked[0].picture) if answer.known else NOBODY


def filters(answer: Answer) -> str:
    """The rules that were used for a query, and how many pictures of the gallery each left out."""
    said = []
    for rule in RULES:
        values = _values(answer.query, rule)
        if values is not None:
            shown = ", ".join(dict.fromkeys(values)) if all(values) else "not known"
            said.append(f"{rule} {shown} (-{answer.left_out.get(rule, 0)})")
    if answer.left_out.get("itself"):
        said.append(f"itself (-{answer.left_out['itself']})")
    return "; ".join(said)


def without_probabilities(predictor: ReIDPredictor, *, verified: bool) -> str:
    """Why a search has no probabilities, where it has none."""
    if predictor.sa_only and predictor.record.calibration:
        return "the calibration is of the whole model; leave --sa-only out"
    if verified and predictor.calibration is not None:
        return "the model is calibrated for cosines alone; attn reid calibrate --verify does the rest"
    return "the model is not calibrated; attn reid calibrate does it"


def summary(answers: Sequence[Answer], off: Sequence[str], without: str) -> list[str]:
    """What each rule did to all queries together, in sentences. without: see `without_probabilities`."""
    dropped = Counter[str]()
    for answer in answers:
        dropped.update(answer.left_out)
    said = []
    for rule in RULES:
        values = [_values(answer.query, rule) for answer in answers]
        if rule in off or not any(each is not None for each in values):
            said.append(f"{rule}: not used" + ("" if rule in off else ", because the gallery has no such values"))
            continue
        unknown = sum(not all(each or ()) for each in values)
        what = "other values" if rule == "within" else f"the same individual and {rule}"
        line = f"{rule}: {dropped[rule]} pictures of {what} left out"
        said.append(line + (f"; {unknown} queries have no value, and are compared with all" if unknown else ""))
    if there := sum(bool(answer.left_out.get("itself")) for answer in answers):
        said.append(f"{there} queries lie in the gallery themselves, and are not compared with themselves")
    if answers and all(answer.known is None for answer in answers):
        said.append(f"no probabilities, and no `nobody known`: {without}")
    return said


def _values(query: Query, rule: str) -> tuple[str, ...] | None:
    return {"within": query.within, "camera": query.cameras, "encounter": query.encounters}[rule]
