"""Verification: a known similarity is found again, unrelated and flat pictures have no inliers, evidence adds up."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

pytest.importorskip("cv2")

import cv2
from PIL import Image, ImageFilter

from attn.apps.reid import verify as module
from attn.apps.reid.gallery import Gallery, ModelId
from attn.apps.reid.index import index
from attn.apps.reid.local_features import LocalFeatures, local_features
from attn.apps.reid.verify import Matches, Verifier, evidence, match
from attn.data_adapters.images.identities import open_individuals

SIZE = (320, 240)


def texture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Blurred noise: a coat of spots."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    soft = np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(3)), np.float32)
    return np.clip((soft - soft.mean()) * 8 + 127, 0, 255).astype(np.uint8)


def moved(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return cv2.warpAffine(picture, matrix, SIZE, flags=cv2.INTER_CUBIC, borderValue=(127, 127, 127))


def similarity(angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    """Turned and scaled about the middle, then shifted; a matrix (2, 3)."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array(SIZE) / 2
    return np.c_[turn, middle - turn @ middle + shift]


@pytest.mark.parametrize(
    ("angle", "scale", "shift"), [(0, 1, (0, 0)), (0.6, 1, (5, -8)), (-0.3, 0.7, (12, 3)), (2.5, 1.3, (0, 0))]
)
def test_a_known_similarity_is_found_again(angle: float, scale: float, shift: tuple[float, float]) -> None:
    picture, matrix = texture(0), similarity(angle, scale, shift)
    found = match(local_features(picture), local_features(moved(picture, matrix)))
    assert found.count > 50 and found.transform is not None
    np.testing.assert_allclose(found.transform[:, :2], matrix[:, :2], atol=0.02)
    corners = np.array([[80.0, 80], [240, 80], [160, 170]])
    both = [np.c_[corners, np.ones(3)] @ each.T for each in (found.transform, matrix)]
    np.testing.assert_allclose(both[0], both[1], atol=2.5)
    gap = np.linalg.norm(np.c_[found.a, np.ones(len(found.a))] @ matrix.T - found.b, axis=1)
    assert gap[found.inliers].max() < module.TOLERANCE * SIZE[0] + 3  # the true one and the found one differ a little


def test_inliers_are_those_of_the_part_that_is_in_both() -> None:
    both, other = texture(0), texture(1)
    other[:, :160] = both[:, :160]
    found = match(local_features(both), local_features(other))
    assert found.count > 20 and (found.a[found.inliers, 0] < 170).all()


def test_unrelated_pictures_have_no_more_than_accidents() -> None:
    features = [local_features(texture(seed)) for seed in range(8)]
    counts = [match(a, b).count for i, a in enumerate(features) for b in features[:i]]
    assert max(counts) <= 6 and np.mean(np.array(counts) == 0) > 0.5


def test_a_mirror_image_is_not_the_same() -> None:
    picture = texture(0)
    assert match(local_features(picture), local_features(picture[:, ::-1])).count <= 6


@pytest.mark.parametrize("other", [np.full((240, 320, 3), 80, np.uint8), np.zeros((1, 1, 3), np.uint8)])
def test_a_picture_without_keypoints_has_no_matches(other: np.ndarray) -> None:
    for a, b in ((texture(0), other), (other, texture(0)), (other, other)):
        found = match(local_features(a), local_features(b))
        assert found.count == 0 and len(found.a) == 0 and found.transform is None


def test_many_points_at_one_place_are_one() -> None:
    place = np.full((30, 2), 7.0)
    assert Matches(place, place, np.ones(30, bool)).count == 0
    spread = np.c_[np.arange(30.0), np.zeros(30)]
    assert Matches(spread, spread, np.ones(30, bool)).count == 30
    assert Matches(spread, spread, np.arange(30) < module.LEAST - 1).count == 0


def test_matches_are_mutual_and_clearly_nearer_than_the_second() -> None:
    def features(rows: list[list[float]]) -> LocalFeatures:
        descriptors = np.zeros((len(rows), 128), np.float32)
        descriptors[:, :3] = rows
        descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
        return LocalFeatures(np.arange(2.0 * len(rows)).reshape(-1, 2), descriptors, 100)

    a = features([[1, 0, 0], [0, 1, 0], [0.9, 0, 0.1]])  # the third's nearest is the first of b, which is the first's
    b = features([[1, 0, 0], [0, 1, 0.1], [0, 1, -0.1]])  # the second of a has two that are equally near
    found = match(a, b)
    np.testing.assert_array_equal(found.a, [[0, 1]])
    np.testing.assert_array_equal(found.b, [[0, 1]])


def test_evidence_grows_with_the_inliers_up_to_a_limit() -> None:
    n = np.array([0, 4, 10, module.MOST, module.MOST + 100])
    e = evidence(n)
    assert e[0] < 0 < e[2] and (np.diff(e[:4]) > 0).all() and e[3] == e[4]


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    photos = tmp_path / "photos"
    for name, picture in (
        ("A/1.png", texture(0)),
        ("A/2.png", moved(texture(0), similarity(0.3, 0.9, (4, 4)))),
        ("B/1.png", texture(1)),
    ):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(photos / name)
    table = "path,identity,x,y,width,height\nA/1.png,A,,,,\nA/2.png,A,,,,\nB/1.png,B,40,30,200,150\n"
    (photos / "t.csv").write_text(table)
    found, _ = index(
        open_individuals(photos / "t.csv", box="x,y,width,height", box_format="coco"),
        lambda pictures: np.stack([np.asarray(each, np.float32).mean((0, 1)) for each in pictures]),
        ModelId("m", "ab" * 32, 3),
        tmp_path / "g",
    )
    return found


def test_the_pictures_of_a_gallery_are_looked_at_again(gallery: Gallery, tmp_path: Path) -> None:
    verifier = Verifier(gallery)
    own = [local_features(texture(0)), local_features(texture(1))]
    first = verifier.counts(own, np.array([0, 1, 2]), np.array([0, 0, 0]))
    assert first[0] > 100 and first[1] > 50 and first[2] <= 6
    assert verifier.counts(own, np.array([2, 0]), np.array([1, 1]))[0] > 50
    assert verifier.gone == set()
    (tmp_path / "photos/B/1.png").unlink()
    again = Verifier(gallery)
    assert again.counts(own, np.array([0, 2]), np.array([0, 1])).tolist() == [first[0], 0]
    assert again.gone == {"B/1.png"}


def test_a_box_of_a_gallery_is_read_again_as_it_was(gallery: Gallery) -> None:
    np.testing.assert_array_equal(gallery.photograph(2).pixels, texture(1)[30:180, 40:240])
    assert gallery.rows["box"].to_list() == ["", "", "40,30,200,150 shown"]
    assert isinstance(gallery.rows, pl.DataFrame)
