"""Confirm: identities, who and when; new pictures are indexed; what does not fit is left; undo; a killed one."""

import shutil
from pathlib import Path

import pytest
from reid_review_fixtures import MODEL, Scene, embed

from attn.apps.reid.gallery import GALLERY, ModelId, check
from attn.apps.reid.index import index
from attn.apps.reid.review import confirm as module
from attn.apps.reid.review.answers import Answers, Shown, Verdict, read_answers
from attn.apps.reid.review.confirm import confirm, undo
from attn.apps.reid.review.decisions import read_log
from attn.core.errors import InputError, ModelError, UsageError
from attn.data_adapters.images.identities import open_individuals


def answered(*verdicts: Verdict, who: str = "Ana") -> Answers:
    return Answers(schema_version=1, who=who, queries=list(verdicts))


def says(answer: str, individual: str, *pictures: Shown, rejected: tuple[str, ...] = ()) -> Verdict:
    return Verdict.model_validate(
        {"pictures": list(pictures), "answer": answer, "individual": individual, "rejected": list(rejected)}
    )


def model() -> tuple:
    return embed, MODEL


def no_model() -> tuple:
    raise AssertionError("nothing is to be indexed")


def named(scene: Scene) -> dict[str, str]:
    return dict(scene.gallery.rows.select("id", "identity").iter_rows())


def test_yes_to_a_picture_of_the_gallery(scene: Scene) -> None:
    before = scene.gallery.vectors.copy()
    rows = confirm(answered(says("yes", "007", scene.shown("4.png"), rejected=("X",))), scene.folder, no_model)
    assert rows == [{"id": "4.png", "answer": "yes", "old": "", "new": "007", "error": None}]
    assert named(scene)["4.png"] == "007" and (scene.gallery.vectors == before).all() and check(scene.folder) == []
    (entry,) = read_log(scene.folder)
    assert (entry.batch, entry.who, entry.picture, entry.old, entry.new) == (1, "Ana", "4.png", "", "007")
    assert entry.rejected == ["X"] and entry.when.endswith("Z")


def test_a_picture_that_is_not_in_the_gallery_is_indexed(scene: Scene) -> None:
    rows = confirm(answered(says("new", "Ágnes", scene.fresh(), scene.shown("4.png"))), scene.folder, model, who="Bo")
    assert [row["error"] for row in rows] == [None, None]
    assert named(scene)["new/5.png"] == named(scene)["4.png"] == "Ágnes" and len(scene.gallery) == 5
    row = scene.gallery.rows.filter(scene.gallery.rows["id"] == "new/5.png").row(0, named=True)
    assert (row["time"], row["encounter"], row["camera"]) == ("2024-03-02T12:00:00", "2", "north")
    assert {each.who for each in read_log(scene.folder)} == {"Bo"}


def test_a_no_changes_no_identity_and_needs_no_model(scene: Scene) -> None:
    confirm(answered(says("no", "", scene.fresh(), rejected=("007",))), scene.folder, no_model)
    assert len(scene.gallery) == 4 and read_log(scene.folder)[0].rejected == ["007"]


def test_answers_that_do_not_fit_change_nothing(scene: Scene) -> None:
    wrong = [
        (says("yes", "008", scene.shown("4.png")), "no picture of the gallery shows '008' now"),
        (says("new", "007", scene.shown("4.png")), "'007' is known already; answer yes, or give another name"),
        (says("new", " x", scene.shown("4.png")), "' x' is no name"),
        (says("new", "a\nb", scene.shown("4.png")), r"'a\nb' is no name"),
        (says("new", "Unknown", scene.shown("4.png")), "'Unknown' reads like nobody"),
        (says("yes", "007", scene.shown("4.png", identity="X")), "it was 'X' when the page was made, and is '' now"),
        (says("yes", "007", Shown(id="gone.png", path="gone.png")), "gone.png: no such file"),
    ]
    before = named(scene)
    rows = confirm(answered(*(verdict for verdict, _ in wrong)), scene.folder, model)
    for row, (_, sentence) in zip(rows, wrong, strict=True):
        assert sentence in str(row["error"])
    fresh = answered(says("yes", "008", scene.fresh()), says("new", "007", scene.fresh()))
    assert all(row["error"] for row in confirm(fresh, scene.folder, no_model))  # nor is their picture indexed
    assert named(scene) == before and read_log(scene.folder) == []


def test_one_picture_with_two_names_gets_the_first(scene: Scene) -> None:
    shown = scene.shown("4.png")
    rows = confirm(answered(says("new", "A", shown), says("new", "B", shown)), scene.folder, no_model)
    assert rows[0]["error"] is None and "is 'A' now" in str(rows[1]["error"]) and named(scene)["4.png"] == "A"


def test_the_same_bytes_are_not_two_individuals(scene: Scene) -> None:
    """Of the gallery or new; those of one answer change their name together."""
    shutil.copy(scene.photos / "3.png", scene.photos / "copy.png")
    copy = Shown(id="copy.png", path="copy.png")
    said = "3.png and copy.png are the same picture, and would be labelled '007' and 'A'"
    (row,) = confirm(answered(says("new", "A", copy)), scene.folder, model)
    assert row["error"] == said and "copy.png" not in named(scene) and read_log(scene.folder) == []
    (row,) = confirm(answered(says("yes", "007", copy)), scene.folder, model)
    assert row["error"] is None and named(scene)["copy.png"] == "007"
    (row,) = confirm(answered(says("new", "A", scene.shown("copy.png"))), scene.folder, no_model)
    assert row["error"] == said and named(scene)["copy.png"] == "007"
    both = says("new", "A", scene.shown("3.png"), scene.shown("copy.png"))
    assert [row["error"] for row in confirm(answered(both), scene.folder, no_model)] == [None, None]


def test_undo_takes_back_the_last_confirm(scene: Scene) -> None:
    before = named(scene)
    confirm(answered(says("new", "A", scene.shown("4.png"))), scene.folder, no_model)
    confirm(answered(says("yes", "007", scene.shown("4.png"))), scene.folder, no_model)
    assert undo(scene.folder, "Bo") == [{"id": "4.png", "answer": "undo", "old": "007", "new": "A", "error": None}]
    assert named(scene)["4.png"] == "A"
    undo(scene.folder, "Bo")
    assert named(scene) == before and [each.who for each in read_log(scene.folder)] == ["Ana", "Ana", "Bo", "Bo"]
    with pytest.raises(UsageError, match="no decision to take back"):
        undo(scene.folder, "Bo")
    with pytest.raises(UsageError, match="nobody says who decides; give --who NAME"):
        undo(scene.folder, None)


def test_undo_takes_out_what_confirm_brought_in(scene: Scene) -> None:
    before, vectors = scene.gallery.rows, scene.gallery.vectors
    twice = answered(says("new", "A", scene.fresh(), scene.shown("4.png")), says("new", "B", scene.fresh()))
    confirm(twice, scene.folder, model)
    confirm(answered(says("yes", "007", scene.shown("new/5.png"))), scene.folder, no_model)
    undo(scene.folder, "Bo")
    assert named(scene)["new/5.png"] == "A"
    undo(scene.folder, "Bo")
    assert scene.gallery.rows.equals(before) and (scene.gallery.vectors == vectors).all() and check(scene.folder) == []
    confirm(answered(says("yes", "007", scene.fresh())), scene.folder, model)
    assert named(scene)["new/5.png"] == "007"


def test_a_confirm_that_is_killed_after_the_log_is_made_good(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    described = (scene.folder / GALLERY).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_gallery", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            confirm(answered(says("yes", "007", scene.shown("4.png"))), scene.folder, no_model)
    assert (scene.folder / GALLERY).read_bytes() == described and named(scene)["4.png"] == ""
    confirm(answered(says("no", "", scene.shown("1.png"))), scene.folder, no_model)
    assert named(scene)["4.png"] == "007"


def test_indexing_anew_keeps_decisions_but_a_corrected_table_is_right(scene: Scene) -> None:
    confirm(answered(says("yes", "007", scene.shown("4.png"))), scene.folder, no_model)
    index(open_individuals(scene.photos / "t.csv"), embed, MODEL, scene.folder)
    assert named(scene)["4.png"] == "007"
    table = (scene.photos / "t.csv").read_text().replace("4.png,,", "4.png,Zed,")
    (scene.photos / "t.csv").write_text(table)
    index(open_individuals(scene.photos / "t.csv"), embed, MODEL, scene.folder)
    assert named(scene)["4.png"] == "Zed"


def test_another_model_is_refused_before_anything_is_written(scene: Scene) -> None:
    with pytest.raises(ModelError, match="was made by the model"):
        confirm(
            answered(says("yes", "007", scene.fresh())), scene.folder, lambda: (embed, ModelId("other", "cd" * 32, 3))
        )
    assert read_log(scene.folder) == [] and len(scene.gallery) == 4


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 2, "who": "A", "queries": []}', "\udce9"])
def test_other_files_are_no_answers(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"a\.json: is not what the page of attn reid search --review saves"):
        read_answers(tmp_path / "a.json")
