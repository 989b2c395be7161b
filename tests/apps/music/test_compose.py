"""The request has bounds; a piece can be taken while it is written, and saved the same way each time."""

import numpy as np
import pytest
from music_fixtures import chorale_grid, performance, tiny_generator

from attn.apps.music.compose import MOST_BARS, MOST_SAMPLES, MOST_SECONDS, MOST_SEED, Composing, Composition, Request
from attn.apps.music.grammar import PerformanceGrammar
from attn.apps.music.model import PAD
from attn.apps.music.notation import GridNotation, PianoNotation
from attn.apps.music.styles import BAR_SECONDS, Chorale, Piano
from attn.core.errors import UsageError
from attn.core.settings import checked
from attn.data_adapters.midi.tempo import TempoMap


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("bars", 1, MOST_BARS), ("samples", 1, MOST_SAMPLES), ("seed", 0, MOST_SEED)],
)
def test_whole_numbers_of_a_request_have_bounds(name, least, most):
    for value in (least, most):
        assert getattr(checked(Request, **{name: value}), name) == value
    for value in (least - 1, most + 1, 2.5, float("nan"), "x"):
        with pytest.raises(UsageError, match=f"^{name} must be "):
            checked(Request, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("seconds", value) for value in (0, -1, MOST_SECONDS + 1, float("nan"), float("inf"))),
        *(("motif_seconds", value) for value in (0, -1, float("nan"), float("inf"))),
        ("transpose", 0.5),
        ("sampling", 3),
    ],
)
def test_other_settings_out_of_bounds_are_refused(name, value):
    with pytest.raises(UsageError, match=f"^{name} must be "):
        checked(Request, **{name: value})


def test_a_setting_of_another_name_is_refused():
    with pytest.raises(UsageError, match="minutes"):
        checked(Request, minutes=3)


def test_a_setting_is_refused_only_if_it_was_given():
    request = checked(Request, motif_seconds=2.0)
    request.refuse("seconds", "bars", by="a grid")
    with pytest.raises(UsageError, match="motif-seconds has no effect on a grid; leave it out"):
        request.refuse("seconds", "motif_seconds", by="a grid")


def test_what_is_written_so_far_can_be_taken_at_any_time():
    composing = tiny_generator(Piano()).compose(performance(0), motif_seconds=1, seconds=20)
    assert composing.pieces()[0].known == len(composing.pieces()[0].ids)  # the motif alone
    for now in composing:
        if now > 4.5:  # a rest lasts 3 s at most
            break
    (piece,) = composing.pieces()
    assert 1 < piece.notes.seconds <= now + 1e-9 < composing.total_seconds == pytest.approx(21, abs=0.01)


def test_progress_ends_at_the_length_asked_for():
    composing = tiny_generator(Chorale()).compose(bars=2)
    times = list(composing)
    assert times == sorted(times) and times[-1] == pytest.approx(2 * BAR_SECONDS) == composing.total_seconds
    (taken,), (finished,) = composing.pieces(), composing.finish()
    np.testing.assert_array_equal(taken.ids, finished.ids)


def test_padding_after_a_finished_piece_is_no_part_of_it():
    style = Piano()
    known_l = style.encode(performance(0, 4))
    score = PerformanceGrammar(style.vocabulary, 2, 30.0, known_l)
    long, short = style.vocabulary.time_shift.start, PAD
    how = PianoNotation(TempoMap.of_bpm(120))
    pieces = Composing(style, how, known_l, 1.0, score, [np.array([long, long]), np.array([long, short])]).finish()
    assert [len(piece.ids) - piece.known for piece in pieces] == [2, 1]
    assert [piece.known for piece in pieces] == [len(known_l)] * 2


def test_the_same_piece_is_saved_as_the_same_bytes(tmp_path):
    style = Chorale()
    ids_l = style.encode(chorale_grid(0, bars=1))
    how = GridNotation(TempoMap.of_bpm(style.bpm))
    piece = Composition(how.heard(style, ids_l), 0.0, ids_l, how)
    assert len(piece.notes) == sum(len(part) for part in piece.parts.values())
    for name in ("a.mid", "b.mid"):
        piece.save(tmp_path / name)
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()
