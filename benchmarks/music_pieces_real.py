"""What music_pieces.py measures, of real music and of a Markov chain: between them lies what a model is worth.

    uv run python benchmarks/music_pieces_real.py

Piano: the first eight seconds of performances of MAESTRO are the motif, the next thirty their continuation. The chain,
of order 3 over the same events and within the same grammar, has counted other performances; it continues the drawn
motifs. Where it has not seen the last three events, it takes two, one or none. Chorales: the test part of JSB.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np
from music_pieces import harmony, measured, motifs, shown
from music_train import data_folder
from rows import keep

from attn.apps.music.craft import closes
from attn.apps.music.grammar import PerformanceGrammar
from attn.apps.music.key import clearest_key, key_of, weights_of
from attn.apps.music.statistics import bootstrap_mean
from attn.apps.music.styles import Piano
from attn.data_adapters.midi.chorales import read_jsb
from attn.data_adapters.midi.file import read_midi, with_sustain
from attn.data_adapters.midi.notes import Notes

ORDER, MOTIF = 3, 8.0


class Chain:
    """How often each event followed the last few, for every number of them up to ORDER."""

    def __init__(self, pieces: Iterable[np.ndarray]) -> None:
        self.counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for ids in pieces:
            events = ids.tolist()
            for place, event in enumerate(events):
                for order in range(min(ORDER, place) + 1):
                    self.counts[tuple(events[place - order : place])][event] += 1

    def next(self, ids: list[int], allowed_v: np.ndarray, draw: np.random.Generator) -> int:
        """An event that may follow, drawn as often as it did."""
        for order in range(min(ORDER, len(ids)), -1, -1):
            seen = self.counts.get(tuple(ids[len(ids) - order :]), Counter())
            events = [event for event in seen if allowed_v[event]]
            if events:
                p = np.array([seen[event] for event in events], float)
                return int(draw.choice(events, p=p / p.sum()))
        return int(draw.choice(np.flatnonzero(allowed_v)))

    def continued(self, motif: Notes, seconds: float, seed: int) -> Notes:
        """The motif and so many seconds after it."""
        style, draw = Piano(), np.random.default_rng(seed)
        ids = style.encode(motif).tolist()
        grammar = PerformanceGrammar(style.vocabulary, 1, motif.seconds + seconds, ids)
        while not grammar.finished:
            ids.append(self.next(ids, grammar.allowed()[0], draw))
            grammar.accept(np.array(ids[-1:]))
        return style.notes(np.array(ids))


def row_of(name: str, found: list[dict[str, float]]) -> dict[str, object]:
    """A row with the mean and the interval of each measure."""
    measures = {measure: [each[measure] for each in found] for measure in found[0]}
    row = {"pieces": name} | {measure: bootstrap_mean(np.array(values)) for measure, values in measures.items()}
    print(shown(row), flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--performances", type=int, default=32, help="measured, and as many others counted")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    paths = sorted((data_folder() / "maestro").rglob("*.mid*"))
    chosen = np.random.default_rng(0).permutation(len(paths))[: 2 * options.performances].tolist()
    pieces = [with_sustain(read_midi(paths[k])) for k in chosen]
    found = []
    for notes in pieces[: options.performances]:
        notes = notes.shifted(-notes.start.min())
        motif, new = notes.between(0, MOTIF), notes.between(MOTIF, MOTIF + options.seconds)
        key = key_of(weights_of(motif))
        if key is not None and len(motif) > 8:
            found.append(measured(motif, new, MOTIF, options.seconds, key))
    keep("music_pieces", row_of("piano, real continuations", found))
    chain = Chain(Piano().encode(notes) for notes in pieces[options.performances :])
    found = []
    for number, motif in enumerate(motifs().values()):
        key = key_of(weights_of(motif))
        assert key is not None
        for sample in range(options.samples):
            notes = chain.continued(motif, options.seconds, 100 * number + sample)
            new = notes.where(notes.start >= motif.seconds - 0.005)
            found.append(measured(motif, new, motif.seconds, options.seconds, key))
    keep("music_pieces", row_of(f"piano, Markov chain of order {ORDER}", found))
    grids = read_jsb(data_folder() / "jsb" / "Jsb16thSeparated.json")["test"]
    ends = [float(closes(g, clearest_key(np.bincount(g[g >= 0] % 12, minlength=12)))) for g in grids]
    row = {"pieces": "chorale, real"} | harmony(grids) | {"closes": bootstrap_mean(np.array(ends))}
    print(shown(row))
    keep("music_pieces", row)


if __name__ == "__main__":
    main()
