"""Which images make a batch of training, and which images are their partners.

    P identities x K images, then M partners            (Hermans et al. 2017, section 3, for the first part)

A partner is drawn uniformly from the whole training set, but never is an image its own. M may be smaller than P·K:
image i of the batch then shares partner i mod M with other images.

All is a function of (seed, epoch), as for every sampler here: a resumed run draws what the uninterrupted one would.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor

from attn.core.errors import TrainingError
from attn.core.training.seeding import ORDER, EpochSampler, derive_seed


class PairedSampler(EpochSampler):
    """Row numbers, batch by batch: `batch` images, then their `partners`; a loader's batch size is the sum of both.

    labels: the class of each row. images: K, the images of a class in a batch, whose classes then come equally often;
    None draws every row once in an epoch. An epoch has as many batches as the rows fill. Raises TrainingError where a
    batch has more classes than there are, or there are too few rows for partners.
    """

    def __init__(
        self, labels: Sequence[int], batch: int, *, images: int | None = None, partners: int = 0, seed: int
    ) -> None:
        super().__init__(len(labels), seed=seed)
        assert batch % (images or 1) == 0 and (not partners or batch % partners == 0), "a batch is made of whole parts"
        label_n = torch.as_tensor(labels)
        self.rows = [(label_n == label).nonzero()[:, 0] for label in sorted({*labels})]
        self.batch, self.images, self.partners = batch, images, partners
        if images is not None and len(self.rows) < batch // images:
            raise TrainingError(
                f"there are {len(self.rows)} individuals to train on, and a batch has {batch // images}",
                hint=f"take a batch of {len(self.rows) * images} images or fewer, or more individuals",
            )
        if partners and len(labels) <= batch // partners:
            raise TrainingError(f"{len(labels)} pictures are too few: each needs another as a partner")
        self.batches = max(1, len(labels) // batch // self.num_replicas)

    def __len__(self) -> int:
        return self.batches * (self.batch + self.partners)

    def __iter__(self) -> Iterator[int]:
        """Rows of this rank in this epoch."""
        generator = Generator().manual_seed(derive_seed(self.seed, self.epoch, self.rank, ORDER))
        draw = self._shuffled if self.images is None else self._by_class
        batches = draw(generator)
        for _ in range(self.batches):
            batch = next(batches)
            yield from batch.tolist()
            for partner in range(self.partners):
                yield self._other_than({*batch[partner :: self.partners].tolist()}, generator)

    def _shuffled(self, generator: Generator) -> Iterator[Tensor]:
        """Batches of one order of all rows; an order is begun again where the rows do not fill a batch."""
        size, per_rank = len(self.dataset), self.num_replicas  # type: ignore[arg-type]  # only its length is known
        shared = Generator().manual_seed(derive_seed(self.seed, self.epoch, 0, ORDER))  # ranks take parts of one order
        order = torch.randperm(size, generator=shared)[self.rank :: per_rank]
        for first in range(0, self.batches * self.batch, self.batch):
            yield order[(torch.arange(self.batch) + first) % len(order)]

    def _by_class(self, generator: Generator) -> Iterator[Tensor]:
        """P different classes from an order of all, K rows of each; a class of fewer rows repeats them."""
        classes = self.batch // (self.images or 1)
        while True:
            order = torch.randperm(len(self.rows), generator=generator)
            for chosen in order[: len(order) // classes * classes].view(-1, classes):
                yield torch.cat([self._of(self.rows[label], generator) for label in chosen.tolist()])

    def _of(self, rows: Tensor, generator: Generator) -> Tensor:
        return rows[torch.randperm(len(rows), generator=generator)[torch.arange(self.images or 1) % len(rows)]]

    def _other_than(self, mine: set[int], generator: Generator) -> int:
        size = len(self.dataset)  # type: ignore[arg-type]  # only its length is known
        while True:
            row = int(torch.randint(size, (), generator=generator))
            if row not in mine:
                return row
