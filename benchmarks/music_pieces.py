"""Pieces that a person wants to hear: what the bundled models' continuations have of their motif, and their harmony.

    uv run python benchmarks/music_pieces.py                      # the usual sampling, without rules, and plain
    uv run python benchmarks/music_pieces.py --samples 4 --seconds 30
    uv run python benchmarks/music_pieces.py --only chorale

Piano: simple motifs that are drawn here (an arpeggio, a round, a bass line, a loop of four chords), each continued
`--samples` times. Chorales are begun from nothing; accompaniments are written to four tunes in the public domain that
end on their tonic. Intervals are bootstrapped over pieces. Harmony is counted from one sixteenth to the next.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from rows import keep

from attn.apps.music.craft import closes, crowded, off_key, parallels, rate, returning, still_bars
from attn.apps.music.decode import Sampling
from attn.apps.music.key import Key, key_of, weights_of
from attn.apps.music.predict import MusicGenerator
from attn.apps.music.statistics import bootstrap_mean
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.writer import write_midi

Way = Callable[[Sampling], Sampling]  # of a model's own sampling
WAYS: dict[str, Way] = {
    "before": lambda own: Sampling(temperature=1.0, top_p=0.98),
    "without rules": lambda own: replace(own, rules=0.0),
    "usual": lambda own: own,
}
BEAT = 0.5  # seconds
ROUND = "C4 D4 E4 C4 C4 D4 E4 C4 E4 F4 G4:2 E4 F4 G4:2"  # Frère Jacques
TUNES = {  # pitch names; :2 is two beats
    "Frère Jacques": "C5 D5 E5 C5 C5 D5 E5 C5 E5 F5 G5:2 E5 F5 G5:2 C5 G4 C5:2 C5 G4 C5:2",
    "Ode to Joy": "E5 E5 F5 G5 G5 F5 E5 D5 C5 C5 D5 E5 D5 D5 C5:2",
    "Ah, vous dirai-je": "C5 C5 G5 G5 A5 A5 G5:2 F5 F5 E5 E5 D5 D5 C5:2",
    "Old Hundredth": "G4:2 G4 F#4 E4 D4 G4 A4 B4:2 B4 B4 B4 A4 G4 C5 B4 A4 G4:2",
}
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def line(text: str, beat: float = BEAT) -> Notes:
    """Notes of names such as F#4:2."""
    start, rows = 0.0, []
    for word in text.split():
        name, _, beats = word.partition(":")
        pitch = STEPS[name[0]] + ("#" in name) + 12 * (int(name[-1]) + 1)
        length = beat * float(beats or 1)
        rows.append((start, start + 0.95 * length, pitch, 72))
        start += length
    return Notes.of(*np.array(rows).T)


def motifs() -> dict[str, Notes]:
    """The simple motifs, about eight seconds each."""
    arpeggio = [pitch for root in (60, 57, 65, 67) for pitch in (root, root + 4 - (root == 57), root + 7, root + 12)]
    eighth = BEAT / 2
    broken = Notes.of(eighth * np.arange(32), eighth * np.arange(1, 33), np.repeat(arpeggio, 2), [68] * 32)
    chords = [(55, 59, 62), (50, 54, 57), (52, 55, 59), (48, 52, 55)]  # G D Em C, in four beats each
    start = np.repeat(BEAT * np.arange(16), 3)
    loop = Notes.of(start, start + 0.9 * BEAT, np.repeat(chords, 4, axis=0).reshape(-1), [70] * 48)
    bass = line("D2 D2 A2 F2 G2 G2 A2 A2 D2 D2 A2 F2 G2 A2 D2:2")
    return {"arpeggio": broken, "round": line(ROUND), "bass line": bass, "four chords": loop}


def piano(ways: dict[str, Way], samples: int, seconds: float, candidates: int | None) -> list[dict[str, object]]:
    """A row for each way of sampling: density, key, figures, crowds."""
    generator = MusicGenerator.load()
    rows = []
    for name, sampling in ways.items():
        found: dict[str, list[float]] = {}
        for number, motif in enumerate(motifs().values()):
            key = key_of(weights_of(motif))
            assert key is not None
            settings = {"seconds": seconds, "samples": samples, "seed": 100 + number, "candidates": candidates}
            settings["sampling"] = sampling(generator.sampling)
            for piece in generator.generate(motif, **settings):
                new = piece.notes.where(piece.notes.start >= piece.motif_seconds - 0.005)
                for measure, value in measured(motif, new, piece.motif_seconds, seconds, key).items():
                    found.setdefault(measure, []).append(value)
        rows.append({"pieces": f"piano, {name}"} | {m: bootstrap_mean(v) for m, v in found.items()})
        print(shown(rows[-1]), flush=True)
    return rows


def measured(motif: Notes, new: Notes, begin: float, seconds: float, key: Key) -> dict[str, float]:
    """The measures of one continuation, whose notes have the times of the piece."""
    late = {
        f"off_key_{a}_{b}": off_key(new.between(begin + a, begin + b), key) for a, b in ((0, 10), (10, 20), (20, 30))
    }
    return {
        "density": rate(new, seconds) / rate(motif, motif.seconds),
        **late,
        "returning": returning(motif, new),
        "crowded": crowded(new, begin, begin + seconds),
    }


def chorale(ways: dict[str, Way], samples: int, bars: int, candidates: int | None) -> list[dict[str, object]]:
    """A row for each way of sampling: parallels in 100 bars, bars without change; and for accompaniments cadences."""
    rows = []
    writers = {name: MusicGenerator.load(bundled=name) for name in ("chorale", "accompany")}
    for name, sampling in ways.items():
        how = {"samples": samples, "candidates": candidates}
        own = {style: sampling(writer.sampling) for style, writer in writers.items()}
        pieces = writers["chorale"].generate(bars=bars, seed=7, sampling=own["chorale"], **how)
        grids = [piece.ids for piece in pieces]
        rows.append({"pieces": f"chorale, {name}"} | harmony([writers["chorale"].style.grid(g) for g in grids]))
        print(shown(rows[-1]), flush=True)
        grids, ends = [], []
        with tempfile.TemporaryDirectory() as folder:
            for number, tune in enumerate(TUNES.values()):
                path = Path(folder) / f"{number}.mid"
                write_midi(path, line(tune))
                key = key_of(weights_of(line(tune)), int(line(tune).pitch[-1]) % 12)
                assert key is not None
                for piece in writers["accompany"].accompany(path, seed=number, sampling=own["accompany"], **how):
                    grids.append(writers["accompany"].style.grid(piece.ids))
                    ends.append(float(closes(grids[-1], key)))
        row = {"pieces": f"accompany, {name}"} | harmony(grids) | {"closes": bootstrap_mean(ends)}
        rows.append(row)
        print(shown(row), flush=True)
    return rows


def harmony(grids: list[np.ndarray]) -> dict[str, object]:
    """Parallels in 100 bars and the share of bars without change."""
    counts = np.array([[*parallels(grid), len(grid) / 16, still_bars(grid)] for grid in grids])
    return {
        "fifths": bootstrap_mean(100 * counts[:, 0] / counts[:, 2]),
        "octaves": bootstrap_mean(100 * counts[:, 1] / counts[:, 2]),
        "still_bars": bootstrap_mean(counts[:, 3]),
    }


def shown(row: dict[str, object]) -> str:
    """One line: names, and values with their intervals."""
    cells = (
        f"{name} {value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
        if isinstance(value, dict)
        else str(value)
        for name, value in row.items()
    )
    return "  ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("piano", "chorale"))
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--bars", type=int, default=8)
    parser.add_argument("--candidates", type=int, help="the usual number when not given")
    options = parser.parse_args()
    for style, run, length in (("piano", piano, options.seconds), ("chorale", chorale, options.bars)):
        if options.only in (None, style):
            for row in run(WAYS, options.samples, length, options.candidates):
                keep("music_pieces", row)


if __name__ == "__main__":
    main()
