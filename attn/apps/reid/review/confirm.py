"""What people decided becomes the identities of a gallery.

Pictures that are not in the gallery are indexed first, as pictures of nobody known. Then, while nobody else writes,
each decision is checked against the gallery as it is now, the log is written, and after it the gallery. Taking a
decision back takes the pictures out again that it brought in.
"""

import filecmp
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from attn.apps.reid.gallery import Gallery, ModelId, box_of, open_gallery, write_gallery, writing
from attn.apps.reid.index import Embed, index
from attn.apps.reid.review.answers import Answers, Shown, Verdict
from attn.apps.reid.review.decisions import Decision, add_to_log, read_log, taken_back, with_decisions
from attn.core.errors import InputError, UsageError
from attn.data_adapters.images.identities import LabelledIndividuals
from attn.data_adapters.images.identity_rows import NOBODY, Rows

COLUMNS = ("id", "answer", "old", "new", "error")
Model = Callable[[], tuple[Embed, ModelId]]


def confirm(answers: Answers, folder: Path, model: Model, who: str | None = None) -> list[dict[str, object]]:
    """Apply answers to a gallery; a row of COLUMNS for each picture. `model` is asked where one is to be indexed.

    An answer that does not fit the gallery as it is now has an error, and changes nothing.
    InputError: no gallery, nobody said who decides. ModelError: pictures to index, and another model made the gallery.
    """
    who = _person(who if who is not None else answers.who)
    added, left_out = _index_others(answers, open_gallery(folder, whole=True), model)
    with writing(folder):
        gallery, log = open_gallery(folder, whole=True), read_log(folder)
        batch, when = (log[-1].batch if log else 0) + 1, _now()
        rows: list[dict[str, object]] = []
        new: list[Decision] = []
        now = _now_named(gallery, log)
        known = {*now.values()} - {""}
        for verdict in answers.queries:
            wrong = _wrong(verdict, known)
            for shown in verdict.pictures:
                old = now.get(shown.id, shown.identity)
                to = old if verdict.answer == "no" else verdict.individual
                error = wrong or left_out.get(shown.id) or _changed(shown, now)
                if error is None and to != old:
                    error = _conflict(shown.id, verdict, gallery, now)
                rows.append({"id": shown.id, "answer": verdict.answer, "old": old, "new": to, "error": error})
                if error is None:
                    new.append(
                        Decision(batch=batch, who=who, when=when, picture=shown.id, answer=verdict.answer, old=old,
                                 new=to, rejected=verdict.rejected, added=shown.id in added)
                    )  # fmt: skip
                    now[shown.id] = to
                    added -= {shown.id}  # by its first entry
        if new or added:  # what is left of those got no name
            _write(gallery, add_to_log(folder, log, new) if new else log, without=added)
    return rows


def undo(folder: Path, who: str | None) -> list[dict[str, object]]:
    """Take back the last confirm that is not taken back yet; a row of COLUMNS for each picture.

    InputError: no gallery, nobody said who decides. UsageError: nothing to take back.
    """
    who = _person(who or "")
    with writing(folder):
        gallery, log = open_gallery(folder, whole=True), read_log(folder)
        back = taken_back(log, who, _now())
        _write(gallery, add_to_log(folder, log, back), without={each.picture for each in back if each.added})
    return [{"id": each.picture, "answer": "undo", "old": each.old, "new": each.new, "error": None} for each in back]


def _write(gallery: Gallery, log: Iterable[Decision], without: Collection[str] = ()) -> None:
    kept = (~gallery.rows["id"].is_in([*without])).to_numpy()
    rows = with_decisions(gallery.rows.filter(kept), log)
    write_gallery(gallery.folder, gallery.model, gallery.photos, rows, gallery.vectors[kept])


def _now_named(gallery: Gallery, log: Iterable[Decision]) -> dict[str, str]:
    """The individual of each picture."""
    return dict(with_decisions(gallery.rows, log).select("id", "identity").iter_rows())


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _person(who: str) -> str:
    if not who.strip():
        raise UsageError("nobody says who decides", hint="give --who NAME")
    return who.strip()


def _wrong(verdict: Verdict, known: set[str]) -> str | None:
    """What is wrong with the individual."""
    name = verdict.individual
    if verdict.answer == "yes" and name not in known:
        return f"no picture of the gallery shows {name!r} now"
    if verdict.answer == "new" and name in known:
        return f"{name!r} is known already; answer yes, or give another name"
    if verdict.answer == "new" and (not name.strip() or name != name.strip() or not name.isprintable()):
        return f"{name!r} is no name for an individual"
    if verdict.answer == "new" and name.casefold() in NOBODY:
        return f"{name!r} reads like nobody; give another name"
    return None


def _changed(shown: Shown, now: dict[str, str]) -> str | None:
    if shown.id in now and now[shown.id] != shown.identity:
        was = repr(shown.identity) if shown.identity else "nobody known"
        return f"it was {was} when the page was made, and is {now[shown.id]!r} now; search again"
    return None


def _conflict(id: str, verdict: Verdict, gallery: Gallery, now: dict[str, str]) -> str | None:
    """A picture of the same bytes that shows another individual, and gets no other name by the same answer."""
    rows, together = gallery.rows.select("id", "path", "bytes", "box"), {shown.id for shown in verdict.pictures}
    for _, path, size, box in rows.filter(pl.col("id") == id).iter_rows():
        for other, its_path, *_ in rows.filter((pl.col("bytes") == size) & (pl.col("box") == box)).iter_rows():
            if now[other] in ("", verdict.individual) or other in together:
                continue
            with suppress(OSError):  # a photograph that is gone is the same as none
                if filecmp.cmp(gallery.photos / path, gallery.photos / its_path, shallow=False):
                    named = f"{now[other]!r} and {verdict.individual!r}"
                    return f"{other} and {id} are the same picture, and would be labelled {named}"
    return None


def _index_others(answers: Answers, gallery: Gallery, model: Model) -> tuple[set[str], dict[str, str]]:
    """Index the pictures that get a name and are not in the gallery: which were, and why some cannot be, by id."""
    there = _now_named(gallery, read_log(gallery.folder))
    known = {*there.values()} - {""}
    named = {
        shown.id: shown
        for verdict in answers.queries if verdict.answer != "no" and not _wrong(verdict, known)
        for shown in verdict.pictures if shown.id not in there
    }  # fmt: skip
    if not named:
        return set(), {}
    shown = [*named.values()]
    rows = Rows(
        root=gallery.photos,
        paths=[each.path for each in shown],
        identities=[""] * len(shown),
        table=pl.DataFrame(),
        boxes=[box_of(each.box) for each in shown],
        cameras=[each.camera for each in shown],
        encounters=[each.encounter for each in shown],
        times=[each.time for each in shown],
        within=[each.within for each in shown],
    )
    embed, made_by = model()
    try:
        gallery, done = index(LabelledIndividuals(gallery.photos, rows), embed, made_by, gallery.folder, add=True)
    except InputError as error:
        return set(), dict.fromkeys(named, str(error))
    reasons = dict(done.left_out)
    added = {*named} & {*gallery.rows["id"]}
    return added, {id: reasons.get(id, "could not be indexed") for id in named if id not in added}
