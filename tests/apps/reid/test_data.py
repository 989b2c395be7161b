"""Training data: pixels at the working size, and batches of the sampler's rows."""

import torch
from reid_fixtures import Drawn

from attn.apps.reid.data import PictureDataset, ReIDData
from attn.apps.reid.preprocess import Preprocessing
from attn.apps.reid.sampling import PairedSampler


def test_rows_at_the_working_size() -> None:
    source, targets = Drawn(3, 4), torch.arange(12) // 4
    data = PictureDataset(source, [5, 2], targets, (24, 16))
    pixels, target = data[0]
    assert torch.equal(pixels, Preprocessing(size=(24, 16)).pixels(source.read(5)))
    assert pixels.shape == (3, 24, 16) and int(target) == 1 and len(data) == 2
    assert len({*data.hashes()}) == 2 and source.was_read == {2, 5}


def test_batches_are_images_and_then_their_partners() -> None:
    source, targets = Drawn(4, 4), torch.arange(16) // 4
    train_set, validation_set = (PictureDataset(source, rows, targets, (16, 16)) for rows in (range(12), range(12, 16)))
    sampler = PairedSampler(targets[:12].tolist(), 6, images=2, partners=3, seed=0)
    data = ReIDData(train_set, validation_set, sampler)
    batches = [*data.train_dataloader()]
    assert [len(pixels) for pixels, _ in batches] == [9, 9]
    for (pixels, target), first in zip(batches, (0, 9), strict=True):
        rows = [*sampler][first : first + 9]
        assert torch.equal(pixels, torch.stack([train_set[row][0] for row in rows]))
        assert target[:6].view(3, 2).unique(dim=1).shape == (3, 1)  # three individuals, two pictures each
    ((_, target),) = data.val_dataloader()
    assert target.tolist() == [3, 3, 3, 3]
