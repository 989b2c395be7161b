"""Labelled radiographs as batches: read once, hashed by their pixels, drawn in balance."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from chest_fixtures import chest, write_dicom, write_set

from attn.apps.chest.data import ChestData, PixelDataset, image_hash, sampling_weights
from attn.data_adapters.dicom.labelled import open_studies
from attn.data_adapters.dicom.radiograph import Radiograph
from attn.data_adapters.dicom.read import read_radiographs


def test_pixels_and_targets_of_a_set(tmp_path: Path) -> None:
    source = open_studies(write_set(tmp_path / "set", 4))
    dataset = PixelDataset(source, [5, 2], torch.as_tensor(source.targets), 40)
    pixels, target = dataset[0]
    assert pixels.dtype == torch.uint8 and pixels.shape == (40, 40)
    assert source.classes[int(target.argmax())] == source.labels[5]
    assert dataset.hashes() == [image_hash(source.read(5)), image_hash(source.read(2))]


def test_a_hash_is_of_the_picture_and_not_of_its_file(tmp_path: Path) -> None:
    one = write_dicom(tmp_path / "one.dcm")
    two = write_dicom(tmp_path / "two.dcm", PatientName="ANOTHER^NAME")
    hashes = []
    for path in (one, two):
        with path.open("rb") as file:
            hashes += [image_hash(radiograph) for radiograph in read_radiographs(file, path.name)]
    assert len(hashes) == 2 and hashes[0] == hashes[1]
    assert image_hash(Radiograph("a", chest(number=1) / np.float32(255))) not in hashes


def test_balance_in_closed_form() -> None:
    labels, sources = ["a"] * 6 + ["b"] * 2, ["x"] * 4 + ["y"] * 4
    weights = sampling_weights((labels, 1.0))
    assert weights.mean() == pytest.approx(1)
    assert weights[:6].sum() == pytest.approx(float(weights[6:].sum()))
    half = sampling_weights((labels, 0.5))
    assert half[6] / half[0] == pytest.approx(np.sqrt(3))
    assert torch.equal(sampling_weights((labels, 0.0), (sources, 0.0)), torch.ones(8, dtype=torch.float64))
    both = sampling_weights((labels, 1.0), (sources, 1.0))
    assert both[7] / both[0] == pytest.approx(3)


def test_rows_are_drawn_by_their_weights(tmp_path: Path) -> None:
    source = open_studies(write_set(tmp_path / "set", 8))
    targets = torch.as_tensor(source.targets)
    dataset = PixelDataset(source, range(24), targets, 16)
    weights = torch.tensor([10.0 if label == "covid" else 1.0 for label in source.labels], dtype=torch.float64)
    loader = ChestData(dataset, dataset, 8, 0, weights).train_dataloader()
    drawn: Counter[int] = Counter()
    for epoch in range(20):
        loader.sampler.set_epoch(epoch)
        for _, target in loader:
            drawn.update(target.argmax(1).tolist())
    assert sum(drawn.values()) == 20 * 24
    assert drawn[0] / sum(drawn.values()) == pytest.approx(10 / 12, abs=0.06)
    assert [len(target) for _, target in ChestData(dataset, dataset, 8, 0).val_dataloader()] == [16, 8]
