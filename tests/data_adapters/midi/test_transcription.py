"""What is heard in recordings: drawn singers, pieces played by the synthesis, beats of drawn onsets."""

from difflib import SequenceMatcher
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
from singing import RATE, sung

from attn.apps.music.sound import render
from attn.core.errors import InputError, UsageError
from attn.data_adapters.midi import transcription
from attn.data_adapters.midi.beat import beat_of
from attn.data_adapters.midi.file import read_midi, with_sustain
from attn.data_adapters.midi.music import read_music, require_reader
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.transcription import HOP, notes_of, on_lines, posteriors, without_overtones

ODE = [66, 66, 67, 69, 69, 67, 66, 64, 62, 62, 64, 66, 66, 64, 64]
ODE_BEATS = [1.0] * 12 + [1.5, 0.5, 2.0]
EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize("bpm", [72.0, 100.0, 132.0])
def test_a_sung_tune_is_heard_note_for_note_with_its_tempo(tmp_path: Path, bpm: float) -> None:
    soundfile.write(tmp_path / "a.wav", sung(ODE, ODE_BEATS, bpm), RATE)
    heard = read_music(tmp_path / "a.wav")
    (track,) = heard.tracks
    assert heard.tempo.bpm[0] == pytest.approx(bpm, rel=0.01)
    matched = SequenceMatcher(None, ODE, track.notes.pitch.tolist(), autojunk=False).get_matching_blocks()
    pairs = [(block.a + k, block.b + k) for block in matched for k in range(block.size)]
    assert len(pairs) == len(ODE) and len(track.notes) <= len(ODE) + 1
    sixteenths = np.rint(4 * heard.tempo.quarters(track.notes.start))
    expected = np.rint(4 * np.cumsum([0, *ODE_BEATS[:-1]]))
    np.testing.assert_array_equal(sixteenths[[k for _, k in pairs]], expected)
    said = f"notes are heard at {heard.tempo.bpm[0]:.0f} quarter notes a minute"
    assert heard.flags == (f"{len(track.notes)} {said}",)


@pytest.mark.parametrize("name", ["motif", "melody"])
def test_a_played_piece_is_heard_as_it_is_written(tmp_path: Path, name: str) -> None:
    """Nine tenths of the notes within 50 ms (the measure of the field), and hardly any beside."""
    written = with_sustain(read_midi(EXAMPLES / f"{name}.mid"))
    render(written, tmp_path / "a.wav")
    heard = read_music(tmp_path / "a.wav").tracks[0].notes
    left, hits = list(zip(heard.start, heard.pitch, strict=True)), 0
    for start, pitch in zip(written.start - written.start[0], written.pitch, strict=True):
        near = [note for note in left if note[1] == pitch and abs(note[0] - start) < 0.05]
        hits += bool(near)
        left = [note for note in left if note is not (near or [None])[0]]
    assert 2 * hits / (len(written) + len(heard)) > 0.9


def test_windows_give_every_frame_once_and_in_its_place() -> None:
    """A frame is the same wherever the windows happen to lie: half a second of silence before moves it, no more."""
    pytest.importorskip("basic_pitch")
    network = transcription._network(Path("a.wav"))
    samples = sung(ODE[:6], ODE_BEATS[:6], 100)
    moved = 43 * HOP
    whole, later = (posteriors(network, np.pad(samples, (pad, 0)))[0] for pad in (0, moved))
    assert len(whole) == -(-len(samples) // HOP) and len(later) == len(whole) + 43
    assert np.abs(later[43:] - whole).mean() < 0.01 and np.abs(later[43:] - whole).max() < 0.35
    for empty in (0, 1, HOP, HOP + 1):
        assert len(posteriors(network, np.zeros(empty, np.float32))[0]) == -(-empty // HOP)


def test_notes_are_traced_from_onset_to_silence() -> None:
    note, onset = np.zeros((200, 88), np.float32), np.zeros((200, 88), np.float32)
    note[20:80, 40] = 0.8
    note[50:58, 40] = 0.2  # a gap shorter than a note's end
    onset[20, 40] = 0.9
    note[100:160, 40], onset[100, 40], onset[130, 40] = 0.8, 0.9, 0.85  # struck again
    onset[115, 40] = 0.6  # only a tremble
    note[20:80, 41] = 0.4  # the key beside has no onset
    note[170:175, 10], onset[170, 10] = 0.8, 0.9  # too short
    heard = notes_of(note, onset)
    np.testing.assert_allclose(heard.start * RATE / HOP, [20, 100, 130])
    np.testing.assert_allclose(heard.end * RATE / HOP, [80, 130, 160])
    np.testing.assert_array_equal(heard.pitch, 61)


def test_a_first_note_before_its_sixteenth_is_none_before_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chord rolled downwards, of which the sixteenth begins with the last note."""
    rolled = Notes.of([1.0, 1.01, 1.023, 2.023, 3.023], [1.5, 1.5, 1.5, 2.5, 3.5], [72, 67, 60, 60, 60], [80] * 5)
    monkeypatch.setattr(transcription, "notes_of", lambda *posteriors: rolled)
    monkeypatch.setattr(transcription, "beat_of", lambda start: (60.0, 1.023))
    soundfile.write(tmp_path / "a.wav", np.zeros(2 * RATE), RATE)
    notes = read_music(tmp_path / "a.wav").notes
    assert list(zip(notes.start.round(3), notes.pitch, strict=True)) == [(0, 60), (0, 67), (0, 72), (1, 60), (2, 60)]


def test_a_recording_is_heard_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.wav", sung(ODE[:4], ODE_BEATS[:4], 100), RATE)
    assert read_music(tmp_path / "a.wav") is read_music(tmp_path / "a.wav")
    soundfile.write(tmp_path / "a.wav", sung(ODE[:5], ODE_BEATS[:5], 100), RATE)
    assert len(read_music(tmp_path / "a.wav").notes) == 5


def test_a_full_bar_does_not_reach_into_the_next_one() -> None:
    """Sixteenths of 0.1 s: ends up to 0.04 s late and beginnings up to 0.01 s early move to their line."""
    heard = on_lines(Notes.of([0.02, 0.395, 0.38], [0.435, 0.79, 0.85], [60, 62, 64], [80] * 3), 0.1)
    np.testing.assert_allclose(heard.start, [0.02, 0.38, 0.4])
    np.testing.assert_allclose(heard.end, [0.4, 0.85, 0.79])


def test_overtones_go_and_octaves_stay() -> None:
    notes = Notes.of([0, 0.01, 0.02, 1, 1.0], [1, 1, 1, 2, 2], [60, 72, 79, 60, 72], [100, 50, 40, 100, 90])
    kept = without_overtones(notes)
    np.testing.assert_array_equal(kept.pitch, [60, 60, 72])


@pytest.mark.parametrize("seed", range(8))
def test_the_beat_of_drawn_onsets_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bpm = float(rng.uniform(80, 130))
    beats = np.cumsum([0, *rng.choice([0.5, 1, 1, 1, 2], 20)])
    start = 3 + beats * 60 / bpm + rng.normal(0, 0.01, 21)
    found, begin = beat_of(start)
    assert found == pytest.approx(bpm, rel=0.01)
    assert begin == pytest.approx(3, abs=0.015)


@pytest.mark.parametrize("bpm", [89.93, 99.92, 121.7])
@pytest.mark.parametrize("seconds", [60, 180, 600])
def test_the_last_note_of_a_long_recording_is_on_its_sixteenth_too(bpm: float, seconds: int) -> None:
    rng = np.random.default_rng(seconds)
    beats = np.cumsum([0, *rng.choice([0.5, 1, 1, 1, 2], int(seconds * bpm / 60))])
    beats = beats[beats * 60 / bpm < seconds]
    start = 2 + beats * 60 / bpm + rng.normal(0, 0.01, len(beats))
    found, begin = beat_of(start)
    np.testing.assert_array_equal(np.rint((start - begin) * found / 15), 4 * beats)


@pytest.mark.parametrize("start", [[1.0], [1.0, 1.0], [1.0, 1.5]])
def test_few_onsets_have_a_tempo_too(start: list[float]) -> None:
    bpm, begin = beat_of(np.array(start))
    assert 50 <= bpm <= 180 and begin == pytest.approx(1, abs=0.2)


def test_silence_and_noise_have_no_notes(tmp_path: Path) -> None:
    noise = 0.01 * np.random.default_rng(0).normal(size=2 * RATE)
    for samples in (np.zeros(0), np.zeros(3 * RATE), noise):
        soundfile.write(tmp_path / "a.wav", samples, RATE)
        with pytest.raises(InputError, match=r"a\.wav.*no notes that are heard"):
            read_music(tmp_path / "a.wav")


def test_without_basic_pitch_a_recording_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcription, "find_spec", lambda name: None if name == "basic_pitch" else find_spec(name))
    with pytest.raises(UsageError, match="is a recording; pip install --no-deps basic-pitch"):
        require_reader(tmp_path / "a.wav")
    require_reader(tmp_path / "a.mid")
