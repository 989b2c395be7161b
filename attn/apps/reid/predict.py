"""Who is this: pictures to vectors that are compared, or to class probabilities where a model was trained on classes.

Shapes: B pictures, H height, W width, S model height, T model width, F embedding width, K classes, Q queries.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attn.apps.reid.gallery import Gallery, ModelId, open_gallery
from attn.apps.reid.local_features import local_features
from attn.apps.reid.model import DCAL
from attn.apps.reid.nearest import unit
from attn.apps.reid.preprocess import Preprocessing, to_unit
from attn.apps.reid.probabilities import Calibration
from attn.apps.reid.search import Query, Ranked, search
from attn.apps.reid.variants import DCALConfig
from attn.apps.reid.verify import Verifier, looks_again
from attn.core.blocks.convolution import fold_batch_norms
from attn.core.errors import InputError, ModelError, UsageError
from attn.core.models.device import default_device
from attn.core.models.folder import ModelRecord, load_network
from attn.core.models.record import WEIGHTS
from attn.core.models.stream import predict_stream
from attn.core.results.prediction import Prediction
from attn.core.settings import stored
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.images.photographs import read_photograph

BUNDLED_MODEL = Path(__file__).with_name("weights")
BATCH = 16

Source = str | Path | np.ndarray | Cutout
"""A photograph's file, display pixels (H, W, 3) uint8, or a `Cutout`."""


def load_model(source: str | Path | None) -> tuple[DCAL, ModelRecord]:
    """The network of a model folder as it was trained, and the folder's record. Raises ModelError."""
    model, record, _ = load_network(source, "reid", _build, BUNDLED_MODEL)
    return model, record


def _build(record: ModelRecord) -> DCAL:
    config = stored(DCALConfig, record.architecture)
    preprocessing = stored(Preprocessing, record.preprocessing)
    Calibration.of(record)
    if preprocessing.size != config.image_size:
        raise ModelError(f"takes images of {config.image_size} pixels and is given {preprocessing.size}")
    if config.task == "classify" and len(record.labels) != config.classes:
        raise ModelError(f"has {len(record.labels)} labels for {config.classes} classes")
    return DCAL(config)


class ReIDPredictor:
    """A trained model that tells individuals apart. Build it with `load`.

    >>> ReIDPredictor.load().similarity("a.jpg", "b.jpg")
    0.83
    """

    def __init__(self, model: DCAL, record: ModelRecord, *, sa_only: bool = False) -> None:
        self.record = record
        self.labels = list(record.labels)
        self.preprocessing = stored(Preprocessing, record.preprocessing, record.name)
        self.calibration = None if sa_only else Calibration.of(record)  # which is that of the whole model
        self.sa_only = sa_only
        self.model = model.eval()
        self._verifier: Verifier | None = None

    @classmethod
    def load(
        cls,
        source: str | Path | None = None,
        device: str | torch.device | None = None,
        *,
        sa_only: bool = False,
    ) -> Self:
        """The bundled model, a model folder, or `hf://org/name`, on `default_device()` unless `device` is given.

        sa_only: without the local branch, which is faster and gives half as many channels. Raises ModelError for a
        folder that is missing, broken or made for another app.
        """
        model, record = load_model(source)
        fold_batch_norms(model.eval())
        model = model.to(device or default_device())
        if model.config.body == "lite0":
            model = model.to(memory_format=torch.channels_last)
        return cls(model, record, sa_only=sa_only and model.config.local is not None)

    @property
    def id(self) -> ModelId:
        """By which galleries tell whether this model made them; `dimensions` is F."""
        config = self.model.config
        halves = 1 if config.local is None or self.sa_only else 2
        fingerprint = self.record.files.get(WEIGHTS) or _digest(self.model)
        return ModelId(self.record.name, fingerprint, halves * config.width)

    def embed(self, pictures: Source | Sequence[Source], *, batch_size: int = BATCH) -> Float[np.ndarray, "B F"]:
        """Vectors of length 1 in float32, whose products are cosines; zero or NaN where the model gives no direction.

        One picture alone gives one row. Raises InputError for a picture that cannot be read, UsageError for a model of
        classes.
        """
        if isinstance(pictures, str | Path | Cutout) or (isinstance(pictures, np.ndarray) and pictures.ndim == 3):
            pictures = [pictures]
        if self.model.config.task != "identify":
            hint = "train one without --task classify"
            raise UsageError("this model tells classes apart, not individuals", where=self.record.name, hint=hint)
        batches = [pictures[first : first + batch_size] for first in range(0, len(pictures), batch_size)]
        with torch.inference_mode():
            parts = [self._embed(self.tensor([read_source(each) for each in batch])) for batch in batches]
        return np.concatenate(parts) if parts else np.empty((0, self.id.dimensions), np.float32)

    def similarity(self, a: Source, b: Source) -> float:
        """The cosine of two pictures, -1 to 1. Raises InputError as `embed`, and for one without a usable vector."""
        pair, usable = unit(self.embed([a, b]))
        for source, good in zip((a, b), usable, strict=True):
            if not good:
                raise InputError("has no usable embedding", where=source_id(source))
        return float(min(1.0, max(-1.0, pair[0].astype(np.float64) @ pair[1])))

    def search(
        self, query: Source, gallery: Gallery | str | Path, k: int = 10, *, verify: bool | None = None
    ) -> list[Ranked]:
        """The k individuals of a gallery that resemble the picture most, each once, the most similar first.

        verify: look again at the best pictures by local features; None does where the calibration found that it helps.
        Raises ModelError for a gallery of another model, InputError for a picture that cannot be used, UsageError for
        local features without OpenCV.
        """
        opened = gallery if isinstance(gallery, Gallery) else open_gallery(gallery, self.id)
        again = None
        picture = _cutout(query)
        vectors, usable = unit(self.embed([picture]))
        if not usable.all():
            raise InputError("has no usable embedding", where=picture.id)
        if looks_again(verify, self.calibration):
            if self._verifier is None or self._verifier.gallery is not opened:
                self._verifier = Verifier(opened)
            again = partial(self._verifier.counts, [local_features(picture.pixels)])
        asked = Query(picture.id, vectors, flags=picture.flags)
        return search(asked, opened, k, self.calibration, again=again).ranked

    def predict(self, x: Source) -> Prediction:
        """The class of one picture, for a model of classes. Raises InputError when it cannot be read."""
        return next(iter(self._classify([_cutout(x)])))

    def predict_many(self, xs: Iterable[Source], *, batch_size: int = BATCH) -> Iterator[Prediction]:
        """Classes of a stream in constant memory and in its order; one that cannot be read gives a failed row."""
        return predict_stream(
            xs, _cutout, self._classify, name=source_id, model=self.record.name, batch_size=batch_size
        )

    def tensor(self, pictures: Sequence[np.ndarray]) -> Float[Tensor, "B 3 S T"]:
        """Pictures as the model sees them, in 0..1 and on its device."""
        pixels_b3st = torch.stack([self.preprocessing.pixels(each) for each in pictures])
        return to_unit(pixels_b3st.to(self.model.vit.positions.device))

    def _embed(self, x_b3st: Tensor) -> np.ndarray:
        vectors: np.ndarray = self.model.embed(x_b3st, sa_only=self.sa_only).float().cpu().numpy()
        return vectors

    def _classify(self, cutouts: list[Cutout]) -> Iterator[Prediction]:
        if self.model.config.task != "classify":
            hint = "attn reid search asks who is in a picture"
            raise UsageError("this model tells individuals apart, not classes", where=self.record.name, hint=hint)
        with torch.inference_mode():
            x_b3st = self.tensor([each.pixels for each in cutouts])
            p_bk = self.model.probabilities(x_b3st, sa_only=self.sa_only).cpu().numpy()
        for cutout, p_k in zip(cutouts, p_bk, strict=True):
            yield Prediction.from_probabilities(
                cutout.id, self.labels, p_k, flags=cutout.flags, model=self.record.name, values=cutout.values
            )


def read_source(x: Source) -> np.ndarray:
    """Display pixels (H, W, 3) of whatever a caller has. Raises InputError."""
    return _cutout(x).pixels


def source_id(x: Source) -> str:
    """What a result calls this picture."""
    if isinstance(x, Cutout):
        return x.id
    return "array" if isinstance(x, np.ndarray) else str(x)


def _cutout(x: Source) -> Cutout:
    if isinstance(x, Cutout):
        return x
    if isinstance(x, np.ndarray):
        if x.ndim != 3 or x.shape[2] != 3 or 0 in x.shape or x.dtype != np.uint8:
            what = f"an array of {x.dtype} of shape {x.shape} is not a picture"
            raise InputError(what, where="array", hint="give (H, W, 3) of uint8")
        return Cutout("array", x)
    return read_photograph(Path(x), str(x))


def _digest(model: DCAL) -> str:
    """Of a model that is in no folder."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
