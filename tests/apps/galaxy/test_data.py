"""Labelled galaxies for training: the split everyone can repeat, pixels read once, batches without gaps."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from galaxy_fixtures import write_set
from sklearn.model_selection import train_test_split

from attn.apps.galaxy.data import GalaxyData, PixelDataset, stratified_split
from attn.apps.galaxy.preprocess import Preprocessing
from attn.core.errors import InputError, TrainingError
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.images.labelled import LabelledImages
from attn.data_adapters.sky.labelled import open_galaxies
from attn.data_adapters.sky.stretch import Stretch

WORKING = Preprocessing(side=8, mean=(0, 0, 0), std=(1, 1, 1), stretch=Stretch(kind="asinh"))


def labels_of(**counts: int) -> list[str]:
    """That many of each, mixed."""
    labels = [name for name, count in counts.items() for _ in range(count)]
    return [labels[k] for k in np.random.default_rng(0).permutation(len(labels))]


class Numbered:
    """Images whose pixels are their row number, which counts how often each is read."""

    def __init__(self, count: int) -> None:
        self.reads: Counter[int] = Counter()
        self.stretches: set[Stretch] = set()
        self.count = count

    def __len__(self) -> int:
        return self.count

    def read(self, i: int, stretch: Stretch) -> Cutout:
        self.reads[i] += 1
        self.stretches.add(stretch)
        return Cutout(str(i), np.full((10, 12, 3), i, np.uint8))


def test_held_out_is_the_published_split() -> None:
    labels = labels_of(elliptical=29, lenticular=54, spiral=332, irregular=31)
    _, expected = train_test_split(np.arange(len(labels)), test_size=0.2, random_state=0, stratify=labels)
    split = stratified_split(labels)
    assert split.held_out == expected.tolist()
    assert len(split.validation) == pytest.approx(0.1 * 0.8 * len(labels), abs=1)


@pytest.mark.parametrize("counts", [{"a": 3, "b": 3}, {"a": 4, "b": 5, "c": 3}, {"a": 400, "b": 3}, {"a": 90, "b": 90}])
def test_parts_are_disjoint_and_whole_and_every_class_is_trained_on(counts: dict[str, int]) -> None:
    labels = labels_of(**counts)
    split = stratified_split(labels)
    assert sorted(split.train + split.validation + split.held_out) == list(range(len(labels)))
    assert {labels[row] for row in split.train} == counts.keys()
    assert split.validation and split.held_out


def test_the_smallest_set_has_each_class_in_each_part() -> None:
    labels = labels_of(a=3, b=3, c=3)
    split = stratified_split(labels)
    for part in (split.train, split.validation, split.held_out):
        assert sorted(labels[row] for row in part) == ["a", "b", "c"]


def test_shares_of_the_classes_are_kept() -> None:
    labels = labels_of(common=800, rare=100)
    for part, size in zip(("train", "validation", "held_out"), (72, 8, 20), strict=True):
        rows = getattr(stratified_split(labels), part)
        assert sum(labels[row] == "rare" for row in rows) == pytest.approx(size, abs=1)


def test_sets_that_cannot_be_split() -> None:
    with pytest.raises(TrainingError, match="one label, so there is nothing to learn"):
        stratified_split(["spiral"] * 50)
    with pytest.raises(TrainingError, match="class 'ring' has only 2 images; every class needs at least 3"):
        stratified_split(labels_of(disc=50, ring=2))


def test_pixels_are_read_once_with_the_models_stretch() -> None:
    source = Numbered(5)
    targets = torch.arange(10.0).view(5, 2)
    dataset = PixelDataset(source, [4, 1], targets, WORKING)
    for _ in range(3):
        pixels, target = dataset[0]
        assert pixels.dtype == torch.uint8 and pixels.shape == (8, 8, 3) and (pixels == 4).all()
        assert torch.equal(target, targets[4])
    assert (dataset[1][0] == 1).all()
    assert source.reads == {4: 1, 1: 1} and source.stretches == {Stretch(kind="asinh")}


def module(count: int, batch_size: int, seed: int = 0) -> GalaxyData:
    dataset = PixelDataset(Numbered(count), list(range(count)), torch.arange(float(count))[:, None], WORKING)
    return GalaxyData(dataset, dataset, batch_size, seed)


def rows_of(batches: object) -> list[list[int]]:
    return [target.flatten().int().tolist() for _, target in batches]


def test_training_batches_are_full_and_in_another_order_every_epoch() -> None:
    loader = module(22, 5).train_dataloader()
    first = rows_of(loader)
    assert [len(batch) for batch in first] == [5, 5, 5, 5]
    assert len({row for batch in first for row in batch}) == 20
    loader.sampler.set_epoch(1)
    assert rows_of(loader) != first
    assert rows_of(module(22, 5).train_dataloader()) == first
    assert rows_of(module(22, 5, seed=1).train_dataloader()) != first


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    (batch,) = rows_of(module(3, 8).train_dataloader())
    assert sorted(batch) == [0, 1, 2]


def test_validation_sees_every_row_in_order() -> None:
    assert rows_of(module(7, 3).val_dataloader()) == [[0, 1, 2], [3, 4, 5], [6]]


def test_real_labels_are_split_by_class(labelled: LabelledImages) -> None:
    split = stratified_split(labelled.labels)
    assert Counter(labelled.labels[row] for row in split.held_out).keys() == set(labelled.classes)


@pytest.mark.real_data
def test_efigi_is_held_out_as_its_readme_says(data_dir) -> None:
    from attn.data_adapters.sky.labelled import open_galaxies

    efigi = open_galaxies(data_dir / "galaxy" / "efigi" / "labels.csv", label="coarse")
    _, expected = train_test_split(np.arange(len(efigi)), test_size=0.2, random_state=0, stratify=efigi.labels)
    assert stratified_split(efigi.labels).held_out == expected.tolist()
    assert len(expected) == 892


@pytest.mark.parametrize("damage", [b"<html>not found</html>", b"", None], ids=["html", "empty", "missing"])
def test_an_image_that_cannot_be_read_is_named(tmp_path: Path, damage: bytes | None) -> None:
    source = open_galaxies(write_set(tmp_path / "set", per_class=2), label="kind")
    path = tmp_path / "set" / source.ids[1]
    path.unlink() if damage is None else path.write_bytes(damage)
    dataset = PixelDataset(source, [0, 1], torch.zeros(len(source), 1), WORKING)
    assert dataset[0][0].shape == (8, 8, 3)
    with pytest.raises(InputError, match=source.ids[1]):
        dataset[1]
