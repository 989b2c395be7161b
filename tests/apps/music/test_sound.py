"""Sound: the right frequencies at the right times, in a file that any player opens."""

import shutil
import wave
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from attn.apps.music.cli_sound import Sounds
from attn.apps.music.sound import RATE, Sound, render, struck_string
from attn.core.errors import AttnError, InputError, UsageError
from attn.core.files import require_free
from attn.data_adapters.midi.notes import Notes


def listen(path) -> np.ndarray:
    with wave.open(str(path), "rb") as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768


def pitch_heard(sound: np.ndarray) -> float:
    """MIDI pitch of the lowest strong partial."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 17))
    strong = np.flatnonzero(spectrum > 0.3 * spectrum.max())[0]
    near = strong + int(spectrum[strong : strong + 40].argmax())
    return 69 + 12 * np.log2(near * RATE / (1 << 17) / 440)


@pytest.mark.parametrize("pitch", [45, 60, 81])
def test_a_note_is_heard_at_its_pitch_and_only_while_it_lasts(pitch, tmp_path):
    assert render(Notes.of([0.5], [1.5], [pitch], [90]), tmp_path / "a.wav") in ("fluidsynth", "synthesis")
    sound = listen(tmp_path / "a.wav")
    assert pitch_heard(sound[int(0.6 * RATE) : int(1.3 * RATE)]) == pytest.approx(pitch, abs=0.3)
    assert np.abs(sound[: int(0.49 * RATE)]).max() < 0.01
    assert np.abs(sound[int(2.4 * RATE) :]).max() < 0.02
    assert np.abs(sound).max() == pytest.approx(0.89, abs=0.001)


def test_the_same_notes_give_the_same_file_and_a_harder_one_is_louder(tmp_path):
    notes = Notes.of([0, 1], [0.6, 1.6], [60, 60], [30, 100])
    for name in ("a.wav", "b.wav"):
        render(notes, tmp_path / name)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    sound = np.abs(listen(tmp_path / "a.wav"))
    assert sound[RATE : 2 * RATE].max() > 2 * sound[: int(0.8 * RATE)].max()


def test_the_string_has_its_partials_and_no_alias():
    """Against the sum of sines written out; of the highest notes only the partials below half the rate."""
    time = np.arange(RATE // 2) / RATE
    for frequency, partials in ((220.0, 8), (4186.0, 5)):
        expected = np.zeros_like(time)
        for k in range(1, partials + 1):
            expected += (0.6 * np.exp(-0.9 * time)) ** (k - 1) * np.sin(2 * np.pi * frequency * k * time)
        expected *= np.minimum(time / 0.004, 1)
        np.testing.assert_allclose(struck_string(2 * np.pi * frequency * time), expected, atol=1e-8)
    assert struck_string(np.zeros(1)).tolist() == [0]


def test_silence_and_endless_music_are_refused_and_nothing_is_left_behind(tmp_path):
    with pytest.raises(InputError, match="no notes"):
        render(Notes.none(), tmp_path / "a.wav")
    with pytest.raises(InputError, match="601 s of music are too long"):
        render(Notes.of([0], [601], [60], [90]), tmp_path / "a.wav")
    assert not list(tmp_path.iterdir())


def test_a_note_too_short_to_sound_gives_a_file(tmp_path):
    render(Notes.of([0], [1e-6], [60], [90]), tmp_path / "a.wav")
    assert len(listen(tmp_path / "a.wav")) > 0


@pytest.mark.parametrize("suffix", [".mp3", ".ogg"])
def test_ffmpeg_writes_other_files_and_where_it_is_missing_one_sentence_says_so(suffix, tmp_path, monkeypatch):
    notes = Notes.of([0], [0.2], [69], [90])
    if shutil.which("ffmpeg"):
        render(notes, tmp_path / f"a{suffix}")
        require_free(tmp_path / f"a{suffix}")
        monkeypatch.chdir(tmp_path)
        render(notes, Path(f"a:c{suffix}"))  # no protocol
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="ffmpeg is not installed"):
        render(notes, tmp_path / f"b{suffix}")
    with pytest.raises(UsageError, match="is not installed; install it"):
        Sounds(sound=suffix[1:]).asked()
    assert not list(tmp_path.glob("*b*"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"wav": True, "sound": "wav"}, "asked for twice"),
        ({"sound": "flac"}, "there are wav, mp3, ogg"),
        ({"soundfont": Path("a.sf2")}, "without --wav or --sound"),
        ({"wav": True, "soundfont": Path("missing.sf2")}, "no such file"),
        ({"wav": True, "soundfont": Path(__file__)}, "is no SoundFont"),
    ],
)
def test_a_sound_that_cannot_be_is_refused_at_once(options, said):
    with pytest.raises(AttnError, match=said):
        Sounds(**options).asked()
    assert Sounds().asked() is None and Sounds(wav=True).asked() == Sound(".wav")


def test_a_soundfont_plays_or_one_sentence_says_what_is_missing(tmp_path):
    font = tmp_path / "font.sf2"
    font.write_bytes(b"RIFF\4\0\0\0sfbk")  # holds nothing
    with pytest.raises(AttnError, match=r"FluidSynth|plays none"):
        render(Notes.of([0], [0.2], [69], [90]), tmp_path / "a.wav", soundfont=font)
    if find_spec("fluidsynth") is None:
        with pytest.raises(UsageError, match="pip install pyfluidsynth"):
            Sounds(wav=True, soundfont=font).asked()
