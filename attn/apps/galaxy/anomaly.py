"""How little a picture looks like a galaxy, read off what `sky.looks` measures in its pixels.

    anomaly = sigmoid(w · q(z) - t)

z are the measures in deviations from those of galaxies, and q(z) are they and all their products. w is a logistic
regression of pictures that are no galaxy against galaxies, which `anomaly_fit` fits; t is the value that FALSE_ALARMS
of held-out galaxies exceed. So above 0.5 a picture is `unusual`, and what the classifier says of it means little. The
network has no part in it.

Shapes: B batch, M measures, Q = M + M (M + 1) / 2 measures and products.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from attn.core.errors import ModelError
from attn.core.models.record import ModelRecord
from attn.core.models.weights import COPY_AGAIN, read_tensors, write_tensors
from attn.data_adapters.sky.looks import MEASURES

LOG = logging.getLogger("attn")
ANOMALY = "anomaly.safetensors"
"""Its file in a model's folder."""
FALSE_ALARMS = 0.005
UNUSUAL = "unusual"
"""The flag of a picture whose anomaly is above LIMIT."""
LIMIT = 0.5
FARTHEST = 4.0  # deviations of a measure; so a picture far from all galaxies is not sent to the other side by a product
_SHAPES = {
    "mean": (MEASURES,),
    "deviation": (MEASURES,),
    "weight": (MEASURES + MEASURES * (MEASURES + 1) // 2,),
    "threshold": (),
}


@dataclass(frozen=True)
class Anomaly:
    """`mean` (M,) and `deviation` (M,) of galaxies, `weight` (Q,) and `threshold` (): float32."""

    mean: Float[np.ndarray, " M"]
    deviation: Float[np.ndarray, " M"]
    weight: Float[np.ndarray, " Q"]
    threshold: Float[np.ndarray, ""]

    def score(self, measures_bm: Float[np.ndarray, "B M"]) -> Float[np.ndarray, " B"]:
        """The anomaly (B,) from 0 to 1 of the measures of pictures."""
        above_b = products(measures_bm, self.mean, self.deviation) @ self.weight - self.threshold
        return np.asarray(0.5 * (1 + np.tanh(above_b / 2)))

    def save(self, path: Path) -> None:
        """Write the tensors."""
        write_tensors(path, {name: torch.from_numpy(np.array(getattr(self, name), np.float32)) for name in _SHAPES})


def products(
    measures_nm: Float[np.ndarray, "N M"], mean: Float[np.ndarray, " M"], deviation: Float[np.ndarray, " M"]
) -> Float[np.ndarray, "N Q"]:
    """The measures in deviations, and all their products."""
    z_nm = np.clip((measures_nm - mean) / deviation, -FARTHEST, FARTHEST)
    first, second = np.triu_indices(z_nm.shape[1])
    return np.concatenate([z_nm, z_nm[:, first] * z_nm[:, second]], axis=1)


def load_anomaly(folder: Path, record: ModelRecord) -> Anomaly | None:
    """That of the model in `folder`; None for a model without one, or with one of an older attn. Raises ModelError."""
    if ANOMALY not in record.files:
        return None
    path = folder / ANOMALY
    tensors = read_tensors(path)
    if tensors.keys() == {"weight", "threshold"}:  # of the network's features
        LOG.warning("%s: is of an older attn and not used; train the model anew to have an anomaly", path)
        return None
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if (
        shapes != _SHAPES
        or not all(each.is_floating_point() and each.isfinite().all() for each in tensors.values())
        or not (tensors["deviation"] > 0).all()
    ):
        raise ModelError("does not fit the model beside it", where=path, hint=COPY_AGAIN)
    return Anomaly(**{name: tensor.float().numpy() for name, tensor in tensors.items()})
