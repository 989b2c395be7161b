"""Collections: who is in which part, whatever comes, goes or cannot be read."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from music_fixtures import chorale_grid, performance, write_chorales, write_performances

from attn.apps.music.sources import PARTS, TEMPOS, open_collection, require_training
from attn.apps.music.styles import CHORALE_BPM, Chorale, Piano
from attn.core.errors import InputError, TrainingError
from attn.data_adapters.midi.chorales import grid_to_voices
from attn.data_adapters.midi.file import read_midi, with_sustain
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.writer import write_midi


def names(collection) -> dict[str, set[str]]:
    return {part: {piece.name for piece in collection.part(part)} for part in PARTS}


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Sixty files of one note."""
    folder = tmp_path_factory.mktemp("many") / "set"
    folder.mkdir()
    for number in range(60):
        write_midi(folder / f"{number}.mid", Notes.of([0.0], [1.0 + number // 40], [40 + number % 40], [60]))
    return folder


def test_a_piece_stays_in_its_part_when_others_come_or_go(many, tmp_path):
    before = names(open_collection(many, Piano(), tmp_path / "a"))
    assert sum(map(len, before.values())) == 60 and len(before["train"]) > 35 and all(before.values())
    fewer = shutil.copytree(many, tmp_path / "fewer")
    for path in sorted(fewer.iterdir())[:10]:
        path.unlink()
    write_midi(fewer / "new.mid", Notes.of([0.0], [3.0], [60], [60]))
    after = names(open_collection(fewer, Piano(), tmp_path / "b"))
    gone = set().union(*before.values()) - set().union(*after.values())
    assert len(gone) == 10
    for part in PARTS:
        assert after[part] - {"new.mid"} == before[part] - gone


def test_copies_are_one_piece_whatever_they_are_called(many, tmp_path):
    """Six files of one piece leave nothing to call unseen; a copy brings no piece of the training into another part."""
    copies = tmp_path / "copies"
    copies.mkdir()
    for number in range(6):
        write_midi(copies / f"{number}.mid", performance(0))
    for style in (Piano(), Chorale()):
        collection = open_collection(copies, style, tmp_path / "cache")
        assert len(collection.part("all")) == 1 and len(collection.copies) == 5
        assert {*collection.copies.values()} == {piece.name for piece in collection.part("all")}
        with pytest.raises(TrainingError, match="among 1 readable"):
            require_training(collection, copies)
    before = names(open_collection(many, Piano(), tmp_path / "a"))
    more = shutil.copytree(many, tmp_path / "more")
    for number in range(60):
        for copy in range(3):
            shutil.copy(more / f"{number}.mid", more / f"copy {copy} of {number}.mid")
    collection = open_collection(more, Piano(), tmp_path / "b")
    assert len(collection.part("all")) == 60 and len(collection.copies) == 180
    assert before["train"] <= names(collection)["train"]


def test_of_official_parts_a_copy_stays_in_training(tmp_path):
    grid, other = chorale_grid(0).tolist(), chorale_grid(1).tolist()
    (tmp_path / "c.json").write_text(json.dumps({"train": [grid], "valid": [other], "test": [other, grid]}))
    collection = open_collection(tmp_path / "c.json", Chorale(), tmp_path)
    assert [len(collection.part(part)) for part in PARTS] == [1, 1, 0]
    assert {*collection.copies.values()} == {"train 0", "valid 0"}


@pytest.mark.parametrize("count", [3, 4, 5, 8])
def test_a_small_folder_has_all_three_parts(tmp_path, count):
    folder = write_performances(tmp_path / "small", count)
    collection = open_collection(folder, Piano(), tmp_path / "cache")
    assert [len(collection.part(part)) > 0 for part in PARTS] == [True] * 3
    assert len({piece.name for piece in collection.part("all")}) == count
    require_training(collection, folder)


def test_too_few_pieces_to_train_on_are_refused(tmp_path):
    folder = write_performances(tmp_path / "one", 1)
    with pytest.raises(TrainingError, match="piece among 1 readable ones; give more files"):
        require_training(open_collection(folder, Piano(), tmp_path / "cache"), folder)


def test_pieces_are_what_the_files_play_at_five_tempos(performances, tmp_path):
    collection = open_collection(performances, Piano(), tmp_path, stretched=True)
    piece = collection.train[0]
    own = with_sustain(read_midi(performances / piece.name))
    for tempo, ids in zip(TEMPOS, piece.ids, strict=True):
        notes = Piano().notes(ids)
        np.testing.assert_array_equal(np.sort(notes.pitch), np.sort(own.pitch))
        assert notes.seconds == pytest.approx(own.seconds * tempo, abs=0.03)
    again = open_collection(performances, Piano(), tmp_path, stretched=True)
    assert again.fingerprint == collection.fingerprint


def test_official_splits_stand_also_when_one_is_missing(tmp_path):
    folder = write_performances(tmp_path / "maestro", 4)
    rows = ["midi_filename,split", "0.mid,test", "1.mid,train", "2.mid,train", "3.mid,train"]
    (folder / "maestro.csv").write_text("\n".join(rows))
    found = names(open_collection(folder, Piano(), tmp_path / "cache"))
    assert found == {"train": {"1.mid", "2.mid", "3.mid"}, "validation": set(), "test": {"0.mid"}}
    (folder / "maestro.csv").write_text("\n".join([*rows[:-1], "3.mid,extra"]))
    with pytest.raises(InputError, match="has a split 'extra'"):
        open_collection(folder, Piano(), tmp_path / "cache")

    path = tmp_path / "two.json"
    path.write_text(
        json.dumps({"train": [chorale_grid(n).tolist() for n in range(3)], "test": [chorale_grid(3).tolist()]})
    )
    found = names(open_collection(path, Chorale(), tmp_path))
    assert found == {"train": {"train 0", "train 1", "train 2"}, "validation": set(), "test": {"test 0"}}


@pytest.mark.real_data
def test_maestro_has_its_official_parts(data_dir, tmp_path):
    table = (data_dir / "music" / "maestro" / "maestro.csv").read_text().splitlines()
    folder = tmp_path / "part"
    kept = [table[0], *table[1:200:12]]
    for row in kept[1:]:
        name = row.split(",")[0]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(data_dir / "music" / "maestro" / name, folder / name)
    (folder / "maestro.csv").write_text("\n".join(kept))
    found = names(open_collection(folder, Piano(), tmp_path / "cache"))
    assert found == {part: {row.split(",")[0] for row in kept[1:] if row.split(",")[1] == part} for part in PARTS}


def test_a_file_that_cannot_be_read_is_reported_and_left_out(performances, tmp_path):
    folder = shutil.copytree(performances, tmp_path / "some")
    (folder / "broken.mid").write_text("<html>")
    write_midi(folder / "low.mid", Notes.of([0.0], [1.0], [3], [60]))
    collection = open_collection(folder, Piano(), tmp_path / "cache")
    assert set(collection.failed) == {"broken.mid", "low.mid"} and len(collection.part("all")) == 12
    assert "no notes from 21 to 108" in collection.failed["low.mid"]
    assert collection.fingerprint["unreadable"] == 2


def test_chorales_come_from_json_and_from_midi(tmp_path):
    path = write_chorales(tmp_path / "a.json")
    collection = open_collection(path, Chorale(), tmp_path)
    assert collection.fingerprint["pieces"] == {"train": 6, "validation": 2, "test": 2}
    np.testing.assert_array_equal(Chorale().grid(collection.train[1].ids[0]), chorale_grid(1, bars=5))
    folder = tmp_path / "midi"
    folder.mkdir()
    for number in range(4):
        voices = grid_to_voices(chorale_grid(number), bpm=CHORALE_BPM)
        write_midi(folder / f"{number}.mid", voices, bpm=CHORALE_BPM)
    (folder / "broken.mid").write_bytes(b"")
    write_midi(folder / "high.mid", performance(0).transposed(36))
    read = open_collection(folder, Chorale(), tmp_path)
    assert set(read.failed) == {"broken.mid", "high.mid"}
    for piece in read.part("all"):
        number = int(piece.name.removesuffix(".mid"))
        np.testing.assert_array_equal(Chorale().grid(piece.ids[0]), chorale_grid(number))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"train": [], "dev": [[[60, 55, 50, 45]]]}', "has a split 'dev'"),
        ('{"train": [[[-1, -1, -1, -1]]]}', "train, piece 0: has no notes"),
        ('{"train": [[[100, 55, 50, 45]]]}', "has pitches from 45 to 100"),
        ('{"train": []}', "has no piece that can be read"),
    ],
)
def test_faults_of_a_json_file_are_named(tmp_path, text, words):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        open_collection(path, Chorale(), tmp_path)
    with pytest.raises(InputError, match="is grid music; use --style chorale"):
        open_collection(path, Piano(), tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become an account without a home")
def test_an_account_without_a_home_is_told_what_to_give() -> None:
    script = (
        "import os; from attn.apps.music.sources import token_folder; from attn.exits import run\n"
        "os.environ.pop('HOME', None); os.environ.pop('XDG_CACHE_HOME', None); os.setuid(54321)\n"
        "raise SystemExit(run(lambda: len(str(token_folder()))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr == (
        "error: this account has no home folder to keep tokens in; give --cache, or set XDG_CACHE_HOME\n"
    )
