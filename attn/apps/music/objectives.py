"""What music can be guided towards: figures of the motif that return, consonance, many notes.

The model continues the beginnings of pieces with the same seeds, once for each choice of heads; what it writes after
the motif is measured.

Shapes: P pairs of a beginning and a seed.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
from jaxtyping import Float

from attn.apps.music.compose import Composition
from attn.apps.music.craft import consonance, rate
from attn.apps.music.predict import MusicGenerator
from attn.apps.music.statistics import motif_overlap
from attn.apps.music.styles import BAR_SECONDS
from attn.core.decoding.guidance import Guidance
from attn.data_adapters.midi.music import read_music
from attn.look.probe import Batch

PAIRS = 8  # that a choice of heads is judged by: with more, twenty heads take more than two minutes
BARS = 2  # of a chorale, in which a motif can return
SECONDS = 5.0  # of a performance
# From the first note on.
MOTIF_SECONDS = {"chorale": 2 * BAR_SECONDS, "piano": 5.0}


def repetition(piece: Composition) -> float:
    """The share of figures of the new music that the motif has too; 0 where there are none."""
    motif = piece.notes.start < piece.motif_seconds - 0.005
    share = motif_overlap(piece.notes.where(motif), piece.notes.where(~motif))
    return share if np.isfinite(share) else 0.0


def consonances(piece: Composition) -> float:
    """The share of pairs of notes that are consonant in the new music; 0 where none sound together."""
    share = consonance(piece.notes.where(piece.notes.start >= piece.motif_seconds - 0.005))
    return share if np.isfinite(share) else 0.0


def density(piece: Composition) -> float:
    """Notes of the new music for each second of it."""
    new = piece.notes.where(piece.notes.start >= piece.motif_seconds - 0.005)
    return rate(new, piece.seconds - piece.motif_seconds)


MEASURES: dict[str, Callable[[Composition], float]] = {
    "repetition": repetition,
    "consonance": consonances,
    "density": density,
}


def objectives(
    generator: MusicGenerator,
) -> Mapping[str, Callable[[Sequence[Batch], Guidance | None], Float[np.ndarray, " P"]]]:
    """For a probe of a model that continues; one that accompanies has none of these."""
    if generator.accompanies:
        return {}
    kind = generator.style.kind
    length: dict[str, float] = {"bars": BARS} if kind == "chorale" else {"seconds": SECONDS}
    first = cache(_first)  # a hunt asks for the same files again and again

    def of(measure: Callable[[Composition], float]) -> Callable[[Sequence[Batch], Guidance | None], np.ndarray]:
        def values(batches: Sequence[Batch], guidance: Guidance | None) -> np.ndarray:
            motifs = [name for batch in batches for name in batch.ids]
            how = {"samples": max(2, PAIRS // len(motifs)), "guide": guidance} | length
            until = {name: MOTIF_SECONDS[kind] + first(name) for name in motifs}
            pieces = [p for name in motifs for p in generator.generate(name, motif_seconds=until[name], **how)]
            return np.array([measure(piece) for piece in pieces])

        return values

    return {name: of(measure) for name, measure in MEASURES.items()}


def _first(name: str) -> float:
    """When the first note begins."""
    start = read_music(name).notes.start
    return float(start.min()) if len(start) else 0.0
