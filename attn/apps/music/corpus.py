"""Pieces as token ids, and the crops of a training.

The training step cuts the crops, on the device: place, transposition and tempo of a crop come from the step's own
random numbers, so a resumed run cuts the same crops as an uninterrupted one.

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
VALIDATION_CROPS = 48  # measured after each epoch


@dataclass(frozen=True, eq=False)
class Piece:
    """One piece: its ids without edges, once for each tempo in training; the first tempo is the piece's own."""

    name: str
    ids: tuple[np.ndarray, ...]

    def with_edges(self, tempo: int = 0, *, end: bool) -> np.ndarray:
        """The ids with an edge before them and, with `end`, an edge after them."""
        after = [EDGE] if end else []
        return np.concatenate([[EDGE], self.ids[tempo], after]).astype(np.int16)


class Crops(nn.Module):
    """All training pieces in one tensor, and a way to cut crops from it. Model folders do not hold its buffers."""

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
        """A crop of `length` + 1 ids from each piece, at a random place, in a random key and tempo.

        A crop of grid music begins at a bar line. Short pieces are padded.
        """
        tempo_b = torch.randint(self.tempos, pieces_b.shape, device=pieces_b.device)
        length_b = self.lengths[pieces_b, tempo_b]
        hidden_b = (length_b - 1 - self.length).clamp(min=0)  # ids after a crop at the start; the last crop leaves 0
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
    """Batches: in training the numbers of the pieces to cut from, (B,); in validation whole crops, (B, L + 1).

    An epoch has CROPS_PER_PIECE times as many crops as there are pieces; long pieces give more crops than short ones.
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
        chosen = np.linspace(0, len(windows) - 1, min(len(windows), VALIDATION_CROPS)).astype(int)
        self.windows = torch.stack([windows[i].padded(length + 1) for i in chosen])

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Numbers of pieces, drawn anew in each epoch by (seed, epoch)."""
        sampler = EpochSampler(len(self.numbers), seed=self.seed, weights=self.lengths)
        full = len(self.numbers) >= self.batch
        return DataLoader(TensorDataset(self.numbers), self.batch, sampler=sampler, drop_last=full)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """The same crops in each epoch, spread evenly over the validation pieces."""
        return DataLoader(TensorDataset(self.windows), self.batch)


@dataclass(frozen=True, eq=False)
class Window:
    """Ids of a piece with its edges; no earlier window predicts the last `scored` of them."""

    ids: np.ndarray
    scored: int

    def padded(self, length: int) -> Tensor:
        """The ids as a row of `length`."""
        row = torch.full((length,), PAD)
        row[: len(self.ids)] = torch.from_numpy(self.ids.astype(np.int64))
        return row


def cut_windows(ids_l: np.ndarray, length: int, stride: int, cycle: int = 1) -> list[Window]:
    """Windows of up to `length` predictions that score each id of a piece once.

    ids_l begins with the edge. The first window scores all its ids. Each later window begins `stride` ids after the
    window before it and scores its last `stride` ids, so it predicts them from at least `length` - `stride` ids.
    `stride` is rounded to whole cycles: windows of grid music begin at bar lines. Raises UsageError for a `length`
    below one cycle.
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
