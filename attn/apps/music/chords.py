"""Chord symbols as lead sheets write them, and what they ask of four voices on a grid.

On every beat each voice has a note of the chord; where a chord begins, the bass has its root (or what follows the
slash) and the tenor its third, if no voice above has it. Between beats other notes cost OUTSIDE nats.

Shapes: T grid steps, B pieces, V ids, 12 pitch classes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from attn.core.errors import UsageError
from attn.data_adapters.midi.metre import Metre

OUTSIDE = 2.0  # nats, between beats
TENOR, BASS = 2, 3
LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
QUALITIES = {  # semitones above the root
    **dict.fromkeys(("", "maj", "M"), (0, 4, 7)),
    **dict.fromkeys(("m", "min", "-"), (0, 3, 7)),
    **dict.fromkeys(("dim", "o", "°"), (0, 3, 6)),
    **dict.fromkeys(("aug", "+"), (0, 4, 8)),
    **dict.fromkeys(("7",), (0, 4, 7, 10)),
    **dict.fromkeys(("maj7", "M7", "Δ"), (0, 4, 7, 11)),
    **dict.fromkeys(("m7", "min7", "-7"), (0, 3, 7, 10)),
    **dict.fromkeys(("m7b5", "ø", "ø7"), (0, 3, 6, 10)),
    **dict.fromkeys(("dim7", "o7", "°7"), (0, 3, 6, 9)),
    **dict.fromkeys(("6",), (0, 4, 7, 9)),
    **dict.fromkeys(("m6", "min6"), (0, 3, 7, 9)),
    **dict.fromkeys(("sus4", "sus"), (0, 5, 7)),
    **dict.fromkeys(("sus2",), (0, 2, 7)),
}
SYMBOL = re.compile(r"([A-G])([#b]?)([^/]*)(?:/([A-G])([#b]?))?")
REGISTER = re.compile(r"(\d{1,3}|[A-G][#b]?-?\d) ?- ?(\d{1,3}|[A-G][#b]?-?\d)", re.ASCII)
FREE = ("NC", "N.C.")
MOST = 1000  # symbols


@dataclass(frozen=True)
class Chord:
    """classes: pitch classes, 0 for C, the root first; bass: the lowest of them."""

    classes: tuple[int, ...]
    bass: int

    @classmethod
    def of(cls, symbol: str) -> Self | None:
        """Of a symbol as F#m7 or C/E; None for NC, no chord. Raises UsageError for one that is unknown."""
        if symbol in FREE:
            return None
        match = SYMBOL.fullmatch(symbol)
        if match is None or match[3] not in QUALITIES:
            hint = f"after the root there may be {', '.join(name for name in QUALITIES if name)}, and /E for a bass"
            raise UsageError(f"there is no chord {symbol!r:.40}", hint=hint)
        root = _class(match[1], match[2])
        classes = tuple((root + step) % 12 for step in QUALITIES[match[3]])
        return cls(classes, _class(match[4], match[5]) if match[4] else root)

    @property
    def third(self) -> int:
        """What the tenor has where nobody else does."""
        return self.classes[1]

    @property
    def notes(self) -> np.ndarray:
        """(12,) bool, the bass too."""
        found = np.zeros(12, bool)
        found[[*self.classes, self.bass]] = True
        return found


Bars = tuple[tuple[Chord | None, ...], ...]


def bars_of(text: str) -> Bars:
    """The chords of each bar: one symbol a bar, or bars between lines, as "C G | Am F"; symbols of a bar share it.

    Raises UsageError for a text without chords, and for a symbol that is unknown.
    """
    cells = (
        [cell.split() for cell in text.strip().strip("|").split("|")] if "|" in text else [[s] for s in text.split()]
    )
    if not cells or not all(cells) or sum(map(len, cells)) > MOST:
        raise UsageError(f"no chords can be read from {text!r:.40}", hint='write them as "C G Am F" or "C G | Am F"')
    return tuple(tuple(Chord.of(symbol) for symbol in cell) for cell in cells)


@dataclass(frozen=True, eq=False)
class Harmony:
    """chords: of each step (T), None where all is free. starts, beats: (T,) bool, where a chord and a beat begin."""

    chords: Sequence[Chord | None]
    starts: np.ndarray
    beats: np.ndarray

    @classmethod
    def on(cls, bars: Bars, quarters_t: np.ndarray, metre: Metre, begin: float) -> Self:
        """Chords from the first bar line at `begin` on, again and again; quarters_t: where each step lies."""
        chords: list[Chord | None] = []
        spans: list[tuple[int, int]] = []
        offsets: list[float] = []
        line, bar = metre.bar_line(begin), 0
        until = metre.after(line, 1)
        for at in np.round(quarters_t, 6).tolist():
            while at >= until - 1e-6:
                line, bar = until, bar + 1
                until = metre.after(line, 1)
            before = at < line - 1e-6
            cell = bars[bar % len(bars)]
            place = min(len(cell) - 1, int((at - line + 1e-6) / (until - line) * len(cell)))
            chords.append(None if before else cell[place])
            spans.append((-1, 0) if before else (bar, place))
            offsets.append(at - line)
        starts = np.array([k == 0 or spans[k] != spans[k - 1] for k in range(len(spans))], bool)
        beats = np.isclose(np.array(offsets) % 1.0, 0.0, atol=1e-6) | np.isclose(
            np.array(offsets) % 1.0, 1.0, atol=1e-6
        )
        return cls(chords, starts, beats)

    def allowed(self, step: int, voice: int, class_v: np.ndarray, above_bu: np.ndarray, first: int = 0) -> np.ndarray:
        """(B, V) bool: what a voice may have; class_v: pitch classes of ids; above_bu: ids of the voices above.

        first: the lowest id that sounds; those below are rests.
        """
        chord, batch = self.chords[step], len(above_bu)
        if chord is None or not (self.beats[step] or self.starts[step]):
            return np.ones((batch, len(class_v)), bool)
        allowed_bv = np.repeat(chord.notes[class_v][None], batch, axis=0)
        if self.starts[step] and voice == BASS:
            allowed_bv[:] = class_v == chord.bass
        elif self.starts[step] and voice == TENOR:
            lacking_b = ((class_v[above_bu] != chord.third) | (above_bu < first)).all(1)
            allowed_bv[lacking_b] = class_v == chord.third
        return allowed_bv

    def bias(self, step: int, class_v: np.ndarray) -> np.ndarray:
        """(V,) nats for notes outside the chord."""
        chord = self.chords[step]
        return np.zeros(len(class_v)) if chord is None else -OUTSIDE * ~chord.notes[class_v]


def _class(letter: str, accidental: str) -> int:
    return (LETTERS[letter] + {"": 0, "#": 1, "b": -1}[accidental]) % 12


def pitches_of(text: str) -> tuple[int, int]:
    """The lowest and the highest pitch of a register as C3-C6 (C4 is 60) or 48-84. Raises UsageError."""
    match = REGISTER.fullmatch(text.strip())
    ends = [] if match is None else [_pitch(end) for end in match.groups()]
    if len(ends) < 2 or not 0 <= ends[0] <= ends[1] <= 127:
        raise UsageError(f"{text!r:.40} is no register", hint="write it from low to high, as C3-C6 or 48-84")
    return ends[0], ends[1]


def _pitch(text: str) -> int:
    if text.isdigit():
        return int(text)
    octave = text.lstrip("ABCDEFG#b")
    return LETTERS[text[0]] + text.count("#") - text[1:].count("b") + 12 * (int(octave) + 1)
