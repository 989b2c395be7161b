"""Pieces as token ids, and the crops of a training.

Crops are cut on the device in the training step, so that their place, transposition and tempo come from the step's
own random numbers: a resumed run cuts what the uninterrupted one would have cut.

Shapes: B batch, L tokens of a crop, N tokens of all pieces.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from lightning import LightningDataModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from attn.apps.music.model import PAD
from attn.apps.music.styles import EDGE, AnyStyle
from attn.core.errors import UsageError
from attn.core.training.seeding import EpochSampler

CROPS_PER_PIECE = 4
WATCHED_CROPS = 48  # validation crops of an epoch


@dataclass(frozen=True, eq=False)
class Piece:
    """One piece: its ids without edges, once for every tempo it is trained at (the first is its own)."""

    name: str
    ids: tuple[np.ndarray, ...]

    def with_edges(self, tempo: int = 0, *, end: bool) -> np.ndarray:
        """The ids with the edge before, and after if performances end with one."""
        after = [EDGE] if end else []
        return np.concatenate([[EDGE], self.ids[tempo], after]).astype(np.int16)


class Crops(nn.Module):
    """The training pieces in one row of memory, and a way to cut from them. Its buffers are not part of the model."""

    ids_n: Tensor
    starts: Tensor
    lengths: Tensor
    spans: Tensor

    def __init__(self, pieces: Sequence[Piece], style: AnyStyle, length: int, semitones: int) -> None:
        super().__init__()
        self.style, self.length, self.semitones = style, length, semitones
        self.cycle = max(style.cycles, default=1)
        self.tempos = len(pieces[0].ids)
        rows = [piece.with_edges(tempo, end=style.voices == 1) for piece in pieces for tempo in range(self.tempos)]
        lengths = [len(row) for row in rows]
        spans = [style.span(piece.ids[0]) for piece in pieces]
        kept = {
            "ids_n": torch.from_numpy(np.concatenate([*rows, np.full(length + self.cycle, PAD, np.int16)])),
            "starts": torch.tensor([0, *np.cumsum(lengths)[:-1].tolist()]).view(-1, self.tempos),
            "lengths": torch.tensor(lengths).view(-1, self.tempos),
            "spans": torch.tensor(spans),
        }
        for name, tensor in kept.items():
            self.register_buffer(name, tensor, persistent=False)

    def cut(self, pieces_b: Int[Tensor, " B"]) -> Int[Tensor, "B L1"]:
        """A crop of `length` + 1 ids of each piece, padded: at a random place, in a random key and tempo.

        Grid music is cut at bar lines.
        """
        tempo_b = torch.randint(self.tempos, pieces_b.shape, device=pieces_b.device)
        length_b = self.lengths[pieces_b, tempo_b]
        hidden_b = (length_b - 1 - self.length).clamp(min=0)  # by a crop at the start; the last crop leaves none
        bars_b = (hidden_b + self.cycle - 1) // self.cycle + 1
        first_b = (torch.rand(pieces_b.shape, device=pieces_b.device) * bars_b).long() * self.cycle
        place_l = torch.arange(self.length + 1, device=pieces_b.device)
        place_bl = first_b[:, None] + place_l
        ids_bl = self.ids_n[self.starts[pieces_b, tempo_b][:, None] + place_bl].long()
        ids_bl = ids_bl.masked_fill(place_bl >= length_b[:, None], PAD)
        low_b, high_b = self.spans[pieces_b].clamp(-self.semitones, self.semitones).unbind(1)
        semitones_b = low_b + (torch.rand(pieces_b.shape, device=pieces_b.device) * (high_b - low_b + 1)).long()
        return self.style.transpose(ids_bl, semitones_b)


class CropData(LightningDataModule):
    """Batches: numbers of pieces to cut from in training, whole crops (B, L + 1) in validation.

    An epoch has CROPS_PER_PIECE crops for each piece, drawn in proportion to their lengths.
    """

    def __init__(
        self, train: Sequence[Piece], validation: Sequence[Piece], style: AnyStyle, length: int, batch: int, seed: int
    ) -> None:
        super().__init__()
        self.batch, self.seed = batch, seed
        self.numbers = torch.arange(len(train)).repeat(CROPS_PER_PIECE)
        self.lengths = torch.tensor([len(piece.ids[0]) for piece in train]).repeat(CROPS_PER_PIECE)
        ends = style.voices == 1
        cycle = max(style.cycles, default=1)
        rows = [piece.with_edges(end=ends) for piece in validation]
        windows = [window for row in rows for window in cut_windows(row, length, length, cycle)]
        chosen = np.linspace(0, len(windows) - 1, min(len(windows), WATCHED_CROPS)).astype(int)
        self.windows = torch.stack([windows[i].padded(length + 1) for i in chosen])

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Drawn by (seed, epoch)."""
        sampler = EpochSampler(len(self.numbers), seed=self.seed, weights=self.lengths)
        full = len(self.numbers) >= self.batch
        return DataLoader(TensorDataset(self.numbers), self.batch, sampler=sampler, drop_last=full)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """The same crops every time, spread over the validation pieces."""
        return DataLoader(TensorDataset(self.windows), self.batch)


@dataclass(frozen=True, eq=False)
class Window:
    """Ids of a piece with its edges, of which the last `scored` are predicted for the first time."""

    ids: np.ndarray
    scored: int

    def padded(self, length: int) -> Tensor:
        """The ids as a row of `length`."""
        row = torch.full((length,), PAD)
        row[: len(self.ids)] = torch.from_numpy(self.ids.astype(np.int64))
        return row


def cut_windows(ids_l: np.ndarray, length: int, stride: int, cycle: int = 1) -> list[Window]:
    """Windows of up to `length` predictions that cover a piece once, each after at least `length` - `stride` known ids.

    ids_l begins with the edge. The first window scores all its ids, every later one its last `stride`, which is rounded
    to whole cycles, so that grid music begins at bar lines. Raises UsageError for a `length` below one cycle.
    """
    if length < cycle:
        raise UsageError(f"a length of {length} tokens is less than a bar, which has {cycle}")
    stride = max(stride // cycle, 1) * cycle
    count = len(ids_l) - 1
    windows: list[Window] = []
    done = 0
    while done < count or not windows:
        ids = ids_l[len(windows) * stride :][: length + 1]
        end = len(windows) * stride + len(ids) - 1
        windows.append(Window(ids, end - done))
        done = end
    return windows
