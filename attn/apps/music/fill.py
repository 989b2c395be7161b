"""What is to be written within a piece: some bars or voices of a chorale, or the bars between two of them.

Shapes: T grid steps, 4 voices.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from attn.apps.music.motif import GridMotif
from attn.apps.music.notation import GridNotation
from attn.core.errors import InputError, UsageError
from attn.data_adapters.midi.chorales import SILENCE, STEPS_PER_QUARTER, VOICES
from attn.data_adapters.midi.lines import chosen
from attn.data_adapters.midi.music import read_music
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.voices import read_voices

SHORTEST = 1e-6  # seconds: what is left of a note that ended with the gap
PERFORMED = 0.1  # of the notes: a piece of which the grid loses or moves more is no chorale


@dataclass(frozen=True)
class Fill:
    """voices: from 0, the soprano, to 3. bars: the first and the last, from 1; None for all."""

    voices: tuple[int, ...]
    bars: tuple[int, int] | None

    @classmethod
    def of(cls, text: str) -> Self:
        """From "bars 5-8", "5", "alto,tenor" or "alto 5-8". Raises UsageError for another text."""
        names = [voice.lower() for voice in VOICES]
        voices: list[int] = []
        bars: list[tuple[int, int]] = []
        hint = 'write it as "bars 5-8", "alto,tenor" or "alto 5-8"'
        for word in re.split(r"[\s,]+", text.strip().lower()):
            if word in names:
                voices.append(names.index(word))
            elif match := re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", word, re.ASCII):
                bars.append((int(match[1]), int(match[2] or match[1])))
            elif word not in ("bar", "bars"):
                raise UsageError(f"{text!r:.40} does not say what to fill", hint=hint)
        if len(bars) > 1 or not (bars or voices) or any(not 1 <= first <= last for first, last in bars):
            raise UsageError(f"{text!r:.40} does not say what to fill", hint=hint)
        return cls(tuple(sorted(set(voices))) or tuple(range(len(VOICES))), bars[0] if bars else None)

    def gap(self, how: GridNotation) -> np.ndarray:
        """(T, 4) bool: the cells to be written. Raises UsageError for bars that the piece lacks."""
        gap_tv = np.zeros((how.steps, len(VOICES)), bool)
        first, last = 0, how.steps
        if self.bars is not None:
            places = [how.metre.after(0.0, bar) for bar in (self.bars[0] - 1, self.bars[1])]
            first, last = (round(place * STEPS_PER_QUARTER) - how.lead for place in places)
        if first >= how.steps or last <= 0:
            raise UsageError(f"there is no bar {(self.bars or (1, 1))[0]} with notes to fill")
        gap_tv[max(0, first) : last, self.voices] = True
        return gap_tv


def style_of_gap(
    pieces: Sequence[Path], fill: Fill | None, track: str | None = None, channel: int | None = None
) -> str:
    """`chorale` for voices, and for pieces in four voices on a grid of sixteenths without a pedal; else `piano`.

    To fewer voices the chorale model would write the others, outside the gap too.

    fill: what is to be written, None for the bars between the pieces. track and channel choose among what the pieces
    have. Raises as `read_music` and `chosen`.
    """
    if fill is not None and len(fill.voices) < len(VOICES):
        return "chorale"
    for piece in pieces:
        midi = chosen(read_music(piece), track, channel)
        try:
            found = read_voices(midi)
        except InputError:  # more than a chorale can be, or nothing: the model's reader says what is missing
            return "piano"
        pedalled = any(len(played.pedal) for played in midi.tracks)
        if pedalled or not found.given.any(0).all() or found.lost + found.moved > PERFORMED * len(midi.notes):
            return "piano"
    return "chorale"


def opened(motif: GridMotif, gap_tv: np.ndarray) -> GridMotif:
    """The piece with a gap; notes that reach into it end or begin at its edges."""
    how = motif.notation
    steps = np.flatnonzero(gap_tv.any(1))
    begin, end = how.clock(int(steps[0])), how.clock(int(steps[-1]) + 1)
    given = tuple(
        _without(notes, begin, end) if gap_tv[:, voice].any() else notes for voice, notes in enumerate(how.given)
    )
    forced_tv = motif.forced & ~gap_tv
    return GridMotif(motif.grid, forced_tv, replace(how, given=given, forced=forced_tv))


def between(before: GridMotif, after: GridMotif, bars: int) -> GridMotif:
    """Two pieces with bars between them that are to be written, in the tempo of the first.

    The bars begin at the bar line after the first piece, whose last bar is filled up; the second piece follows with
    the bar lines of its file, and what rests before its first note is written too.
    """
    first, second = before.notation, after.notation
    end = (first.lead + first.steps + first.rest) / STEPS_PER_QUARTER
    place = first.metre.after(end, bars)  # quarters: where the file of the second piece begins
    free = round(place * STEPS_PER_QUARTER) + second.lead - first.lead - first.steps
    nothing_tv = np.full((free, len(VOICES)), SILENCE)
    grid_tv = np.concatenate([before.grid, nothing_tv, after.grid])
    forced_tv = np.concatenate([before.forced, nothing_tv != SILENCE, after.forced])
    given = tuple(
        one.joined(_placed(other, first, second, place)) for one, other in zip(first.given, second.given, strict=True)
    )
    metre = first.metre.then(second.metre, place)
    flags = tuple(dict.fromkeys((*first.flags, *second.flags)))
    how = GridNotation(first.tempo, metre, flags, lead=first.lead, steps=len(grid_tv), given=given)
    return GridMotif(grid_tv, forced_tv, replace(how, forced=forced_tv))


def heard_after(gap_tv: np.ndarray, forced_tv: np.ndarray, steps: int) -> np.ndarray:
    """(T, 4) bool: given cells beside the gap, and for so many steps after it, by which candidates are judged."""
    rows = np.flatnonzero(gap_tv.any(1))
    judged_tv = np.zeros(gap_tv.shape, bool)
    judged_tv[rows[0] : math.ceil(rows[-1] + 1 + steps)] = True
    return np.asarray(judged_tv & forced_tv)


def _without(notes: Notes, begin: float, end: float) -> Notes:
    left = notes.where(notes.start < begin - SHORTEST)
    right = notes.where(notes.end > end + SHORTEST)
    left = Notes.of(left.start, np.minimum(left.end, begin), left.pitch, left.velocity)
    return left.joined(Notes.of(np.maximum(right.start, end), right.end, right.pitch, right.velocity))


def _placed(notes: Notes, first: GridNotation, second: GridNotation, place: float) -> Notes:
    """Notes of the second piece in the beats of the first, from `place` on."""
    start, end = (
        first.tempo.at((place + second.tempo.quarters(seconds)) * first.tempo.resolution)
        for seconds in (notes.start, notes.end)
    )
    return Notes.of(start, end, notes.pitch, notes.velocity)
