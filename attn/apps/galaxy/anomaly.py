"""How little a picture looks like a galaxy, read off the features of the model itself.

    anomaly = sigmoid(w · f - t)

f are the features that the classifier sees. w is a logistic regression of pictures that are no galaxy against galaxies,
which `anomaly_fit` fits; t is the value that FALSE_ALARMS of held-out galaxies exceed. So above 0.5 a picture is
`unusual`, and what the classifier says of it means little.

Shapes: V views, B batch, F embedding width.
"""

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from attn.core.errors import ModelError
from attn.core.models.record import ModelRecord
from attn.core.models.weights import COPY_AGAIN, read_tensors, write_tensors

ANOMALY = "anomaly.safetensors"
"""Its file in a model's folder."""
FALSE_ALARMS = 0.01
UNUSUAL = "unusual"
"""The flag of a picture whose anomaly is above LIMIT."""
LIMIT = 0.5


@dataclass(frozen=True)
class Anomaly:
    """`weight` (F,) in half precision and `threshold` (), in the unit of the features' sum."""

    weight: Float[Tensor, " F"]
    threshold: Float[Tensor, ""]

    def score(self, features_vbf: Float[Tensor, "V B F"]) -> Float[Tensor, " B"]:
        """The anomaly (B,) from 0 to 1 of features in several views of each picture: of their mean."""
        mean_bf = features_vbf.float().mean(0)
        device = mean_bf.device
        return (mean_bf @ self.weight.float().to(device) - self.threshold.to(device)).sigmoid()

    def save(self, path: Path) -> None:
        """Write the tensors."""
        write_tensors(path, {"weight": self.weight, "threshold": self.threshold})


def load_anomaly(folder: Path, record: ModelRecord, features: int) -> Anomaly | None:
    """That of the model in `folder`, which has so many features; None for a model without one. Raises ModelError."""
    if ANOMALY not in record.files:
        return None
    path = folder / ANOMALY
    tensors = read_tensors(path)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if shapes != {"weight": (features,), "threshold": ()} or not all(
        each.is_floating_point() and each.isfinite().all() for each in tensors.values()
    ):
        raise ModelError("does not fit the model beside it", where=path, hint=COPY_AGAIN)
    return Anomaly(tensors["weight"], tensors["threshold"].float())
