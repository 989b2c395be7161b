"""Recordings as samples: every format, any rate, what is broken, too long or no sound."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from attn.core.errors import InputError, UsageError
from attn.data_adapters.midi import audio
from attn.data_adapters.midi.audio import read_audio

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def tone(rate: int, seconds: float = 1.0) -> np.ndarray:
    return np.asarray(0.5 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate), np.float32)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".aiff"])
@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_a_tone_is_the_same_tone_at_another_rate(tmp_path: Path, suffix: str, rate: int) -> None:
    path = tmp_path / f"a{suffix}"
    both = np.stack([tone(rate), -0.5 * tone(rate)], 1)  # the mean of the channels is a quarter of the tone
    soundfile.write(path, both, rate)
    heard = read_audio(path, 22050)
    assert heard.dtype == np.float32 and abs(len(heard) - 22050) <= 1200  # MP3 pads
    spectrum = np.abs(np.fft.rfft(heard[2000:18000]))
    assert np.argmax(spectrum) * 22050 / 16000 == pytest.approx(440, abs=2)
    assert np.abs(heard[4000:16000]).max() == pytest.approx(0.125, rel=0.1)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.m4a", "a:b.m4a", "-i.m4a"])
def test_what_phones_record_is_read_by_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    soundfile.write(tmp_path / "a.wav", tone(44100), 44100)
    command = ["ffmpeg", "-loglevel", "error", "-i", str(tmp_path / "a.wav"), f"file:{tmp_path / name}"]
    subprocess.run(command, check=True)
    monkeypatch.chdir(tmp_path)
    heard = read_audio(Path(name), 22050)
    assert np.argmax(np.abs(np.fft.rfft(heard[2000:18000]))) * 22050 / 16000 == pytest.approx(440, abs=2)


@needs_ffmpeg
def test_a_list_of_other_files_is_no_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(22050), 22050)
    (tmp_path / "a.m4a").write_text("ffconcat version 1.0\nfile http://localhost:1/a.wav\n")
    with pytest.raises(InputError, match="is no sound that ffmpeg can read"):
        read_audio(tmp_path / "a.m4a", 22050)


def test_what_is_no_sound_is_one_sentence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "whole.wav", tone(22050), 22050)
    whole = (tmp_path / "whole.wav").read_bytes()
    for content in (b"", b"RIFF", b"no sound", bytes(range(256)) * 8, whole[:30]):
        (tmp_path / "a.wav").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.wav.*is no readable sound"):
            read_audio(tmp_path / "a.wav", 22050)
    with pytest.raises(InputError, match="no such file"):
        read_audio(tmp_path / "none.wav", 22050)
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan, np.float32), 22050, subtype="FLOAT")
    with pytest.raises(InputError, match="samples that are no numbers"):
        read_audio(tmp_path / "nan.wav", 22050)


def test_a_file_cut_off_gives_what_there_is(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "whole.wav", tone(22050), 22050)
    (tmp_path / "a.wav").write_bytes((tmp_path / "whole.wav").read_bytes()[:-20000])
    np.testing.assert_array_equal(
        read_audio(tmp_path / "a.wav", 22050), read_audio(tmp_path / "whole.wav", 22050)[:12050]
    )


def test_a_long_recording_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "LONGEST", 2.0)
    soundfile.write(tmp_path / "a.flac", tone(8000, 2.1), 8000)
    with pytest.raises(InputError, match="lasts for more than"):
        read_audio(tmp_path / "a.flac", 22050)
    soundfile.write(tmp_path / "b.flac", tone(8000, 1.9), 8000)
    assert len(read_audio(tmp_path / "b.flac", 8000)) == 15200


@needs_ffmpeg
def test_what_ffmpeg_reads_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "LONGEST", 2.0)
    for seconds in (1.5, 2.5):
        soundfile.write(tmp_path / "a.wav", tone(22050, seconds), 22050)
        command = ["ffmpeg", "-loglevel", "error", "-y", "-i", str(tmp_path / "a.wav"), str(tmp_path / "a.m4a")]
        subprocess.run(command, check=True)
        if seconds < 2:
            assert len(read_audio(tmp_path / "a.m4a", 22050)) / 22050 == pytest.approx(1.5, abs=0.1)
        else:
            with pytest.raises(InputError, match="lasts for more than"):
                read_audio(tmp_path / "a.m4a", 22050)


@pytest.mark.parametrize("rate", [0, 999, 192_001, 100_000_007, 2_000_000_011])
def test_a_rate_that_no_recorder_has_is_refused(tmp_path: Path, rate: int) -> None:
    """Its resampling would take gigabytes."""
    soundfile.write(tmp_path / "a.wav", tone(22050), 22050)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(InputError, match=r"samples a second|is no readable sound"):
        read_audio(tmp_path / "a.wav", 22050)


def test_a_name_that_is_not_utf8_is_a_name(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(22050), 22050)
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    (tmp_path / "a.wav").rename(path)
    assert len(read_audio(path, 22050)) == 22050


def test_many_channels_are_read_in_blocks(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.repeat(tone(8000, 20.0)[:, None], 8, 1), 8000)
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav", 8000), tone(8000, 20.0), atol=1e-4)


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio.shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match=r"\.m4a is read by ffmpeg, which is not installed"):
        read_audio(tmp_path / "a.m4a", 22050)
    monkeypatch.setattr(audio, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"is a recording; pip install attn\[audio\]"):
        read_audio(tmp_path / "a.wav", 22050)
