"""A written piece as files: the MIDI file, its piano roll, sound and score, and which of them are there already.

Every MIDI file says in a text event which seed made it, and of which request: the same request continues.
"""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attn.apps.music.compose import Composition
from attn.core.errors import UsageError
from attn.data_adapters.midi.file import read_midi, with_sustain
from attn.data_adapters.midi.musicxml import write_score

if TYPE_CHECKING:
    from attn.apps.music.sound import Sound

SUFFIXES = (".mid", ".midi")
REQUEST, SCORE = "request", ".musicxml"


def files_of(
    out: Path, samples: int, *, sound: str | None = None, score: bool = False
) -> tuple[list[Path], list[Path]]:
    """The MIDI files of that many pieces, and the files whose names `out` only implies. sound: their suffix.

    Raises UsageError if `out` does not end as the name of a MIDI file.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise UsageError("is to be a MIDI file", where=out, hint=f"end its name in {' or '.join(SUFFIXES)}")
    paths = [out] if samples == 1 else [out.with_name(f"{out.stem}-{n + 1}{out.suffix}") for n in range(samples)]
    suffixes = [".png", *([sound] if sound else []), *([SCORE] if score else [])]
    beside = [path.with_suffix(suffix) for path in paths for suffix in suffixes]
    return paths, beside if samples == 1 else paths + beside


def request_note(asked: Mapping[str, object], read: Sequence[Path | None]) -> str:
    """What a file says of its request: a digest of the options and of the files that it reads."""
    digest = hashlib.sha256(repr(sorted(asked.items())).encode(errors="surrogateescape"))
    for path in read:
        if path is None:
            digest.update(b"-")
        else:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"{REQUEST} {digest.hexdigest()[:12]}"


def finished(path: Path, seed: int, note: str) -> bool:
    """Whether this piece of the request is there, whole. Raises UsageError for one of another request."""
    if not path.exists():
        return False
    content = path.read_bytes()
    if f"seed {seed}, {note}".encode() in content:
        return True
    if REQUEST.encode() in content:
        raise UsageError("is there, of another request", where=path, hint="leave out --resume, or give another --out")
    return False


def program_of(instrument: str) -> int:
    """The General MIDI program, 0 to 127, of a number from 1 to 128 or of a name such as Church Organ."""
    import pretty_midi

    if instrument.isascii() and instrument.isdigit():
        if 1 <= int(instrument[:4]) <= 128:
            return int(instrument) - 1
    else:
        for program in range(128):
            if pretty_midi.program_to_instrument_name(program).lower() == instrument.strip().lower():
                return program
    hint = "give a number from 1 to 128, or a name of General MIDI as Church Organ"
    raise UsageError(f"there is no instrument {instrument!r:.40}", hint=hint)


def write_pieces(
    pieces: Sequence[Composition],
    paths: Sequence[Path],
    *,
    sound: "Sound | None" = None,
    score: bool = False,
    instrument: int | None = None,
    note: str = "",
) -> list[dict[str, object]]:
    """Write each piece to its path; a row for each says what was written.

    The MIDI file comes last: where it is there, all that lies beside it is. A piece without notes has nothing beside.
    """
    from attn.apps.music.roll import draw_roll  # matplotlib takes seconds to load, and may be for nothing

    rows = []
    for path, piece in zip(paths, pieces, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        notes = piece.notes
        row: dict[str, object] = {"midi": str(path), "notes": len(notes), "seconds": round(notes.seconds, 2)}
        if len(notes):
            row["roll"] = str(path.with_suffix(".png"))
            bar_seconds = piece.notation.bar_seconds() if len(piece.parts) > 1 else None
            draw_roll(
                notes, path.with_suffix(".png"), motif_seconds=piece.motif_seconds or None, bar_seconds=bar_seconds
            )
        if row["notes"] and (sound is not None or score):
            with tempfile.TemporaryDirectory() as folder:
                midi = Path(folder) / "piece.mid"
                piece.save(midi, instrument=instrument)
                if sound is not None:
                    row |= play(midi, path, sound, instrument)
                if score:
                    row["score"] = str(path.with_suffix(SCORE))
                    write_score(midi, path.with_suffix(SCORE))
        piece.save(path, instrument=instrument, note=note)
        rows.append(row | {"seed": piece.seed, "flags": "; ".join(piece.flags)})
    return rows


def play(midi: Path, beside: Path, sound: "Sound", instrument: int | None) -> dict[str, object]:
    """Render a MIDI file as the sound beside a piece; the cells that say where it is and what made it."""
    from attn.apps.music.sound import render

    heard = beside.with_suffix(sound.suffix)
    maker = render(with_sustain(read_midi(midi)), heard, program=instrument or 0, soundfont=sound.soundfont)
    return {sound.suffix[1:]: str(heard), "sound": maker}


def kept_row(path: Path, seed: int) -> dict[str, object]:
    """The row of a piece that an earlier run wrote."""
    notes = read_midi(path).notes
    row: dict[str, object] = {"midi": str(path), "notes": len(notes), "seconds": round(notes.seconds, 2)}
    beside = {"roll": path.with_suffix(".png"), "score": path.with_suffix(SCORE)}
    beside |= {kind: path.with_suffix(f".{kind}") for kind in ("wav", "mp3", "ogg")}
    row |= {name: str(file) for name, file in beside.items() if file.exists()}
    return row | {"seed": seed, "flags": "kept"}
