"""Pictures of music: what is where on them, by colour."""

import numpy as np
import pytest
from PIL import Image

from attn.apps.music.arcs import MOST_ARCS, draw_arcs, strongest
from attn.apps.music.roll import MOST_ROWS, draw_roll
from attn.core.errors import InputError
from attn.data_adapters.midi.notes import Notes

HEADER = 45  # pixels that the title and the key take at the top


def pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def reds(picture) -> tuple[np.ndarray, np.ndarray]:
    return np.nonzero((picture[HEADER:, :, 0] > 150) & (picture[HEADER:, :, 1] < 60))


def blues(picture) -> tuple[np.ndarray, np.ndarray]:
    return np.nonzero((picture[HEADER:, :, 2] > 140) & (picture[HEADER:, :, 0] < 110))


@pytest.fixture
def notes() -> Notes:
    """Two notes of the motif, low; two of the continuation, high."""
    return Notes.of([0.2, 1, 3, 4], [0.8, 1.8, 3.8, 5], [50, 52, 70, 72], [100, 100, 100, 100])


def test_time_runs_to_the_right_pitch_up_and_the_motif_has_its_colour(notes, tmp_path):
    draw_roll(notes, tmp_path / "a.png", motif_seconds=2, title="$not maths^{")
    picture = pixels(tmp_path / "a.png")
    (red_y, red_x), (blue_y, blue_x) = reds(picture), blues(picture)
    assert red_x.max() < blue_x.min() and red_y[red_x < 900].min() > blue_y.max()
    # The lengths of 3.8 s and 1 s notes keep their ratio: the bars 3..3.8 and 4..5 have the widths 0.8 and 1.
    top, low = blue_x[blue_y < np.median(blue_y)], blue_x[blue_y > np.median(blue_y)]
    assert np.ptp(top) / np.ptp(low) == pytest.approx(1 / 0.8, rel=0.05)
    draw_roll(notes, tmp_path / "b.png")
    assert len(reds(pixels(tmp_path / "b.png"))[0]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_harder_notes_are_darker(tmp_path):
    brightness = []
    for velocity in (20, 60, 100):
        draw_roll(Notes.of([0], [4], [60], [velocity]), tmp_path / "a.png")
        picture = pixels(tmp_path / "a.png")[HEADER:]
        coloured = np.ptp(picture, axis=2) > 40
        brightness.append(picture[coloured].mean())
    assert brightness[0] > brightness[1] + 15 and brightness[1] > brightness[2] + 15


def test_a_long_piece_has_more_rows_but_not_without_end(notes, tmp_path):
    heights = []
    for seconds in (5, 40, 4000):
        draw_roll(notes.stretched(seconds / 5), tmp_path / "a.png", bar_seconds=2.4)
        height, width, _ = pixels(tmp_path / "a.png").shape
        assert width == 1690
        heights.append(height)
    one, two, most = heights
    assert most - one == pytest.approx((MOST_ROWS - 1) * (two - one), abs=8)


def test_the_strongest_arcs_lead_to_the_past():
    weights = np.arange(16.0).reshape(4, 4)
    looking, seen, weight = strongest(weights)
    assert list(zip(looking, seen, weight, strict=True)) == [
        (1, 0, 4),
        (2, 0, 8),
        (2, 1, 9),
        (3, 0, 12),
        (3, 1, 13),
        (3, 2, 14),
    ]
    many = np.random.default_rng(0).random((80, 80)) + 0.5
    assert len(strongest(many)[0]) == MOST_ARCS
    assert strongest(many)[2].min() == np.sort(many[np.tril_indices(80, -1)])[-MOST_ARCS]
    assert len(strongest(np.triu(many))[0]) == 0


def test_an_arc_spans_the_time_between_its_notes(notes, tmp_path):
    weights = np.zeros((4, 4))
    draw_arcs(notes, weights, tmp_path / "none.png")
    weights[3, 1] = 1
    draw_arcs(notes, weights, tmp_path / "one.png")

    def violet(name):
        picture = pixels(tmp_path / name)[HEADER:]
        return np.nonzero((abs(picture - (0x6A, 0x3D, 0x9A)) < 12).all(2))

    assert len(violet("none.png")[0]) == 0
    x = violet("one.png")[1]
    _, blue_x = blues(pixels(tmp_path / "none.png"))
    per_second = np.ptp(blue_x) / 4.8  # the notes last from 0.2 s to 5 s
    assert np.ptp(x) / per_second == pytest.approx(3, rel=0.05)


def test_what_cannot_be_drawn_is_said(notes, tmp_path):
    with pytest.raises(InputError, match="no notes"):
        draw_roll(Notes.none(), tmp_path / "a.png")
    with pytest.raises(InputError, match="no notes"):
        draw_arcs(Notes.none(), np.zeros((0, 0)), tmp_path / "a.png")
    with pytest.raises(InputError, match=r"\(3, 3\) for 4 notes"):
        draw_arcs(notes, np.zeros((3, 3)), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
