"""What `attn music generate` and `accompany` write: some pieces at a time, of which an interrupted run's are kept."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attn import console

if TYPE_CHECKING:
    from attn.apps.music.compose import Composing
    from attn.apps.music.sound import Sound

TOGETHER = 8  # pieces that are written at one time


@dataclass(frozen=True)
class Written:
    """Where pieces go, how many, and with what beside them; as the options say."""

    out: Path
    samples: int
    seed: int
    sound: "Sound | None"
    score: bool
    instrument: str | None
    resume: bool
    as_json: bool

    def write(self, compose: Callable[..., "Composing"], asked: dict[str, Any], read: Sequence[Path | None]) -> None:
        """Compose some pieces at a time with a bar that counts seconds of music, and write them.

        compose: takes `seed` and `samples`. asked: all else that decides what the pieces are. What there is after
        Ctrl-C is written too. With --resume, pieces that an interrupted run of the same request finished are kept.
        """
        from attn.apps.music.compose import MOST_SEED
        from attn.apps.music.pieces import (
            files_of,
            finished,
            kept_row,
            play,
            program_of,
            request_note,
            write_pieces,
        )

        instrument = None if self.instrument is None else program_of(self.instrument)
        note = request_note(asked | {"instrument": instrument}, read)
        paths = files_of(self.out, self.samples)[0]
        seeds = [(self.seed + k) % (MOST_SEED + 1) for k in range(self.samples)]
        rows: dict[int, dict[str, object]] = {}
        for k, (path, seed) in enumerate(zip(paths, seeds, strict=True)):
            if self.resume and finished(path, seed, note):
                row = kept_row(path, seed)
                beside = ["roll", *(["score"] if self.score else [])]
                if not row["notes"] or all(name in row for name in beside):
                    if row["notes"] and self.sound is not None:  # what is there, another soundfont may have played
                        row |= play(path, path, self.sound, instrument)
                    rows[k] = row
        stop = None
        for few in _together([k for k in range(self.samples) if k not in rows], asked["candidates"] or 1):
            composing = compose(seed=seeds[few[0]], samples=len(few))
            if self.sound is not None:
                self.sound.require_playable(composing.total_seconds)
            stop = _heard(composing)
            places = [paths[k] for k in few]
            said = "interrupted" if stop else note
            what: dict[str, Any] = {"sound": self.sound, "score": self.score, "instrument": instrument, "note": said}
            written = write_pieces(composing.pieces(), places, **what)
            rows |= zip(few, written, strict=True)
            if stop:
                break
        console.show_table([rows[k] for k in sorted(rows)], as_json=self.as_json)
        if stop:
            raise stop


def _together(numbers: list[int], candidates: int) -> Iterator[list[int]]:
    """Neighbours, of which at most TOGETHER candidates are written at one time, or those of one piece."""
    few: list[int] = []
    for k in numbers:
        if few and (len(few) >= TOGETHER // candidates or k != few[-1] + 1):
            yield few
            few = []
        few.append(k)
    if few:
        yield few


def _heard(composing: "Composing") -> KeyboardInterrupt | None:
    """Compose to the end, or to an interruption, which is returned."""
    done = 0
    with console.progress(round(composing.total_seconds), "seconds of music") as advance:
        try:
            for now in composing:
                for _ in range(int(now) - done):
                    advance()
                done = max(done, int(now))
        except KeyboardInterrupt:
            return KeyboardInterrupt(f"interrupted after {done} seconds of music, which were written")
    return None
