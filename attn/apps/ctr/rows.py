"""Batches for training: rows are read from disk in a new order in every pass, and their codes become ids.

A run is a series of neighbouring rows. Runs are read in random order. Several runs make a pool in memory, and the rows
of the pool are shuffled. A table that fits in one pool is shuffled as a whole. An epoch of a large table is a part of a
pass, so that validations and checkpoints are frequent enough.

Shapes: B rows of a batch, N rows of a pool, F coded fields, C columns of ids, M numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from lightning import LightningDataModule
from torch import Tensor, distributed

from attn.apps.ctr.model import CACHED
from attn.core.training.seeding import ORDER, derive_seed
from attn.data_adapters.tables.codes import Codebook
from attn.data_adapters.tables.survey import CodedRows

RUN = 16_384
POOL = 1_000_000
EPOCH = 4_000_000

Batch = tuple[Tensor, ...]
"""Ids (B, C) int32, numbers (B, M) float32, labels (B,) float32; of weighted rows also their weights (B,) float32."""
Arrays = tuple[np.ndarray, ...]


class Lookup:
    """Turns the codes of the survey into ids of the embedding table, and numbers into the model's scale."""

    def __init__(self, codebook: Codebook, values: Sequence[pl.Series]) -> None:
        """`values` are the distinct cells of each coded field, in the order of their codes."""
        self.coded = [place for place in codebook.places if place.field.kind != "number"]
        self.tables = [codebook.lookup(place, cells) for place, cells in zip(self.coded, values, strict=True)]
        self.codebook = codebook
        self.measured = [place for place in codebook.places if place.field.kind == "number"]

    def __call__(self, codes_nf: np.ndarray, numbers_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ids (N, C) and numbers (N, M). The code -1 means the last row of a lookup table, which is the empty cell."""
        ids = [table[codes_nf[:, field]] for field, table in enumerate(self.tables)]
        ids_nc = np.concatenate(ids, 1) if ids else np.zeros((len(numbers_nm), 0), np.int32)
        scaled = np.empty_like(numbers_nm)
        for place in self.measured:
            scaled[:, place.column] = self.codebook.scaled(place, numbers_nm[:, place.column])
        return ids_nc, scaled


@dataclass(frozen=True, eq=False)
class RowSet:
    """One part of the data: rows on disk, and the lookup that reads their codes."""

    rows: CodedRows
    lookup: Lookup

    def room(self, count: int) -> Arrays:
        """Empty arrays for the ids, numbers, labels and, if there are any, weights of `count` rows."""
        columns = sum(place.width for place in self.lookup.coded)
        numbers_nm = np.empty((count, len(self.lookup.measured)), np.float32)
        weights = [np.empty(count, np.float32)] if self.rows.weighted else []
        return np.empty((count, columns), np.int32), numbers_nm, np.empty(count, np.uint8), *weights

    def read(self, runs: Sequence[tuple[int, int]], room: Arrays | None = None) -> Arrays:
        """The ids, numbers, labels and weights of several runs. They are written to `room` if it is given."""
        count = sum(stop - start for start, stop in runs)
        ids_nc, numbers_nm, labels_n, *weights = arrays = tuple(array[:count] for array in room or self.room(count))
        first = 0
        for start, stop in runs:
            here = slice(first, first := first + stop - start)
            codes, numbers, labels_n[here] = self.rows.read(start, stop)
            ids_nc[here], numbers_nm[here] = self.lookup(codes, numbers)
            for weights_n in weights:
                weights_n[here] = self.rows.weights(start, stop)
        return arrays


class ShuffledBatches:
    """Training batches, whose order is a function of (seed, epoch). Lightning calls `set_epoch` on `sampler`."""

    def __init__(self, data: RowSet, batch: int, seed: int) -> None:
        self.data, self.batch, self.seed = data, min(batch, len(data.rows)), seed
        self.sampler, self.epoch = self, 0
        self.parts = max(1, round(len(data.rows) / EPOCH))
        parallel = distributed.is_available() and distributed.is_initialized()
        self.rank, self.ranks = (distributed.get_rank(), distributed.get_world_size()) if parallel else (0, 1)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        """The number of batches of every epoch on every rank. The last rows, too few for a batch, are left out."""
        count, size = len(self.data.rows), self._run
        runs = -(-count // size)
        missing = runs * size - count  # the rows that the last run lacks
        each = runs // (self.parts * self.ranks) * size
        return max(1, (each - missing) // self.batch)

    def __iter__(self) -> Iterator[Batch]:
        """The batches of this epoch and this rank."""
        rng = np.random.default_rng(derive_seed(self.seed, self.epoch, ORDER))
        runs = self._runs(self.epoch % self.parts)
        runs = [runs[i] for i in rng.permutation(len(runs))]
        per_pool = max(1, POOL // RUN)
        # All pools use the same arrays. Large arrays that are made and freed in turn would fragment the memory.
        room = self.data.room(min(per_pool * self._run, len(self.data.rows)))
        left: Arrays | None = None  # rows at the end of a pool, too few for a batch; the next batch begins with them
        given = 0
        for first in range(0, len(runs), per_pool):
            arrays = self.data.read(runs[first : first + per_pool], room)
            order, start = rng.permutation(len(arrays[2])), 0
            while start < len(order):
                stop = start + self.batch - (0 if left is None else len(left[2]))
                rows = tuple(array[order[start:stop]] for array in arrays)
                if left is not None:
                    rows = tuple(np.concatenate(pair) for pair in zip(left, rows, strict=True))
                start, left = stop, None
                if len(rows[2]) < self.batch:
                    left = rows
                elif given < len(self):
                    given += 1
                    yield as_batch(*rows)
                else:
                    return

    @property
    def _run(self) -> int:
        """The number of rows of a run. A small table has shorter runs, so that each rank has one."""
        return min(RUN, -(-len(self.data.rows) // self.ranks))

    def _runs(self, part: int) -> list[tuple[int, int]]:
        """The runs (start, stop) of this rank in a part of the pass. Parts and ranks share all runs of a pass."""
        starts = np.arange(0, len(self.data.rows), self._run)
        order = np.random.default_rng(derive_seed(self.seed, self.epoch // self.parts)).permutation(len(starts))
        mine = starts[order][part :: self.parts][self.rank :: self.ranks].tolist()
        return [(start, min(start + self._run, len(self.data.rows))) for start in mine]


class OrderedBatches:
    """Batches of all rows in order. The last batch may be smaller."""

    def __init__(self, data: RowSet, batch: int) -> None:
        self.data, self.batch = data, batch

    def __len__(self) -> int:
        return -(-len(self.data.rows) // self.batch)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.data.rows), self.batch):
            yield as_batch(*self.data.read([(start, min(start + self.batch, len(self.data.rows)))]))


def as_batch(ids_bc: np.ndarray, numbers_bm: np.ndarray, labels_b: np.ndarray, *weights: np.ndarray) -> Batch:
    """The arrays of a batch as tensors."""
    labels = torch.from_numpy(labels_b.astype(np.float32))
    return torch.from_numpy(ids_bc), torch.from_numpy(numbers_bm), labels, *map(torch.from_numpy, weights)


class ClickData(LightningDataModule):
    """The training and the validation batches, as Lightning asks for them."""

    def __init__(self, train: RowSet, validation: RowSet, batch: int, seed: int) -> None:
        super().__init__()
        self.train, self.validation, self.batch, self.seed = train, validation, batch, seed

    def train_dataloader(self) -> ShuffledBatches:
        """Batches in an order that depends on (seed, epoch)."""
        return ShuffledBatches(self.train, self.batch, self.seed)

    def val_dataloader(self) -> OrderedBatches:
        """Batches of all validation rows."""
        return OrderedBatches(self.validation, CACHED)
