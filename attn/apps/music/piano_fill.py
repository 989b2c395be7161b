"""A gap in a performance, or between two: what lies before it, and what follows, by which candidates are judged.

The model goes on from what lies before, and does not see what follows. What follows keeps its key, its notes and its
velocities; between two files its beats have the tempo of the first.

Shapes: L tokens.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from attn.apps.music.compose import Request
from attn.apps.music.fill import Fill
from attn.apps.music.motif import PianoMotif, piano_motif, rest_of
from attn.apps.music.notation import HALF_STEP, PianoNotation
from attn.apps.music.styles import Piano
from attn.core.errors import UsageError
from attn.data_adapters.midi.chorales import VOICES
from attn.data_adapters.midi.events import STEPS_PER_SECOND
from attn.data_adapters.midi.notes import Notes
from attn.data_adapters.midi.writer import Part

JUDGED = 4.0  # seconds of what follows from its first note on, which the model is to find likely


@dataclass(frozen=True, eq=False)
class PianoGap:
    """before: what the model goes on from, with the notation of the whole. seconds: of the gap. coda_l: events (L,) of
    the rest after the gap, if any, and of the first notes that follow; coda_seconds: how long they last.
    """

    before: PianoMotif
    seconds: float
    coda_l: np.ndarray
    coda_seconds: float


def within(style: Piano, motif: str | Path | Notes, request: Request) -> PianoGap:
    """Bars of one file. Raises UsageError for voices, and for bars that the piece lacks."""
    fill = Fill.of(str(request.fill))
    if fill.bars is None or len(fill.voices) < len(VOICES):
        raise UsageError("a piano piece has no voices to fill", hint='name its bars, as in "bars 5-8"')
    whole = piano_motif(style, motif, request)
    how = whole.notation
    begin, end = (how.seconds(how.metre.after(0.0, bar)) for bar in (fill.bars[0] - 1, fill.bars[1]))
    heard = style.notes(whole.known).shifted(how.start)
    if begin >= heard.seconds or end <= how.start:
        raise UsageError(f"there is no bar {fill.bars[0]} with notes to fill")
    after = heard.where(heard.start >= end - HALF_STEP)
    if how.start < begin - HALF_STEP:
        before = piano_motif(style, motif, request.model_copy(update={"motif_seconds": begin}))
    else:
        before = PianoMotif(style.encode(Notes.none()), replace(how, start=begin, until=begin, given=()))
    given = tuple(_opened(part, begin, end) for part in how.given)
    ends = end if len(after) else min(end, how.until)
    return _gap(style, before, replace(how, start=before.notation.start, given=given), begin, ends, after)


def between(style: Piano, motif: str | Path | Notes, request: Request, bars: int) -> PianoGap:
    """Bars between two files: from the end of the first to the beginning of the second, whose first rest stays."""
    first = piano_motif(style, motif, request)
    second = piano_motif(style, str(request.before), request.model_copy(update={"motif_seconds": None}))
    how, other = first.notation, second.notation
    place = how.metre.after(how.quarters(how.until), bars)

    def moved(seconds: np.ndarray) -> np.ndarray:
        return how.tempo.at((place + other.tempo.quarters(seconds)) * how.tempo.resolution)

    def placed(notes: Notes) -> Notes:
        return Notes.of(moved(notes.start), moved(notes.end), notes.pitch, notes.velocity)

    after = placed(style.notes(second.known).shifted(other.start))
    parts = [replace(part, notes=placed(part.notes), pedal=moved(part.pedal)) for part in other.given]
    given = (*how.given, *parts)
    if len(how.given) == len(parts) == 1:
        given = (_joined(how.given[0], parts[0]),)
    metre = how.metre.then(other.metre, place)
    flags = tuple(dict.fromkeys((*how.flags, *other.flags)))
    opens, ends = moved(np.array([0.0, other.until])).tolist()
    whole = replace(how, given=given, metre=metre, flags=flags, until=ends)
    return _gap(style, first, whole, how.until, opens, after)


def _gap(style: Piano, before: PianoMotif, whole: PianoNotation, begin: float, end: float, after: Notes) -> PianoGap:
    """What is known until `begin`, and the events after `end`, where the gap ends: a rest after it was given too."""
    coda_l, coda_seconds = style.encode(Notes.none()), 0.0
    if len(after):
        first = float(after.start.min())
        judged = after.between(first, first + JUDGED)
        coda_l = np.concatenate([rest_of(style, round((first - end) * STEPS_PER_SECOND)), style.encode(judged)])
        coda_seconds = judged.seconds - end
    notation = replace(whole, until=begin, resumes=end, after=after, ends=max(whole.until, after.seconds))
    return PianoGap(PianoMotif(before.known, notation), end - begin, coda_l, coda_seconds)


def _opened(part: Part, begin: float, end: float) -> Part:
    """What lies outside the gap."""
    left, right = part.notes.between(0.0, begin), part.notes.where(part.notes.start >= end - HALF_STEP)
    down, up = part.pedal.T
    pedal = [np.stack([down, up.clip(max=begin)], 1)[down < begin], np.stack([down.clip(min=end), up], 1)[up > end]]
    return replace(part, notes=left.joined(right), pedal=np.concatenate(pedal))


def _joined(one: Part, other: Part) -> Part:
    return replace(one, notes=one.notes.joined(other.notes), pedal=np.concatenate([one.pedal, other.pedal]))
