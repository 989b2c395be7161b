"""A written piece as files: the MIDI file, its piano roll and its sound beside it."""

from collections.abc import Sequence
from pathlib import Path

from attn.apps.music.compose import Composition
from attn.core.errors import UsageError

SUFFIXES = (".mid", ".midi")


def files_of(out: Path, samples: int, *, wav: bool = False) -> tuple[list[Path], list[Path]]:
    """The MIDI files of that many pieces, and the files whose names `out` only implies.

    Raises UsageError if `out` does not end as the name of a MIDI file.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise UsageError("is to be a MIDI file", where=out, hint=f"end its name in {' or '.join(SUFFIXES)}")
    paths = [out] if samples == 1 else [out.with_name(f"{out.stem}-{n + 1}{out.suffix}") for n in range(samples)]
    beside = [path.with_suffix(suffix) for path in paths for suffix in (".png", ".wav")[: 1 + wav]]
    return paths, beside if samples == 1 else paths + beside


def write_pieces(pieces: Sequence[Composition], out: Path, *, wav: bool = False) -> list[dict[str, object]]:
    """Write each piece to `out`, or several to NAME-1.mid, NAME-2.mid and so on; a row for each says what was written.

    A piece without notes has neither roll nor sound.
    """
    from attn.apps.music.roll import draw_roll  # matplotlib takes seconds to load, and may be for nothing

    out.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for path, piece in zip(files_of(out, len(pieces))[0], pieces, strict=True):
        notes = piece.notes
        piece.save(path)
        row: dict[str, object] = {"midi": str(path), "notes": len(notes), "seconds": round(notes.seconds, 2)}
        if len(notes):
            row["roll"] = str(path.with_suffix(".png"))
            bar_seconds = piece.notation.bar_seconds() if len(piece.parts) > 1 else None
            draw_roll(
                notes, path.with_suffix(".png"), motif_seconds=piece.motif_seconds or None, bar_seconds=bar_seconds
            )
            if wav:
                from attn.apps.music.sound import render

                row["wav"] = str(path.with_suffix(".wav"))
                row["sound"] = render(notes, path.with_suffix(".wav"))
        row["flags"] = "; ".join(piece.flags)
        rows.append(row)
    return rows
