"""Randomness as a function of (seed, epoch): a resumed run draws what the uninterrupted one would have drawn.

Checkpoints are written at the end of an epoch. Every epoch begins from a seed of its own, so the state of the random
generators need not be stored. Three places draw random numbers: the training step (`SeedEveryEpoch`), the order of the
samples (`EpochSampler`) and the data loader's workers (`EpochSampler.seed_worker`).
"""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.fabric.utilities.data import _set_sampler_epoch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, distributed
from torch.utils.data import DataLoader, DistributedSampler

from attn.core.errors import TrainingError

STEP, ORDER, WORKER = range(3)  # the streams of one epoch


def seed_generators(*entropy: int) -> None:
    """Seed torch (every device), numpy and random; different tuples of numbers give unrelated streams."""
    seed, short = derive_seed(*entropy), derive_seed(*entropy, 1)
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(short % 2**32)


def derive_seed(*entropy: int) -> int:
    """One 63-bit seed from several non-negative numbers."""
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


class SeedEveryEpoch(Callback):
    """Seeds the generators of the training step at the start of every epoch, differently on every device."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the training loaders repeatable; raises TrainingError for workers that could not be."""
        loaders = CombinedLoader(trainer.train_dataloader).flattened
        for loader in loaders:
            if isinstance(loader, DataLoader):
                self._make_repeatable(loader)
        if trainer.current_epoch > 0:
            # Lightning starts the loader of a resumed epoch before it tells the sampler which epoch it is.
            for loader in loaders:
                _set_sampler_epoch(loader, trainer.current_epoch)
            iter(trainer.fit_loop._data_fetcher)  # type: ignore[arg-type]  # not None: it is running

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed with (seed, epoch, rank)."""
        seed_generators(self.seed, trainer.current_epoch, trainer.global_rank, STEP)

    def _make_repeatable(self, loader: DataLoader[Any]) -> None:
        if loader.generator is None:
            # A loader draws a number when an epoch starts. From the common generator, that would shift
            # the training step's random numbers, but not in a run's first epoch, which starts early.
            loader.generator = torch.Generator()
        if loader.num_workers > 0 and loader.persistent_workers:
            raise TrainingError(
                "persistent workers carry random state from epoch to epoch: a resumed run would differ",
                hint="build the training DataLoader with persistent_workers=False",
            )
        if loader.num_workers > 0 and loader.worker_init_fn is None:
            raise TrainingError(
                "the training DataLoader's workers are not seeded by epoch: a resumed run would differ",
                hint="pass worker_init_fn=sampler.seed_worker of its EpochSampler",
            )


class EpochSampler(DistributedSampler[int]):
    """A new order of `size` samples every epoch, the same one whenever (seed, epoch) is the same.

    With `weights` (size,), `size` samples are drawn with replacement in proportion to them: for classes of
    very different size. Under several devices each rank gets its own part (Lightning leaves a
    DistributedSampler alone); a few samples repeat where the number does not divide. Lightning calls
    `set_epoch`.

        sampler = EpochSampler(len(dataset), seed=config.seed)
        DataLoader(dataset, batch_size, sampler=sampler, num_workers=2, worker_init_fn=sampler.seed_worker)
    """

    def __init__(self, size: int, *, seed: int, weights: Tensor | None = None) -> None:
        parallel = distributed.is_available() and distributed.is_initialized()
        super().__init__(
            range(size),  # type: ignore[arg-type]  # only its length is asked for
            num_replicas=distributed.get_world_size() if parallel else 1,
            rank=distributed.get_rank() if parallel else 0,
            seed=seed,
        )
        if weights is not None and weights.shape != (size,):
            raise ValueError(f"weights must have shape ({size},), not {tuple(weights.shape)}")
        self.weights = weights

    def __iter__(self) -> Iterator[int]:
        """Indices of this rank in this epoch."""
        size = len(self.dataset)  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch, 0, ORDER))
        if self.weights is None:
            order = torch.randperm(size, generator=generator)
        else:
            # The inverse of the cumulative weights, as torch.multinomial stops at 2^24 samples.
            edges = self.weights.cpu().double().cumsum(0)
            draws = edges[-1] * torch.rand(size, generator=generator, dtype=torch.float64)
            order = torch.searchsorted(edges, draws, right=True).clamp(max=size - 1)
        padded = order[torch.arange(self.total_size) % size]
        return iter(padded[self.rank :: self.num_replicas].tolist())

    def seed_worker(self, worker: int) -> None:
        """A DataLoader's `worker_init_fn`: seeds the worker with (seed, epoch, rank, worker)."""
        seed_generators(self.seed, self.epoch, self.rank, WORKER + worker)
