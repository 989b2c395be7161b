"""The music commands as people type them, on untrained models."""

import json
import os
import wave

import numpy as np
import polars as pl
import pytest
import soundfile
from music_fixtures import chorale_grid, performance
from singing import RATE, sung
from typer.testing import CliRunner, Result

from attn.apps.music.predict import MusicGenerator
from attn.apps.music.styles import CHORALE_BPM
from attn.cli import app
from attn.core.errors import InputError
from attn.data_adapters.midi.chorales import grid_to_voices
from attn.data_adapters.midi.file import read_midi
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.voices import notes_to_grid
from attn.data_adapters.midi.writer import write_midi


def attn(*arguments: object) -> Result:
    done = CliRunner().invoke(app, ["music", *map(str, arguments)], prog_name="attn")
    assert "Traceback" not in done.output + done.stderr
    return done


@pytest.fixture
def motif(tmp_path):
    write_midi(tmp_path / "motif.mid", performance(0, count=12))
    return tmp_path / "motif.mid"


@pytest.fixture
def melody(tmp_path):
    voices = grid_to_voices(chorale_grid(0, bars=1), bpm=CHORALE_BPM)
    write_midi(tmp_path / "melody.mid", {"Soprano": voices["Soprano"]}, bpm=CHORALE_BPM)
    return tmp_path / "melody.mid"


def test_generate_twice_gives_the_same_bytes(motif, music_models, tmp_path):
    outs = [tmp_path / "a" / "piece.mid", tmp_path / "b" / "piece.mid"]
    for out in outs:
        options = ("--motif", motif, "--seconds", 0.2, "--seed", 4, "--samples", 2, "--json", "--wav")
        done = attn("generate", "--model", music_models["piano"], *options, "--out", out)
        rows = json.loads(done.stdout)
        assert done.exit_code == 0 and len(rows) == 2
        for number, row in enumerate(rows, start=1):
            assert row["midi"] == str(out.with_name(f"piece-{number}.mid"))
            for suffix in (".png", ".wav"):
                assert out.with_name(f"piece-{number}{suffix}").stat().st_size > 1000
            assert row["notes"] == len(read_midi(row["midi"]).notes)
    for number in (1, 2):
        first, second = (out.with_name(f"piece-{number}.mid").read_bytes() for out in outs)
        assert first == second
    assert len(list(outs[0].parent.iterdir())) == 6


def test_files_beside_a_piece_are_replaced_only_if_attn_wrote_them(motif, music_models, tmp_path):
    """A picture and a sound of the user's beside --out, a piece among the --samples, a motif that would be one."""
    options = ("--motif", motif, "--seconds", 0.2, "--model", music_models["piano"], "--wav")
    for _ in range(2):  # what attn wrote, it writes again
        assert attn("generate", *options, "--samples", 2, "--out", tmp_path / "piece.mid").exit_code == 0
    with wave.open(str(tmp_path / "piece-1.wav")) as sound:
        assert sound.getnframes() > 1000
    assert (tmp_path / "piece-1.wav").stat().st_size == int.from_bytes(
        (tmp_path / "piece-1.wav").read_bytes()[4:8], "little"
    ) + 8
    for name, samples in {"p.png": 1, "p.wav": 1, "p-2.mid": 2, "p-2.png": 2}.items():
        (tmp_path / name).write_bytes(motif.read_bytes()[:20] + b"the user's own")
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        for command in (("generate", *options), ("accompany", motif, *options[4:])):
            done = attn(*command, "--samples", samples, "--out", tmp_path / "p.mid")
            assert done.exit_code == 2 and f"{name}: is there, and attn did not write it" in done.stderr
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
        (tmp_path / name).unlink()
    motif.rename(tmp_path / "p-1.mid")
    done = attn("generate", "--motif", tmp_path / "p-1.mid", *options[2:], "--samples", 2, "--out", tmp_path / "p.mid")
    assert done.exit_code == 2 and "p-1.mid: is read by this command" in done.stderr
    done = attn("generate", *options[2:], "--out", tmp_path / "roll.png")
    assert done.exit_code == 2 and "roll.png: is to be a MIDI file; end its name in .mid or .midi" in done.stderr


def test_what_a_killed_run_finished_is_kept_and_the_rest_written(motif, music_models, tmp_path):
    def run(*more: object) -> Result:
        options = ("--seconds", 0.2, "--seed", 4, "--samples", 3, "--json", "--out", tmp_path / "p.mid")
        return attn("generate", "--model", music_models["piano"], "--motif", motif, *options, *more)

    assert [row["seed"] for row in json.loads(run().stdout)] == [4, 5, 6]
    paths = [tmp_path / f"p-{number}.mid" for number in (1, 2, 3)]
    whole = [path.read_bytes() for path in paths]
    paths[1].unlink()
    paths[0].touch()
    before = paths[0].stat().st_mtime_ns
    rows = json.loads(run("--resume").stdout)
    assert [row["flags"] for row in rows] == ["kept", "", "kept"]
    assert [path.read_bytes() for path in paths] == whole and paths[0].stat().st_mtime_ns == before
    paths[2].with_suffix(".png").unlink()
    assert [row["flags"] for row in json.loads(run("--resume").stdout)] == ["kept", "kept", ""]
    assert paths[2].with_suffix(".png").exists() and paths[2].read_bytes() == whole[2]
    other = run("--resume", "--temperature", 0.5)
    assert other.exit_code == 2 and "p-1.mid: is there, of another request; leave out --resume" in other.stderr


def test_pieces_that_are_joined_are_not_overwritten(motif, music_models, tmp_path):
    (tmp_path / "b.mid").write_bytes(motif.read_bytes())
    done = attn("generate", "--between", motif, tmp_path / "b.mid", "--out", tmp_path / "b.mid")
    assert done.exit_code == 2 and "b.mid: is read by this command" in done.stderr


def test_instruments_are_numbers_from_1_or_names(music_models, tmp_path):
    for typed, program in {"20": 19, "church organ": 19, "1": 0}.items():
        out = tmp_path / "p.mid"
        done = attn("generate", "--bars", 1, "--model", music_models["chorale"], "--out", out, "--instrument", typed)
        assert done.exit_code == 0 and {track.program for track in read_midi(out).tracks} == {program}
    for typed in ("0", "129", "9" * 5000, "kazoo", ""):
        done = attn("generate", "--bars", 1, "--out", tmp_path / "q.mid", "--instrument", typed)
        assert done.exit_code == 2 and "there is no instrument" in done.stderr
    assert not (tmp_path / "q.mid").exists()


def test_generate_a_chorale_from_nothing(music_models, tmp_path):
    out = tmp_path / "c.mid"
    done = attn("generate", "--bars", 1, "--model", music_models["chorale"], "--out", out)
    assert done.exit_code == 0 and notes_to_grid(read_midi(out)).shape == (16, 4)
    assert done.stdout.splitlines()[0].split("\t")[:3] == ["midi", "notes", "seconds"]


@pytest.mark.parametrize(
    ("options", "style"),
    [
        (("--motif", "chorale.mid", "--fill", "bars 1"), "chorale"),
        (("--motif", "played.mid", "--fill", "bars 1"), "piano"),
        (("--motif", "played.mid", "--fill", "alto"), "chorale"),
        (("--motif", "played.mid", "--fill", "bars 1", "--style", "chorale"), "chorale"),
        (("--motif", "chorale.mid", "--fill", "bars 1", "--density", 3), "piano"),
        (("--motif", "chorale.mid", "--fill", "bars 1", "--register", "C3-C5"), "piano"),
        (("--between", "chorale.mid", "chorale.mid", "--bars", 1), "chorale"),
        (("--between", "chorale.mid", "played.mid", "--bars", 1), "piano"),
        (("--motif", "chorale.mid", "--bars", 1), "piano"),
        (("--motif", "played.mid", "--voices", "soprano"), "chorale"),
        (("--motif", "played.mid", "--chords", "C"), "chorale"),
    ],
)
def test_the_model_is_that_of_what_is_asked_for(monkeypatch, tmp_path, options, style):
    monkeypatch.chdir(tmp_path)
    write_midi("chorale.mid", grid_to_voices(chorale_grid(0, bars=2), bpm=CHORALE_BPM), bpm=CHORALE_BPM)
    write_midi("played.mid", performance(0, count=12))
    named = []

    def load(*, bundled: str, **others: object) -> None:
        named.append(bundled)
        raise InputError("enough")

    monkeypatch.setattr(MusicGenerator, "load", lambda model, **others: load(**others))
    assert attn("generate", *options).exit_code == 1 and named == [style]


def test_a_recording_is_a_melody_and_is_not_overwritten(music_models, tmp_path):
    soundfile.write(tmp_path / "hum.wav", sung([67, 69, 71, 72], [1, 1, 1, 1], 100), RATE)
    before = (tmp_path / "hum.wav").read_bytes()
    command = ("accompany", tmp_path / "hum.wav", "--model", music_models["accompany"], "--candidates", 1)
    done = attn(*command, "--out", tmp_path / "four.mid", "--json")
    assert done.exit_code == 0 and "4 notes are heard" in json.loads(done.stdout)[0]["flags"]
    soprano = next(track for track in read_midi(tmp_path / "four.mid").tracks if track.name == "Soprano")
    assert soprano.notes.pitch.tolist() == [67, 69, 71, 72]
    done = attn(*command, "--wav", "--out", tmp_path / "hum.mid")
    assert done.exit_code == 2 and "is read by this command" in done.stderr
    assert (tmp_path / "hum.wav").read_bytes() == before
    done = attn("inspect", tmp_path / "hum.wav", "--json")
    assert json.loads(done.stdout)[0]["notes"] == 4


def test_accompany_keeps_the_melody(melody, music_models, tmp_path):
    out = tmp_path / "out.mid"
    done = attn("accompany", melody, "--model", music_models["accompany"], "--out", out, "--json")
    assert done.exit_code == 0
    np.testing.assert_array_equal(notes_to_grid(read_midi(out))[:, 0], chorale_grid(0, bars=1)[:, 0])


def test_train_then_evaluate(chorales, tmp_path):
    options = ("--style", "chorale", "--width", 16, "--depth", 1, "--heads", 2, "--length", 64, "--epochs", 1)
    done = attn("train", chorales, "--out", tmp_path / "m", *options, "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["app"] == "music"
    refused = attn("train", chorales, "--out", tmp_path / "m", *options, "--semitones", 1, "--resume")
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert "recipe.semitones = 3, now it is 1" in refused.stderr
    done = attn(
        "evaluate",
        chorales,
        "--model",
        tmp_path / "m",
        "--samples",
        1,
        "--by",
        "split",
        "--json",
        "--out",
        tmp_path / "e",
    )
    report = json.loads(done.stdout)
    assert done.exit_code == 0
    assert report["pieces"] == 2 and report["measured_on"] == f"test of {chorales}"
    assert json.loads((tmp_path / "e" / "report.json").read_text()) == report
    assert (tmp_path / "e" / "evaluation.png").exists()
    assert report["by"] == "split" and [row["group"] for row in report["groups"]] == ["test"]
    assert report["nll_per_token"].keys() == {"value", "low", "high"} and report["continuations"] == 1


def test_train_on_performances_names_what_it_left_out(performances, tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for path in performances.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.mid").write_text("<html>")
    options = ("--width", 16, "--depth", 1, "--heads", 2, "--length", 32, "--epochs", 1)
    done = attn("train", folder, "--out", tmp_path / "m", *options)
    assert done.exit_code == 0 and "left out: broken.mid: " in done.stderr
    measured = attn("evaluate", folder, "--model", tmp_path / "m", "--samples", 0, "--cache", tmp_path / "c", "--json")
    assert measured.exit_code == 1 and set(json.loads(measured.stdout)["unreadable"]) == {"broken.mid"}


def test_explain_keeps_files_of_one_name_apart(motif, music_models, tmp_path):
    other = tmp_path / "other" / "motif.mid"
    other.parent.mkdir()
    write_midi(other, performance(1, count=12))
    (tmp_path / "broken.mid").write_text("<html>")
    arguments = ("explain", motif, other, tmp_path / "broken.mid", "--model", music_models["piano"])
    done = attn(*arguments, "--out", tmp_path / "e", "--json")
    rows = json.loads(done.stdout)
    assert done.exit_code == 1 and [row["error"] is None for row in rows] == [True, True, False]
    assert len({row["arrays"] for row in rows[:2]}) == 2 and len(list((tmp_path / "e").glob("[!.]*"))) == 4


def test_a_name_that_is_not_utf8_is_spelt_out(tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    try:
        for number in range(4):
            write_midi(folder / os.fsdecode(b"caf\xe9-%d.mid" % number), performance(number, count=40))
    except InputError:
        pytest.skip("this file system wants UTF-8")
    for suffix in ("csv", "jsonl", "parquet"):
        assert attn("inspect", folder, "--out", tmp_path / f"rows.{suffix}").exit_code == 0
    assert pl.read_csv(tmp_path / "rows.csv")["id"][0].endswith(r"caf\udce9-0.mid")
    sizes = ("--width", 8, "--depth", 1, "--heads", 1, "--length", 64, "--epochs", 1)
    for style in ("piano", "chorale"):
        assert attn("train", folder, "--style", style, "--out", tmp_path / style, *sizes).exit_code == 0
    out = tmp_path / os.fsdecode(b"\xe9.mid")
    motif = folder / os.fsdecode(b"caf\xe9-1.mid")
    arguments = ("--model", tmp_path / "piano", "--motif-seconds", 1, "--seconds", 1)
    assert attn("generate", "--motif", motif, *arguments, "--out", out).exit_code == 0 and out.exists()
    assert attn("explain", motif, "--model", tmp_path / "piano", "--out", tmp_path / "e").exit_code == 0


@pytest.mark.real_data
def test_inspect_has_a_row_for_every_hostile_file(data_dir, tmp_path):
    folder, out = data_dir / "music" / "hostile", tmp_path / "rows.csv"
    done = attn("inspect", folder, "--out", out)
    table = pl.read_csv(out)
    failed = table["error"].is_not_null().sum()
    assert done.exit_code == 1 and len(table) == 85 and 10 < failed < 30
    assert f"{failed} of the inputs failed" in done.stderr


def one_sentence(done: Result, code: int, words: str) -> None:
    assert (done.exit_code, done.stdout) == (code, ""), done.output
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert words in done.stderr


def test_what_cannot_be_used_is_one_sentence(motif, music_models, tmp_path):
    write_midi(tmp_path / "empty.mid", Notes.none())
    strike = b"\x00\x99\x24\x50\x60\x89\x24\x00\x00\xff\x2f\x00"
    header = b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x00\x60MTrk"
    (tmp_path / "drums.mid").write_bytes(header + len(strike).to_bytes(4, "big") + strike)
    piano = ("generate", "--model", music_models["piano"], "--out", tmp_path / "x.mid")
    chorale = ("generate", "--model", music_models["chorale"], "--out", tmp_path / "x.mid")
    for command in (piano, chorale):
        for name in ("empty.mid", "drums.mid"):
            one_sentence(attn(*command, "--motif", tmp_path / name), 1, f"{name}: has no notes")
        one_sentence(attn(*command, "--motif", tmp_path / "missing.mid"), 1, "missing.mid")
        one_sentence(attn(*command, "--motif", motif, "--motif-seconds", -2), 2, "--motif-seconds")
    for option, value in (("seconds", -1), ("temperature", -1), ("top-p", 0), ("seed", 2**70)):
        one_sentence(attn(*piano, f"--{option}", value), 2, f"--{option} is a ")
    one_sentence(attn("generate", "--model", tmp_path), 1, "not a model folder")
    one_sentence(attn("accompany", motif, "--model", music_models["piano"]), 2, "does not accompany")
    assert not (tmp_path / "x.mid").exists()


def test_an_option_without_effect_is_a_usage_error(chorales, motif, music_models, tmp_path):
    piano, chorale = (("generate", "--model", music_models[style]) for style in ("piano", "chorale"))
    for command, option in (
        ((*chorale, "--track", "1"), "--track"),
        ((*piano, "--motif", motif, "--voices", "bass"), "--voices"),
        ((*piano, "--style", "piano"), "--style"),
        ((*piano, "--transpose", 2), "--transpose"),
        ((*piano, "--motif-seconds", 2), "--motif-seconds"),
        ((*piano, "--motif", motif, "--temperature", 0, "--top-k", 5), "--top-k"),
        (("explain", motif, "--model", music_models["piano"], "--style", "piano"), "--style"),
        (("train", chorales, "--out", tmp_path / "m", "--start", "bundled", "--width", 8), "--width"),
    ):
        one_sentence(attn(*command), 2, f"{option.strip('-')} has no effect")
    one_sentence(attn("evaluate", chorales, "--weights", "bfloat16"), 2, "there are float32 and int8")
    assert not (tmp_path / "m").exists()


def test_bundled_is_the_name_of_the_default(tmp_path):
    out = ("--seconds", 0.2, "--json", "--out")
    named = attn("generate", "--model", "bundled", "--style", "piano", *out, tmp_path / "a.mid")
    assert named.exit_code == 0
    assert attn("generate", *out, tmp_path / "b.mid").exit_code == 0
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()


def test_training_that_cannot_start_is_one_sentence(chorales, performances, tmp_path):
    out = ("--out", tmp_path / "m")
    one_sentence(attn("train", chorales, *out), 1, "is grid music; use --style chorale")
    one_sentence(attn("train", tmp_path / "nowhere", *out), 1, "is not a folder")
    one_sentence(attn("train", performances, *out, "--style", "jazz"), 2, "no style 'jazz'")
    one_sentence(attn("train", performances, *out, "--accompany"), 2, "only chorales are accompanied")
    one_sentence(attn("train", chorales, *out, "--style", "chorale", "--length", 20), 2, "less than a bar")
    one_sentence(attn("train", chorales, *out, "--style", "chorale", "--width", 30), 2, "heads")
    one_sentence(attn("train", chorales, *out, "--style", "chorale", "--mixer", "halo"), 2, "halo")
