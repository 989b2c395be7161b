"""Write the examples of the music commands: motif.mid, eight seconds for the piano, melody.mid, to accompany, and
chorales.json, to train on.

    uv run python examples/make_music.py

The motif is four bars of a slow waltz made up for this purpose; the melody is the theme of the last movement of
Beethoven's ninth symphony. The chorales are drawn: chords that follow
one another as they do in most hymns, each voice going to the nearest note. All are the same bytes on every machine.
"""

import json
import random
from pathlib import Path

import numpy as np

from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.writer import write_midi

HERE = Path(__file__).parent

BEAT = 0.66  # seconds
# Beats and pitches of the right hand; a bass note and two chords in each bar for the left.
TUNE = [(0, 1, 76), (1, 1, 77), (2, 1, 79), (3, 2, 81), (5, 1, 79), (6, 1, 77), (7, 1, 76), (8, 1, 74), (9, 3, 76)]
BARS = [(48, 64, 67), (41, 60, 65), (43, 59, 65), (48, 60, 64)]

# Pitch and quarters.
ODE = [(66, 1), (66, 1), (67, 1), (69, 1), (69, 1), (67, 1), (66, 1), (64, 1), (62, 1), (62, 1), (64, 1), (66, 1)]
ODE_ENDS = ([(66, 1.5), (64, 0.5), (64, 2)], [(64, 1.5), (62, 0.5), (62, 2)])


# Which degrees of the scale follow each.
FOLLOW = {0: (3, 4, 5, 1), 1: (4, 6), 3: (0, 4, 1), 4: (0, 5), 5: (1, 3, 4), 6: (0,)}
SCALE = (0, 2, 4, 5, 7, 9, 11)
PIECES = {"train": 40, "valid": 8, "test": 8}
STEPS = 64  # sixteenths


def motif() -> Notes:
    rows = [(start, start + length, pitch, 76) for start, length, pitch in TUNE]
    for bar, (bass, *chord) in enumerate(BARS):
        rows.append((3 * bar, 3 * bar + 1, bass, 60))
        rows += [(3 * bar + beat, 3 * bar + beat + 0.8, pitch, 48) for beat in (1, 2) for pitch in chord]
    start, end, pitch, velocity = np.array(rows, float).T
    return Notes.of(start * BEAT, end * BEAT, pitch.astype(int), velocity.astype(int))


def melody(bpm: float) -> Notes:
    line = [*ODE, *ODE_ENDS[0], *ODE, *ODE_ENDS[1]]
    pitch, quarters = np.array(line).T
    end = np.cumsum(quarters) * 60 / bpm
    start = end - quarters * 60 / bpm
    return Notes.of(start, end, pitch.astype(int), np.full(len(line), 80))


def chorale(draw: random.Random) -> list[list[int]]:
    """Four voices, the soprano first, in steps of a sixteenth; it begins and ends on the tonic."""
    key, degree, steps = draw.randrange(-3, 4), 0, []
    voices = [72 + key, 64 + key, 60 + key]
    while len(steps) < STEPS:
        if len(steps) >= STEPS - 8:
            degree = 0
        chord = {(SCALE[(degree + third) % 7] + key) % 12 for third in (0, 2, 4)}
        for number, (voice, low) in enumerate(zip(voices, (64, 57, 50), strict=True)):
            reach = [pitch for pitch in range(low, low + 16) if pitch % 12 in chord]
            near = sorted(reach, key=lambda pitch: abs(pitch - voice))
            voices[number] = draw.choice(near[:2]) if number == 0 else near[0]
        bass = 40 + (SCALE[degree] + key - 40) % 12
        steps += [[*sorted(voices, reverse=True), bass]] * draw.choice((4, 4, 8))
        degree = draw.choice(FOLLOW[degree])
    return steps[:STEPS]


def chorales() -> str:
    """The file of chorales: a list of pieces for each split."""
    draw = random.Random(0)
    return json.dumps({split: [chorale(draw) for _ in range(count)] for split, count in PIECES.items()}) + "\n"


def main() -> None:
    (HERE / "chorales.json").write_text(chorales(), encoding="utf-8")
    write_midi(HERE / "motif.mid", motif(), bpm=60 / BEAT)
    write_midi(HERE / "melody.mid", melody(100), bpm=100)


if __name__ == "__main__":
    main()
