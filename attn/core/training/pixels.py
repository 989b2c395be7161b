"""Labelled images in memory, for trainings whose images are read from files once."""

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.utils.data import Dataset

CACHE_BYTES = 2 * 2**30

Example = tuple[Tensor, Tensor]
"""uint8 pixels, and the targets of the row."""


class CachedPixels(Dataset[Example]):
    """Rows of a labelled set. `read` gives a row's uint8 pixels and the hash of its image.

    Pixels stay in memory up to CACHE_BYTES; those of other rows are read again in every epoch.
    """

    def __init__(self, read: Callable[[int], tuple[Tensor, str]], rows: Sequence[int], targets: Tensor) -> None:
        self.read, self.rows, self.targets = read, list(rows), targets
        self._hashes: dict[int, str] = {}
        self._cache: dict[int, Tensor] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        row = self.rows[index]
        pixels = self._cache.get(row)
        if pixels is None:
            pixels, self._hashes[row] = self.read(row)
            if self._bytes + pixels.nbytes <= CACHE_BYTES:
                self._cache[row] = pixels
                self._bytes += pixels.nbytes
        return pixels, self.targets[row]

    def hashes(self) -> list[str]:
        """The hash of every row's image; only rows that no batch has needed so far are read."""
        for index, row in enumerate(self.rows):
            if row not in self._hashes:
                self[index]
        return [self._hashes[row] for row in self.rows]
