"""The picture of groups: whose name and green frame a group gets."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attn.apps.reid.cluster import cluster
from attn.apps.reid.cluster_picture import RIGHT, WRONG, majority
from attn.apps.reid.predict import ReIDPredictor
from attn.data_adapters.images.identities import open_individuals


@pytest.mark.parametrize(
    ("names", "name"), [([], ""), (["a"], "a"), (["a", "b"], ""), (["b", "a", "a"], "a"), (["a", "b", "a", "c"], "")]
)
def test_a_majority_is_more_than_half(names: list[str], name: str) -> None:
    assert majority(names) == name


@pytest.mark.parametrize(("cut", "there", "absent"), [(2.0, WRONG, RIGHT), (0.0, RIGHT, WRONG)])
def test_green_frames_are_those_of_a_majority(
    predictor: ReIDPredictor, photographs: Path, tmp_path: Path, cut: float, there: str, absent: str
) -> None:
    """All in one group, as many of each of several individuals; and each picture alone."""
    (path,) = cluster(predictor, open_individuals(photographs), cut=cut).picture(tmp_path)
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)

    def drawn(colour: str) -> bool:
        return bool((pixels == np.array([*bytes.fromhex(colour[1:])])).all(axis=1).any())

    assert drawn(there) and not drawn(absent)
