"""Batches of P identities x K images, their partners, and the same again for one seed and epoch."""

from collections import Counter

import pytest

from attn.apps.reid.sampling import PairedSampler
from attn.core.errors import TrainingError

LABELS = [label for label, count in enumerate([9, 4, 4, 7, 1, 5, 2, 8]) for _ in range(count)]  # 40 rows, 8 classes


def batches(sampler: PairedSampler, epoch: int = 0) -> list[tuple[list[int], list[int]]]:
    sampler.set_epoch(epoch)
    rows, both = [*sampler], sampler.batch + sampler.partners
    assert len(rows) == len(sampler) and len(rows) % both == 0
    parts = [rows[first : first + both] for first in range(0, len(rows), both)]
    return [(part[: sampler.batch], part[sampler.batch :]) for part in parts]


def test_a_batch_is_p_identities_of_k_images() -> None:
    sampler = PairedSampler(LABELS, 12, images=4, seed=0)
    seen: Counter[int] = Counter()
    for epoch in range(20):
        for batch, partners in batches(sampler, epoch):
            assert partners == []
            groups = [batch[first : first + 4] for first in range(0, 12, 4)]
            labels = [{LABELS[row] for row in group} for group in groups]
            assert all(len(label) == 1 for label in labels) and len(set.union(*labels)) == 3
            for group in groups:  # an image comes twice only where the class has too few
                assert len({*group}) == min(4, LABELS.count(LABELS[group[0]]))
            seen.update(label for one in labels for label in one)
    assert len(batches(sampler)) == 40 // 12
    assert {*seen} == {*range(8)} and max(seen.values()) < 2 * min(seen.values())  # classes come equally often


def test_every_image_comes_up() -> None:
    sampler = PairedSampler(LABELS, 8, images=2, seed=0)
    assert {row for epoch in range(30) for batch, _ in batches(sampler, epoch) for row in batch} == {*range(40)}


def test_without_classes_every_row_once() -> None:
    sampler = PairedSampler(LABELS, 8, seed=0)
    rows = [row for batch, _ in batches(sampler) for row in batch]
    assert sorted(rows) == [*range(40)] and rows != sorted(rows)
    few = Counter(PairedSampler([0, 1, 2], 8, seed=0))  # a set smaller than a batch
    assert sorted(few.values()) == [2, 3, 3] and {*few} == {0, 1, 2}


def test_a_function_of_seed_and_epoch() -> None:
    def drawn(seed: int, epoch: int) -> list[tuple[list[int], list[int]]]:
        return batches(PairedSampler(LABELS, 8, images=4, partners=4, seed=seed), epoch)

    assert drawn(3, 5) == drawn(3, 5)
    assert drawn(3, 5) != drawn(3, 6) and drawn(3, 5) != drawn(4, 5)
    one = PairedSampler(LABELS, 8, images=4, partners=4, seed=3)
    batches(one, 0)
    assert batches(one, 5) == drawn(3, 5)  # whatever was drawn before


@pytest.mark.parametrize("partners", [2, 4, 8])
def test_no_image_is_its_own_partner_and_all_others_are(partners: int) -> None:
    """Image i has partner i mod M; over many epochs all others are, equally often where no partner is shared."""
    sampler = PairedSampler(LABELS[:16], 8, images=4, partners=partners, seed=1)
    often: Counter[tuple[int, int]] = Counter()
    for epoch in range(1000):
        for batch, others in batches(sampler, epoch):
            assert len(others) == partners
            often.update((row, others[place % partners]) for place, row in enumerate(batch))
    assert all(row != other for row, other in often)
    assert len(often) == 16 * 15
    for row in range(16) if partners == 8 else ():  # rows that share a partner leave each other out
        counts = [often[row, other] for other in range(16) if other != row]
        deviation = (1 / 15 * 14 / 15 / sum(counts)) ** 0.5
        assert all(abs(count / sum(counts) - 1 / 15) < 5 * deviation for count in counts)


def test_what_cannot_be() -> None:
    with pytest.raises(TrainingError, match="there are 8 individuals to train on, and a batch has 9"):
        PairedSampler(LABELS, 36, images=4, seed=0)
    with pytest.raises(TrainingError, match="2 pictures are too few"):
        PairedSampler([0, 1], 8, partners=2, seed=0)
