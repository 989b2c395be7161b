"""What may follow, so that every generated sequence decodes: one grammar for performances, one for four-part grids.

Shapes: B pieces, P pitches of the vocabulary, V ids. Times are steps of 10 ms.
"""

from collections.abc import Callable, Sequence

import numpy as np

from attn.apps.music.chords import Harmony
from attn.apps.music.key import Key, clearest_key, key_of, weights_of
from attn.apps.music.recall import Recall
from attn.apps.music.rules import DENSITY_WINDOW, RECALL, STILL, STILL_STEPS, parallel_bias, striking_bias
from attn.apps.music.styles import STEP_SECONDS
from attn.data_adapters.midi.events import PAD, STEPS_PER_SECOND, EventVocabulary

LONGEST_NOTE = 4 * STEPS_PER_SECOND  # a model forgets to end some notes
LONGEST_REST = 3 * STEPS_PER_SECOND
CADENCE = 4  # steps of the dominant before the final chord
DOMINANT = 4.0  # nats for what is not of it
LEAST_WINDOW = 1.0  # seconds, over which the first notes are counted
CROWD = 48  # events at one time, after which time must move on


class PerformanceGrammar:
    """Performance events (Oore et al. 2018, section 3.1): no note off that was not on, no note without length.

    A velocity is followed by its note; a note that sounds may be struck again, and ends there; time moves on after at
    most CROWD events; a note ends after 4 s, a rest after 3 s. `total_seconds` is the length of the pieces; notes that
    sound then end there. `motif_l` are events (L,) that every piece begins with. final_seconds: for the last so many
    the tonic chord sounds: the motif's, if its key can be told, or that of what was written without a motif.
    coda_l: events that every piece ends with, and that last for `coda_seconds`. density: notes a second that are
    wanted; None takes the motif's as the most. pitches: the lowest and the highest that are played.
    """

    def __init__(
        self,
        vocabulary: EventVocabulary,
        batch: int,
        total_seconds: float,
        motif_l: Sequence[int] | np.ndarray = (),
        final_seconds: float | None = None,
        coda_l: np.ndarray | None = None,
        coda_seconds: float = 0.0,
        density: float | None = None,
        pitches: tuple[int, int] | None = None,
    ) -> None:
        self.vocabulary, self.batch, self.known = vocabulary, batch, len(motif_l)
        self.end_steps = round(total_seconds * STEPS_PER_SECOND)
        keys = vocabulary.high - vocabulary.low + 1
        self.clock_b = np.zeros(batch, np.int64)
        self.onset_bp = np.full((batch, keys), -1, np.int64)  # -1: silent
        low, high = pitches or (vocabulary.low, vocabulary.high)
        self.played_p = (np.arange(keys) >= low - vocabulary.low) & (np.arange(keys) <= high - vocabulary.low)
        self.crowd_b = np.zeros(batch, np.int64)
        self.silent_since_b = np.zeros(batch, np.int64)
        self.after_velocity_b = np.zeros(batch, bool)
        self.centre_b = np.full(batch, 60.0)  # where the piece plays, on average
        self.recent: list[list[int]] = [[] for _ in range(batch)]  # strikes of the last seconds, by their step
        self.final: list[list[int]] = [[] for _ in range(batch)]  # ids of the final chord that are still to come
        self.begun_b = np.zeros(batch, bool)  # whether the final chord has, or the coda
        self.coda = None if coda_l is None else coda_l.tolist()
        self.struck_bc = np.zeros((batch, 12))  # notes by pitch class
        motif = vocabulary.decode(np.asarray(motif_l, np.int64))
        self.key = key_of(weights_of(motif))
        self.recall = Recall(motif, batch)
        self.final_step = self.end_steps
        for id in motif_l:
            self.accept(np.full(batch, id))
        known = int(self.clock_b.max(initial=0))
        self.density, self.wanted = density, density is not None
        if density is None and len(motif):
            self.density = max(1.0, len(motif) / max(1.0, known / STEPS_PER_SECOND))
        if final_seconds is not None and (self.key is not None or not len(motif)):
            self.final_step = max(known + 1, self.end_steps - round(final_seconds * STEPS_PER_SECOND))
        elif self.coda is not None:
            self.final_step = self.end_steps - round(coda_seconds * STEPS_PER_SECOND)

    @property
    def total_seconds(self) -> float:
        """Length of the pieces."""
        return self.end_steps / STEPS_PER_SECOND

    @property
    def finished(self) -> bool:
        """Whether every piece has reached its end."""
        return bool((self.clock_b >= self.end_steps).all())

    @property
    def seconds(self) -> float:
        """Time of the piece that is furthest behind."""
        return float(self.clock_b.min() / STEPS_PER_SECOND)

    def allowed(self) -> np.ndarray:
        """(B, V) bool; a piece at its end is padded until the others are there."""
        v = self.vocabulary
        sounding_bp = self.onset_bp >= 0
        earlier_bp = self.onset_bp < self.clock_b[:, None]
        free_bp = earlier_bp & self.played_p
        room_b1 = (self.crowd_b < CROWD)[:, None]
        after_b1 = self.after_velocity_b[:, None]
        mask_bv = np.zeros((len(self.clock_b), len(v)), bool)
        mask_bv[:, v.note_on.start : v.note_on.stop] = free_bp & (room_b1 | after_b1)
        mask_bv[:, v.note_off.start : v.note_off.stop] = sounding_bp & earlier_bp & ~after_b1
        mask_bv[:, v.velocity.start : v.velocity.stop] = room_b1 & ~after_b1 & free_bp.any(1, keepdims=True)
        longest_b1 = self._longest_shift()[:, None]
        mask_bv[:, v.time_shift.start : v.time_shift.stop] = (
            np.arange(1, len(v.time_shift) + 1) <= longest_b1
        ) & ~after_b1
        due_bp = sounding_bp & (self.onset_bp + LONGEST_NOTE <= self.clock_b[:, None])
        must_end_b = due_bp.any(1) & ~self.after_velocity_b
        mask_bv[must_end_b] = False
        mask_bv[must_end_b, v.note_off.start : v.note_off.stop] = due_bp[must_end_b]
        for b in np.flatnonzero((self.clock_b >= self.final_step) & (self.clock_b < self.end_steps)).tolist():
            if not self.begun_b[b]:
                self.final[b], self.begun_b[b] = self._ending(b), True
            mask_bv[b] = False
            mask_bv[b, self.final[b][0]] = True
        over_b = self.clock_b >= self.end_steps
        mask_bv[over_b] = False
        mask_bv[over_b, PAD] = True
        return mask_bv

    def bias(self) -> np.ndarray:
        """(B, V): strikes beyond the density and while many keys sound, and what goes on with the motif's figures."""
        v = self.vocabulary
        since_b = self.clock_b - round(DENSITY_WINDOW * STEPS_PER_SECOND)
        self.recent = [[t for t in times if t > since] for times, since in zip(self.recent, since_b, strict=True)]
        struck_b, seconds_b = np.array([len(times) for times in self.recent]), np.full(self.batch, DENSITY_WINDOW)
        if self.wanted:  # with the strike that is weighed, in what there is so far of the window
            struck_b, seconds_b = struck_b + 1, (self.clock_b / STEPS_PER_SECOND).clip(LEAST_WINDOW, DENSITY_WINDOW)
        rate_b = struck_b / seconds_b
        density_b = rate_b / self.density if self.density else np.zeros(self.batch)
        bias_bv = np.zeros((self.batch, len(v)))
        sounding_b = (self.onset_bp >= 0).sum(1)
        for ids in (v.note_on, v.velocity):
            bias_bv[:, ids.start : ids.stop] = striking_bias(density_b, sounding_b, wanted=self.wanted)[:, None]
        for b in range(self.batch):
            targets, top = self.recall.targets(b, int(self.clock_b[b]))
            for pitch, share in targets:
                if v.low <= pitch <= v.high:
                    bias_bv[b, v.note_on.start + pitch - v.low] += RECALL * share
            if top is not None:
                bias_bv[b, v.note_on.start + top + 1 - v.low : v.note_on.stop] -= RECALL
        return bias_bv

    def _ending(self, b: int) -> list[int]:
        """Releases, the tonic chord or the coda, and time until the end."""
        v = self.vocabulary
        releases = [v.note_off.start + p for p in np.flatnonzero(self.onset_bp[b] >= 0).tolist()]
        whole, rest = divmod(self.end_steps - int(self.clock_b[b]), len(v.time_shift))
        shifts = [v.time_shift.stop - 1] * whole + ([v.time_shift.start + rest - 1] if rest else [])
        return [*releases, *(self._last_chord(b) if self.coda is None else self.coda), *shifts]

    def _last_chord(self, b: int) -> list[int]:
        """The tonic chord."""
        key = self.key or clearest_key(self.struck_bc[b])
        v = self.vocabulary
        middle = int(np.clip(self.centre_b[b], v.low + 24, v.high - 12))
        root = middle - 12 - (middle - 12 - key.tonic) % 12
        pitches = [root, *(p for p in range(root + 12, root + 25) if key.triad[p % 12])]
        return [v.note_on.start + p - v.low for p in pitches if v.low <= p <= v.high]

    def _longest_shift(self) -> np.ndarray:
        """Steps (B,) that may pass before the oldest note or the rest gets too long, or the piece has its length."""
        sounding_bp = self.onset_bp >= 0
        oldest_b = np.where(sounding_bp, self.onset_bp, self.end_steps).min(1)
        limit_b = np.where(sounding_bp.any(1), oldest_b + LONGEST_NOTE, self.silent_since_b + LONGEST_REST)
        before_b = np.where(self.clock_b < self.final_step, self.final_step, self.end_steps)
        longest_b: np.ndarray = np.minimum(limit_b, before_b) - self.clock_b
        return longest_b

    def accept(self, ids_b: np.ndarray) -> None:
        """Hear one id for every piece; pieces at their end are deaf."""
        v = self.vocabulary
        for b, id in enumerate(ids_b.tolist()):
            if self.clock_b[b] >= self.end_steps:
                continue
            self.final[b] = self.final[b][1:]
            self.after_velocity_b[b] = id in v.velocity
            if id in v.time_shift:
                self.clock_b[b] += id - v.time_shift.start + 1
                self.crowd_b[b] = 0
                continue
            self.crowd_b[b] += 1
            if id in v.note_on:
                self.onset_bp[b, id - v.note_on.start] = self.clock_b[b]
                self.recent[b].append(int(self.clock_b[b]))
                self.recall.hear(b, id - v.note_on.start + v.low, int(self.clock_b[b]))
                self.struck_bc[b, (id - v.note_on.start + v.low) % 12] += 1
                self.centre_b[b] += (id - v.note_on.start + v.low - self.centre_b[b]) / 16
            elif id in v.note_off:
                self.onset_bp[b, id - v.note_off.start] = -1
                if (self.onset_bp[b] < 0).all():
                    self.silent_since_b[b] = self.clock_b[b]


class GridGrammar:
    """Four-part grids: every cell is a pitch in the range of its voice; chorales do not rest.

    ranges_v2: lowest and highest id of each voice. forced_tv: ids that are known, -1 where they are not: a motif,
    or a melody to accompany. The steps at the beginning that are known in all voices count as written. clock: when a
    step begins. first_pitch: the lowest id that sounds, and the pitch that it is. final: for so many steps the piece
    closes with its I, after its V, where the given voices allow it; 0: it does not. key: in which; None takes that of
    each piece. harmony: chords that the free cells of each step have.
    """

    def __init__(
        self,
        vocabulary: int,
        ranges_v2: np.ndarray,
        steps: int,
        batch: int,
        forced_tv: np.ndarray,
        clock: Callable[[int], float] = lambda step: step * STEP_SECONDS,
        *,
        first_pitch: tuple[int, int] = (3, 30),
        key: Key | None = None,
        final: int = 0,
        harmony: Harmony | None = None,
    ) -> None:
        self.voices = len(ranges_v2)
        self.cells = steps * self.voices
        self.forced = forced_tv.reshape(-1)
        self.known = len(self.forced)
        unknown_t = (forced_tv < 0).any(1)
        self.heard = self.voices * int(unknown_t.argmax()) if unknown_t.any() else self.known
        ids = np.arange(vocabulary)
        self.mask_vv = (ids >= ranges_v2[:, :1]) & (ids <= ranges_v2[:, 1:])
        self.batch, self.clock = batch, clock
        self.first, lowest = first_pitch
        self.class_v = (ids - self.first + lowest) % 12
        self.written = [np.full(batch, id) for id in self.forced[: self.heard].tolist()]
        self.closes, self.final_cell = final > 0, self.cells - final * self.voices
        self.keys = None if key is None else [key] * batch
        self.harmony = harmony
        self.still_b = np.zeros(batch, int)  # steps since a voice last moved

    @property
    def finished(self) -> bool:
        """Whether the last cell is written."""
        return self.heard >= self.cells

    @property
    def seconds(self) -> float:
        """Time of the whole grid steps that are written."""
        return self.clock(self.heard // self.voices)

    @property
    def total_seconds(self) -> float:
        """Length of the pieces."""
        return self.clock(self.cells // self.voices)

    def allowed(self) -> np.ndarray:
        """(B, V) bool."""
        mask_v = self.mask_vv[self.heard % self.voices]
        if self.heard < len(self.forced) and self.forced[self.heard] >= 0:
            mask_v = np.arange(len(mask_v)) == self.forced[self.heard]
        elif self.closes and self.heard >= self.final_cell:
            return self._closing(mask_v)
        elif self.harmony is not None:
            return self._of_chord(self.harmony, mask_v)
        return np.repeat(mask_v[None], self.batch, axis=0)

    def _of_chord(self, harmony: Harmony, mask_v: np.ndarray) -> np.ndarray:
        """(B, V): the chord of the step; its bass lies under the other voices where it can."""
        step, voice = divmod(self.heard, self.voices)
        chord_bv = mask_v & harmony.allowed(step, voice, self.class_v, self._above(voice), self.first)
        chord_bv = np.where(chord_bv.any(1, keepdims=True), chord_bv, mask_v)  # of a voice with a narrow range
        return self._under(chord_bv) if voice == self.voices - 1 and harmony.starts[step] else chord_bv

    def _above(self, voice: int) -> np.ndarray:
        """(B, U) ids of the voices above in this step."""
        return np.stack(self.written[self.heard - voice :], 1) if voice else np.zeros((self.batch, 0), int)

    def _under(self, chord_bv: np.ndarray) -> np.ndarray:
        """(B, V): of what the bass may have, that under all other voices, if there is any."""
        above_bu = self._above(self.voices - 1)
        above_b = np.where(above_bu >= self.first, above_bu, chord_bv.shape[1]).min(1)  # a rest is under nobody
        under_bv = chord_bv & (np.arange(chord_bv.shape[1]) <= above_b[:, None])
        return np.where(under_bv.any(1, keepdims=True), under_bv, chord_bv)

    def _closing(self, mask_v: np.ndarray) -> np.ndarray:
        """(B, V): the tonic chord over its root, which is then held."""
        voice = self.heard % self.voices
        bass = voice == self.voices - 1
        keys = self._keys()
        chord_bv = mask_v & np.stack([self.class_v == k.tonic if bass else k.triad[self.class_v] for k in keys])
        chord_bv = np.where(chord_bv.any(1, keepdims=True), chord_bv, mask_v)
        if bass:  # no voice may lie under the root
            chord_bv = self._under(chord_bv)
        if self.heard < self.final_cell + self.voices:
            return chord_bv
        held_bv = mask_v & (np.arange(len(mask_v)) == self.written[-self.voices][:, None])
        return np.where(held_bv.any(1, keepdims=True), held_bv, chord_bv)

    def _keys(self) -> list[Key]:
        """Of each piece, once it has come to its end."""
        if self.keys is None:
            ids_lb = np.stack(self.written) if self.written else np.zeros((0, self.batch), int)
            sounding_lb = ids_lb >= self.first
            self.keys = [
                clearest_key(np.bincount(self.class_v[ids_lb[sounding_lb[:, b], b]], minlength=12))
                for b in range(self.batch)
            ]
        return self.keys

    def bias(self) -> np.ndarray:
        """(B, V): parallel fifths and octaves, a standing still, and before the end what is not the dominant."""
        voice = self.heard % self.voices
        bias_bv = np.zeros((self.batch, len(self.class_v)))
        if self.harmony is not None:
            bias_bv += self.harmony.bias(self.heard // self.voices, self.class_v)
        if self.heard < self.voices:
            return bias_bv
        before_bv = np.stack(self.written[self.heard - voice - self.voices : self.heard - voice], 1)
        now_bu = self._above(voice)
        bias_bv += parallel_bias(before_bv, now_bu, self.first, bias_bv.shape[1])
        ending = self.closes and self.heard >= self.final_cell - CADENCE * self.voices
        if ending and self.heard < self.final_cell:
            bass, keys = voice == self.voices - 1, self._keys()
            bias_bv -= DOMINANT * ~np.stack([k.root_of_dominant if bass else k.dominant for k in keys])[:, self.class_v]
        elif not ending:
            stuck_b = self.still_b >= STILL_STEPS
            bias_bv[stuck_b, before_bv[stuck_b, voice]] -= STILL
        return bias_bv

    def accept(self, ids_b: np.ndarray) -> None:
        """One cell further."""
        self.written.append(np.array(ids_b))
        self.heard += 1
        if self.heard % self.voices == 0 and self.heard >= 2 * self.voices:
            now_vb, before_vb = self.written[-self.voices :], self.written[-2 * self.voices : -self.voices]
            self.still_b = np.where((np.stack(now_vb) == np.stack(before_vb)).all(0), self.still_b + 1, 0)
