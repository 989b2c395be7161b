"""A small labelled set of drawn radiographs, and a model with random weights whose record says what it has used."""

from pathlib import Path

import pytest
from chest_models import write_model

from attn.apps.chest.data import image_hash
from attn.data_adapters.dicom.labelled import LabelledStudies, open_studies


@pytest.fixture(scope="session")
def studies(chest_table: Path) -> LabelledStudies:
    """The tiny set, opened."""
    return open_studies(chest_table)


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory, studies: LabelledStudies) -> Path:
    """A model that says it was trained on the first four images of each class, and validated on the next two."""
    hashes = [image_hash(studies.read(row)) for row in range(len(studies))]
    train = [hash for row, hash in enumerate(hashes) if row % 12 < 4]
    validation = [hash for row, hash in enumerate(hashes) if 4 <= row % 12 < 6]
    data = studies.fingerprint() | {"used": {"train": train, "validation": validation}}
    return write_model(tmp_path_factory.mktemp("chest-models") / "untrained", studies.classes, data)
