"""Predict the class of chest radiographs: files, studies or arrays in, one `Prediction` each out.

Research use, not a medical device.

Shapes: B batch, H height, W width, S model side, K classes, G scores of the gate.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attn.apps.chest.gate import REFUSED, Gate, flags_of, load_gate
from attn.apps.chest.model import Medusa, MedusaConfig
from attn.apps.chest.preprocess import Preprocessing
from attn.apps.chest.probabilities import HALF, Calibration
from attn.apps.chest.read import Reading, Source, source_id
from attn.core.blocks.convolution import fold_batch_norms
from attn.core.errors import AttnError, InputError, ModelError
from attn.core.models.device import default_device
from attn.core.models.folder import ModelRecord, load_network
from attn.core.models.stream import READERS, predict_stream, read_ahead
from attn.core.results.prediction import NOT_FINITE, Prediction, normalised_entropy
from attn.core.settings import stored
from attn.data_adapters.dicom.radiograph import NotAnImageError, Radiograph

BUNDLED_MODEL = Path(__file__).with_name("weights")
FRAMES_AHEAD = 16  # of one file; its other frames are read when they are asked for
NO_FINDING = "no finding"


def load_model(source: str | Path | None) -> tuple[Medusa, ModelRecord, Path]:
    """The network of a model folder as it was trained, the folder's record, and the folder. Raises ModelError."""
    return load_network(source, "chest", _build, BUNDLED_MODEL)


def _build(record: ModelRecord) -> Medusa:
    config = stored(MedusaConfig, record.architecture)
    stored(Preprocessing, record.preprocessing)
    calibration = stored(Calibration, record.calibration)
    if len(record.labels) != config.classes:
        raise ModelError(f"has {len(record.labels)} labels for {config.classes} classes")
    if len(calibration.shift) not in (0, config.classes):
        raise ModelError(f"has a shift of {len(calibration.shift)} numbers for {config.classes} classes")
    return Medusa(config)


class ChestPredictor:
    """A trained classifier of chest radiographs with its gate. Build it with `load`. Research use, no medical device.

    >>> ChestPredictor.load().predict("scan.dcm").label
    'normal'
    """

    def __init__(self, model: Medusa, record: ModelRecord, gate: Gate | None = None) -> None:
        self.record = record
        self.labels = list(record.labels)
        self.preprocessing = stored(Preprocessing, record.preprocessing, record.name)
        self.calibration = stored(Calibration, record.calibration, record.name)
        self.exclusive = model.config.exclusive
        self.model = model.eval()
        self.gate = gate

    @classmethod
    def load(cls, source: str | Path | None = None, device: str | torch.device | None = None) -> Self:
        """The bundled model, a model folder, or `hf://org/name`, on `default_device()` unless `device` is given.

        Raises ModelError for a folder that is missing, broken or made for another app.
        """
        model, record, folder = load_model(source)
        gate = load_gate(folder, record, model.backbone.widths[-1])
        device = device or default_device()
        fold_batch_norms(model.eval())
        model = model.to(device).to(memory_format=torch.channels_last)
        return cls(model, record, None if gate is None else gate.to(device))

    def predict(self, x: Source, *, window: str | None = None, frame: int | None = None) -> Prediction:
        """Classify one radiograph.

        `x` is a DICOM file or a picture, an array (H, W) of uint8, uint16 or floats in 0..1, or a `Radiograph`.
        Raises InputError when it cannot be read or holds several frames and `frame` does not say which.
        """
        return next(self._classify([Reading(window, frame).one(x)]))

    def predict_many(
        self,
        xs: Iterable[Source],
        reading: Reading | None = None,
        *,
        strict: bool = False,
        skipped: Callable[[NotAnImageError], None] | None = None,
        batch_size: int = 16,
    ) -> Iterator[Prediction]:
        """Classify a stream in constant memory and in its order, a row a frame.

        An input that cannot be read gives a failed row; with `strict`, so does an image that the model does not know
        by a flag in `gate.REFUSED`. What holds no image (a report, text) goes to `skipped` and has no row; without
        `skipped` it fails too. Files are read ahead while the model works.
        """
        how = reading or Reading()

        def read(x: Source) -> Iterator[Radiograph | AttnError]:
            small = map(self._small, how.frames_or_error(x))
            return chain(list(islice(small, FRAMES_AHEAD)), small)

        def wanted(found: Radiograph | AttnError) -> bool:
            if skipped is None or not isinstance(found, NotAnImageError):
                return True
            skipped(found)
            return False

        files = read_ahead(read, xs, 2 * batch_size, READERS)
        return predict_stream(
            filter(wanted, chain.from_iterable(files)),
            _or_raise,
            lambda radiographs: self._classify(radiographs, strict=strict),
            name=source_id,
            model=self.record.name,
            batch_size=batch_size,
            readers=0,
        )

    def log_probabilities(self, x_b1ss: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B K"]:
        """Uncalibrated log-probabilities (B, K) of display pixels in 0..1; logits where classes are not exclusive."""
        return self._answers(x_b1ss)[0]

    def probabilities(self, log_p_bk: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Calibrated probabilities (B, K) of what `log_probabilities` gives."""
        return self.calibration.probabilities(log_p_bk, exclusive=self.exclusive)

    def tensor(self, radiographs: list[Radiograph]) -> Float[Tensor, "B 1 S S"]:
        """What the model sees: (B, 1, S, S) in 0..1 on the model's device."""
        pixels_bss = np.stack([self.preprocessing.pixels(radiograph) for radiograph in radiographs])
        return torch.from_numpy(pixels_bss)[:, None].to(next(self.model.parameters()).device)

    def _answers(self, x_b1ss: Float[Tensor, "B 1 S S"]) -> tuple[Tensor, Tensor | None]:
        """`log_probabilities`, and the scores (B, G) of the gate, of the same pass."""
        with torch.inference_mode():
            map_bchw = self.model.features(x_b1ss)
            logits_bk = self.model.classify(self.model.head.embed(map_bchw))
            scores_bg = None if self.gate is None else self.gate(map_bchw, x_b1ss)
            return logits_bk.log_softmax(-1) if self.exclusive else logits_bk, scores_bg

    def _small(self, found: Radiograph | AttnError) -> Radiograph | AttnError:
        """The same radiograph with the pixels that the model sees: many wait, and a file's own are large."""
        if isinstance(found, AttnError):
            return found
        return replace(found, pixels_hw=self.preprocessing.pixels(found), spacing=(1.0, 1.0))

    def _classify(self, radiographs: list[Radiograph], *, strict: bool = False) -> Iterator[Prediction]:
        log_p_bk, scores_bg = self._answers(self.tensor(radiographs))
        p_bk = self.probabilities(log_p_bk).cpu().numpy()
        scores = [None] * len(radiographs) if scores_bg is None else scores_bg.tolist()
        for radiograph, p_k, scores_g in zip(radiographs, p_bk, scores, strict=True):
            flags = flags_of(radiograph, scores_g)
            refused = [flag for flag in flags if flag in REFUSED]
            if strict and refused:
                error = InputError(f"refused: {', '.join(refused)}", where=radiograph.id)
                yield Prediction.failed(radiograph.id, str(error), self.record.name, flags=flags)
            else:
                yield self._prediction(radiograph.id, p_k, flags)

    def _prediction(self, id: str, p_k: Float[np.ndarray, " K"], flags: tuple[str, ...]) -> Prediction:
        if self.exclusive:
            return Prediction.from_probabilities(id, self.labels, p_k, flags=flags, model=self.record.name)
        if not np.isfinite(p_k).all():
            return Prediction.failed(id, NOT_FINITE, self.record.name, flags=flags)
        p = dict(zip(self.labels, p_k.tolist(), strict=True))
        points = self.calibration.operating_points
        called = [name for name in p if p[name] >= (points[name].threshold if name in points else HALF)]
        return Prediction(
            id=id,
            label="|".join(called) or NO_FINDING,
            probabilities=p,
            uncertainty=float(normalised_entropy(np.stack([p_k, 1 - p_k], axis=-1)).mean()),
            flags=flags,
            model=self.record.name,
        )


def _or_raise(found: Radiograph | AttnError) -> Radiograph:
    if isinstance(found, AttnError):
        raise found
    return found
