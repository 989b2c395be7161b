"""The key of some music, from how long each pitch class sounds.

Source: Krumhansl 1990, "Cognitive Foundations of Musical Pitch": a key is the one whose profile correlates best.
"""

from dataclasses import dataclass

import numpy as np

from attn.data_adapters.midi.notes import Notes

MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
SCALES = {True: (0, 2, 4, 5, 7, 9, 11), False: (0, 2, 3, 5, 7, 8, 10, 11)}  # minor with both sevenths
ENDS = 0.15  # added to the correlation of the key on whose tonic a melody ends


@dataclass(frozen=True)
class Key:
    """tonic: 0 for C to 11. major: or minor."""

    tonic: int
    major: bool

    @property
    def scale(self) -> np.ndarray:
        """(12,) bool: the pitch classes of the key."""
        return self._classes(*SCALES[self.major])

    @property
    def triad(self) -> np.ndarray:
        """(12,) bool: the tonic chord."""
        return self._classes(0, 4 if self.major else 3, 7)

    @property
    def dominant(self) -> np.ndarray:
        """(12,) bool: the dominant seventh chord."""
        return self._classes(7, 11, 2, 5)

    @property
    def root_of_dominant(self) -> np.ndarray:
        """(12,) bool: the fifth degree alone."""
        return self._classes(7)

    def _classes(self, *degrees: int) -> np.ndarray:
        found = np.zeros(12, bool)
        found[(np.array(degrees) + self.tonic) % 12] = True
        return found


def key_of(weights: np.ndarray, last: int | None = None) -> Key | None:
    """The key of (12,) weights of pitch classes; None for fewer than three classes. last: where a melody ends."""
    if np.count_nonzero(weights) < 3:
        return None
    keys = [Key(tonic, major) for major in (True, False) for tonic in range(12)]
    score = [
        np.corrcoef(np.roll(MAJOR if key.major else MINOR, key.tonic), weights)[0, 1] + ENDS * (key.tonic == last)
        for key in keys
    ]
    return keys[int(np.argmax(score))]


def clearest_key(weights: np.ndarray) -> Key:
    """The same for any music: with fewer than three classes major on the heaviest one."""
    return key_of(weights) or Key(int(np.argmax(weights)), True)


def weights_of(notes: Notes) -> np.ndarray:
    """(12,) seconds that each pitch class sounds."""
    return np.bincount(notes.pitch % 12, weights=np.minimum(notes.end - notes.start, 2.0), minlength=12)
