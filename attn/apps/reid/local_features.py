"""Local features of a picture: SIFT keypoints (Lowe 2004, Int. J. Computer Vision 60) with RootSIFT descriptors.

RootSIFT (Arandjelović and Zisserman 2012, CVPR, section 2) is the square root of a descriptor whose values sum to 1, so
that the Euclidean distance of two is the Hellinger distance of the histograms. SIFT itself is OpenCV's.

Only the middle of a picture counts. Around it lies the place, which two animals that were photographed there share:
on nyala, pictures of two individuals with 25 inliers or more have fallen logs in common.

Shapes: H height and W width of a picture, N keypoints.
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import numpy as np
from jaxtyping import Float

from attn.core.errors import UsageError
from attn.data_adapters.images.cutout import Display

SIDE = 400  # pixels of the longer side; smaller and larger pictures are brought to it
LEAST = 16  # pixels of the shorter side then, below which there is nothing to find
MOST = 1000  # keypoints of a picture, those with the strongest contrast
CONTRAST = 0.02  # half of Lowe's, as coats have soft edges
MIDDLE = (0.4, 0.32)  # half axes of the ellipse that is looked at, in widths and heights: the animal, not the ground
CHANNELS = 128


@dataclass(frozen=True)
class LocalFeatures:
    """Points x, y in pixels of the picture, from its upper left corner; descriptors of length 1; its longer side."""

    points: Float[np.ndarray, "N 2"]
    descriptors: Float[np.ndarray, "N 128"]
    side: int

    def __len__(self) -> int:
        return len(self.points)


@cache
def installed() -> bool:
    """Whether there is an OpenCV to compute them with."""
    return find_spec("cv2") is not None


def require() -> None:
    """Raises UsageError where OpenCV is not installed."""
    if not installed():
        raise UsageError("local features need OpenCV, which is not installed", hint="pip install attn[verify]")


def local_features(pixels_hw3: Display) -> LocalFeatures:
    """Those of the middle of a picture (H, W, 3); none of one that is flat, or much longer than wide.

    UsageError: see `require`.
    """
    require()
    import cv2

    height, width = pixels_hw3.shape[:2]
    side = max(height, width)
    size = (max(1, round(width * SIDE / side)), max(1, round(height * SIDE / side)))
    if min(size) < LEAST:
        return LocalFeatures(np.empty((0, 2), np.float32), np.empty((0, CHANNELS), np.float32), side)
    smooth = cv2.INTER_AREA if side > SIDE else cv2.INTER_LINEAR
    grey = cv2.resize(cv2.cvtColor(np.ascontiguousarray(pixels_hw3), cv2.COLOR_RGB2GRAY), size, interpolation=smooth)
    found, histograms = cv2.SIFT.create(nfeatures=MOST, contrastThreshold=CONTRAST).detectAndCompute(grey, None)
    points = np.array([point.pt for point in found], np.float32).reshape(-1, 2)
    descriptors = np.zeros((0, CHANNELS), np.float32) if histograms is None else np.asarray(histograms, np.float32)
    points = (points + 0.5) * np.array([width / size[0], height / size[1]], np.float32) - 0.5
    middle = ((((points + 0.5) / (width, height) - 0.5) / MIDDLE) ** 2).sum(axis=1) <= 1
    return LocalFeatures(points[middle].astype(np.float32), _root(descriptors[middle]), side)


def _root(descriptors: np.ndarray) -> np.ndarray:
    sums = descriptors.sum(axis=1, keepdims=True)
    rooted: np.ndarray = np.sqrt(descriptors / np.where(sums > 0, sums, 1)).astype(np.float32)
    return rooted
