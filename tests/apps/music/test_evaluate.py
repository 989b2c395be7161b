"""The evaluation: intervals that contain their value, splits by name, a complete report and its picture."""

import numpy as np
import pytest
from music_fixtures import chorale_pieces, piano_pieces, tiny_generator
from PIL import Image

from attn.apps.music.corpus import Piece
from attn.apps.music.evaluate import after, groups_of, likelihood, part_of, pictures, rows_of, writing
from attn.apps.music.likelihood import rates, surprise
from attn.apps.music.sources import Collection, open_collection
from attn.apps.music.styles import Chorale, Piano
from attn.core.errors import InputError, UsageError

KEYS = {"continuations", "distance", "recurrence", "motif_overlap", "copied_from_training", "histograms"}


@pytest.fixture(scope="module")
def composer():
    return tiny_generator(Chorale())


def test_intervals_contain_their_value_and_the_values_are_those_of_all_pieces(composer):
    pieces = chorale_pieces(5, bars=2)
    report = likelihood(composer, pieces, length=128)
    expected = rates(surprise(composer.model, Chorale(), pieces, length=128, stride=64))
    assert (report["pieces"], report["tokens"], report["context"]) == (5, 5 * 128, 128)
    for name, value in expected.items():
        assert report[name]["value"] == pytest.approx(value)
        assert report[name]["low"] < value < report[name]["high"]
    (same,) = (likelihood(composer, pieces[:1], length=128)[name] for name in ["nll_per_token"])
    assert same["low"] == pytest.approx(same["value"]) == pytest.approx(same["high"])


def test_groups_have_the_likelihood_of_their_pieces(composer):
    pieces = chorale_pieces(4, bars=2)
    report = likelihood(composer, pieces, length=128, groups=["b", "a", "b", "b"])
    rows = report["groups"]
    assert [(row["group"], row["pieces"], row["tokens"]) for row in rows] == [("a", 1, 128), ("b", 3, 384)]
    alone = likelihood(composer, [pieces[0], *pieces[2:]], length=128)
    assert rows[1]["nll_per_note"] == pytest.approx(alone["nll_per_note"])
    assert [row["piece"] for row in report["per_piece"]] == ["0", "1", "2", "3"]
    assert report["per_piece"][1]["nll_per_token"] == pytest.approx(rows[0]["nll_per_token"]["value"])
    assert "groups" not in likelihood(composer, pieces[:1], length=128)


def test_pieces_are_grouped_by_split_or_folder():
    one, two, three = (Piece(name, ()) for name in ("2004/a.mid", "2006/b.mid", "c.mid"))
    collection = Collection([one], [two], [three], {})
    assert groups_of(collection, [three, one], "split") == ["test", "train"]
    assert groups_of(collection, [one, two, three], "folder") == ["2004", "2006", "."]
    with pytest.raises(UsageError, match="no column 'composer'; there are split and folder"):
        groups_of(collection, [one], "composer")


def test_the_picture_shows_the_report(composer, tmp_path, monkeypatch):
    monkeypatch.setattr("attn.apps.music.evaluate.WRITTEN_BARS", 1)
    pieces = chorale_pieces(3, bars=4)
    report = likelihood(composer, pieces)
    (path,) = pictures(report, tmp_path / "a")
    assert path == tmp_path / "a" / "evaluation.png"
    read_only = image_size(path)
    (path,) = pictures(report | writing(composer, pieces, [], samples=2), tmp_path / "b")
    assert image_size(path)[0] > 2 * read_only[0]  # the histograms stand beside the likelihood
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds notes\.txt"):
        pictures(report, tmp_path / "mine")


def image_size(path):
    with Image.open(path) as image:
        return image.size


def test_the_models_own_length_is_the_context_and_a_longer_one_may_be_asked_for(composer):
    pieces = chorale_pieces(1, bars=4)
    assert likelihood(composer, pieces)["context"] == 128
    whole = likelihood(composer, pieces, length=256)["nll_per_token"]["value"]
    assert whole == pytest.approx(
        rates(surprise(composer.model, Chorale(), pieces, length=256, stride=256))["nll_per_token"]
    )
    with pytest.raises(UsageError, match="less than a bar"):
        likelihood(composer, pieces, length=10)


def test_the_report_on_writing_is_complete_and_repeatable(composer, monkeypatch):
    monkeypatch.setattr("attn.apps.music.evaluate.WRITTEN_BARS", 2)
    pieces, training = chorale_pieces(3, bars=4), chorale_pieces(1, bars=4)
    report = writing(composer, pieces, training, samples=2, seed=1)
    assert report.keys() == KEYS and report["continuations"] == 2
    assert report == writing(composer, pieces, training, samples=2, seed=1)
    assert all(0 <= row["value"] <= 1 for row in report["distance"].values())
    notes = {kind: sum(counts) for kind, counts in report["histograms"]["pitch_class"].items()}
    assert notes == {kind: sum(counts) for kind, counts in report["histograms"]["duration"].items()}
    assert notes["real"] > 0 and notes["generated"] > 0
    for name in KEYS - {"continuations", "distance", "histograms"}:
        assert report[name].keys() == {"generated", "real"}
        assert all(0 <= value <= 1 for value in report[name].values())
    assert report["copied_from_training"]["real"] >= 0.5  # one of the two was trained on
    assert report["copied_from_training"]["generated"] < 0.1
    assert writing(composer, pieces, [], samples=1)["copied_from_training"] is None
    rows = rows_of(report)
    assert {"copied_from_training generated", "motif_overlap real"} <= {row["measure"] for row in rows}
    assert all(row.keys() == {"measure", "value", "low", "high"} for row in rows)
    assert not any("histograms" in row["measure"] for row in rows)


def test_performances_are_continued_from_their_motif(monkeypatch):
    monkeypatch.setattr("attn.apps.music.evaluate.WRITTEN_SECONDS", 1.0)
    generator = tiny_generator(Piano())
    report = writing(generator, piano_pieces(2), [], samples=1)
    assert report["continuations"] == 1 and 0 <= report["motif_overlap"]["real"] <= 1
    assert all(0 <= row["value"] <= 1 for row in report["distance"].values())
    too_short = [Piece("a", (piano_pieces(1)[0].ids[0][:20],))]
    with pytest.raises(InputError, match="no piece is long enough to be continued; measure with --samples 0"):
        writing(generator, too_short, [], samples=1)


def test_what_comes_after_the_motif_begins_at_its_end(composer):
    (piece,) = composer.continue_grid(Chorale().grid(chorale_pieces(1)[0].ids[0]), bars=1)
    rest = after(piece)
    written = Chorale().notes(piece.ids[piece.known :])
    assert 0 < len(rest) <= len(written) and rest.seconds == pytest.approx(written.seconds)
    assert set(zip(rest.start.round(6), rest.pitch, strict=True)) <= set(
        zip(written.start.round(6), written.pitch, strict=True)
    )


def test_parts_are_found_by_name(chorales, tmp_path):
    collection = open_collection(chorales, Chorale(), tmp_path)
    sizes = [len(part_of(collection, split)) for split in ("train", "valid", "validation", "test", "all")]
    np.testing.assert_array_equal(sizes, [6, 2, 2, 2, 10])
    with pytest.raises(UsageError, match="no split 'dev'; there are train, validation, test and all"):
        part_of(collection, "dev")
