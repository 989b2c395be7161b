"""A sung or played recording as a MIDI file: notes by the network of basic-pitch, the tempo by their onsets.

The network (Bittner, Bosch, Rubinstein, Meseguer-Brocal and Ewert: A Lightweight Instrument-Agnostic Model for
Polyphonic Note Transcription and Multipitch Estimation, ICASSP 2022, arXiv:2203.09893) is the ONNX file of the package
basic-pitch, which has to be there; nothing else of that package is used.

Shapes: S samples, F frames, 88 keys of a piano from A0, N notes.
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from attn.core.errors import InputError, UsageError
from attn.data_adapters.boundary import boundary
from attn.data_adapters.midi.audio import read_audio, require_audio_reader
from attn.data_adapters.midi.beat import beat_of
from attn.data_adapters.midi.file import MidiFile, Track, without_overlaps
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.tempo import TempoMap

RATE, HOP = 22050, 256  # samples a second, samples a frame
WINDOW = 43844  # samples that the network takes
WINDOW_FRAMES, EDGE = 172, 16  # frames that it gives, of which those at the edges know too little
STEP = WINDOW_FRAMES - 2 * EDGE
TOGETHER = 16  # windows
NOTE, ONSET = "StatefulPartitionedCall:1", "StatefulPartitionedCall:2"  # as the file calls them
KEYS, LOWEST = 88, 21
STRUCK = 0.5  # least likelihood of an onset, as in the paper
AGAIN = 0.8  # and of one whose key sounds already: a voice that trembles has weaker ones all the time
SOUNDING = 0.3  # and of a note that goes on
ATTACK = 6  # frames before the peak of an onset in which its own note may sound already
GAP = 11  # frames, 0.13 s: a note that is not heard for so long has ended
SHORTEST = 11  # frames
EARLY, LATE = 0.1, 0.4  # of a sixteenth: a note begins a little early, or ends a little late
BEND = 1  # semitones: a voice that slides is in the next key for a while
OVERTONES = (12, 19, 24, 28, 31)  # semitones above a note: partials 2 to 6
FAINT = 0.75  # an overtone is less likely than this share of the note below it


def require_transcriber(where: Path) -> None:
    """Raise UsageError for a recording where what reads or hears it is missing."""
    require_audio_reader(where)
    _network(where)


def read_recording(path: Path) -> MidiFile:
    """One track of what is heard, from its first note on, with a steady tempo and without time signatures.

    Velocities are how sure the network is, since it does not know loudness. Raises InputError for a recording in which
    no notes are heard and as `read_audio`, UsageError as `require_transcriber`.
    """
    require_transcriber(path)
    if not path.is_file():
        raise InputError("there is no such file", where=path)
    about = path.stat()
    return _heard(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=4)  # a motif is read for some pieces at a time
def _heard(path: Path, changed: int, size: int) -> MidiFile:
    samples_s = read_audio(path, RATE)
    with boundary(path, "cannot be heard"):
        notes = without_overtones(notes_of(*posteriors(_network(path), samples_s)))
    if not len(notes):
        hint = "is it one voice or instrument, and loud enough?"
        raise InputError("has no notes that are heard", where=path, hint=hint)
    bpm, begin = beat_of(notes.start)
    notes = notes.shifted(-begin)
    notes = notes.where(notes.end > 0)  # `begin` is the nearest sixteenth, so that the first note may be a little early
    notes = on_lines(without_overlaps(Notes.of(notes.start.clip(0), notes.end, notes.pitch, notes.velocity)), 15 / bpm)
    flag = (
        "1 note is heard" if len(notes) == 1 else f"{len(notes):,} notes are heard at {bpm:.0f} quarter notes a minute"
    )
    track = Track(name="", program=0, drum=False, notes=notes, pedal=np.empty((0, 2)), bends=0, number=1, channel=1)
    return MidiFile((track,), TempoMap.of_bpm(bpm), (), (flag,), notes.seconds)


def posteriors(network: Path, samples_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How likely each key sounds, and begins to sound: two (F, 88) arrays, a frame for each HOP samples of RATE.

    The windows overlap, so that each frame is seen with what comes before and after it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # seconds are enough, and threads would wait for each other on a busy machine
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    frames = -(-len(samples_s) // HOP)
    windows = -(-frames // STEP)
    padded_s = np.zeros(windows * STEP * HOP + WINDOW, np.float32)
    padded_s[EDGE * HOP :][: len(samples_s)] = samples_s
    parts: list[list[np.ndarray]] = [[], []]
    for first in range(0, windows, TOGETHER):
        begins = [HOP * STEP * k for k in range(first, min(first + TOGETHER, windows))]
        batch = np.stack([padded_s[begin : begin + WINDOW] for begin in begins])[..., None]
        for part, found in zip(parts, session.run([NOTE, ONSET], {name: batch}), strict=True):
            part.append(found[:, EDGE : EDGE + STEP].reshape(-1, KEYS))
    note_fk, onset_fk = (np.concatenate([np.empty((0, KEYS), np.float32), *part])[:frames] for part in parts)
    return note_fk, onset_fk


def notes_of(note_fk: np.ndarray, onset_fk: np.ndarray) -> Notes:
    """The notes of both arrays (section 2.3 of the paper): peaks of the onsets, followed until the key falls silent.

    From the last onset to the first, so that a note ends where its key is struck again; what a note takes is no longer
    there for a key beside it, as a voice that slides or trembles sounds in both.
    """
    silence_1k = np.zeros((1, KEYS), np.float32)
    before_fk = np.concatenate([silence_1k, onset_fk])[:-1]
    after_fk = np.concatenate([onset_fk, silence_1k])[1:]
    earlier_fk = np.concatenate([np.repeat(silence_1k, ATTACK, 0), note_fk])[: len(note_fk)]
    least_fk = np.where(earlier_fk >= SOUNDING, AGAIN, STRUCK)
    peaks = np.argwhere((onset_fk >= least_fk) & (onset_fk > before_fk) & (onset_fk >= after_fk))
    left_fk = note_fk.copy()
    rows = []
    for frame, key in peaks[::-1].tolist():
        silent_f = left_fk[frame:, key] < SOUNDING
        runs = np.flatnonzero(np.convolve(silent_f, np.ones(GAP, int))[GAP - 1 :] == GAP)
        end = frame + int(runs[0] if len(runs) else len(silent_f))
        while end > frame and left_fk[end - 1, key] < SOUNDING:
            end -= 1
        if end - frame < SHORTEST:
            continue
        likely = float(note_fk[frame:end, key].mean())
        left_fk[frame:end, max(0, key - BEND) : key + BEND + 1] = 0
        rows.append((frame * HOP / RATE, end * HOP / RATE, LOWEST + key, max(1, round(127 * likely))))
    return Notes.of(*np.array(rows).T) if rows else Notes.none()


def on_lines(notes: Notes, sixteenth: float) -> Notes:
    """Notes that begin a little before a sixteenth begin with it, and those that end a little after one end there.

    So that a bar that is full does not reach into the next one. Times are in seconds.
    """
    first, last = (np.rint(times / sixteenth) * sixteenth for times in (notes.start, notes.end))
    early = (first > notes.start) & (first - notes.start <= EARLY * sixteenth)
    late = (last < notes.end) & (notes.end - last <= LATE * sixteenth)
    start = np.where(early, first, notes.start)
    return Notes.of(start, np.where(late & (last > start), last, notes.end), notes.pitch, notes.velocity)


def without_overtones(notes: Notes) -> Notes:
    """Without fainter notes that begin with a note of which they are an overtone, or while it sounds."""
    kept = np.ones(len(notes), bool)
    for k in range(len(notes)):
        below = np.isin(notes.pitch[k] - notes.pitch, OVERTONES)
        over = (notes.start <= notes.start[k] + 3 * HOP / RATE) & (notes.end > notes.start[k])
        kept[k] = not (below & over & (notes.velocity[k] < FAINT * notes.velocity)).any()
    return notes.where(kept)


def _network(where: Path) -> Path:
    found = find_spec("basic_pitch")
    for folder in found.submodule_search_locations or () if found else ():
        network = Path(folder) / "saved_models" / "icassp_2022" / "nmp.onnx"
        if network.is_file():
            return network
    hint = "pip install --no-deps basic-pitch (0.4 or newer), whose network hears the notes"
    raise UsageError("is a recording", where=where, hint=hint)
