"""A written piece as files: the MIDI file, its piano roll and its sound beside it."""

from collections.abc import Sequence
from pathlib import Path

from attn.apps.music.compose import Composition
from attn.apps.music.roll import draw_roll
from attn.apps.music.sound import render
from attn.apps.music.styles import BAR_SECONDS


def write_pieces(pieces: Sequence[Composition], out: Path, *, wav: bool = False) -> list[dict[str, object]]:
    """Write each piece to `out`, or several to NAME-1.mid, NAME-2.mid and so on; a row for each says what was written.

    A piece without notes has neither roll nor sound.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for index, piece in enumerate(pieces, start=1):
        path = out if len(pieces) == 1 else out.with_name(f"{out.stem}-{index}{out.suffix}")
        notes = piece.notes
        piece.save(path)
        row: dict[str, object] = {"midi": str(path), "notes": len(notes), "seconds": round(notes.seconds, 2)}
        if len(notes):
            row["roll"] = str(path.with_suffix(".png"))
            bar_seconds = BAR_SECONDS if len(piece.parts) > 1 else None
            draw_roll(
                notes, path.with_suffix(".png"), motif_seconds=piece.motif_seconds or None, bar_seconds=bar_seconds
            )
            if wav:
                row["wav"] = str(path.with_suffix(".wav"))
                row["sound"] = render(notes, path.with_suffix(".wav"))
        rows.append(row)
    return rows
