"""Predict the class of galaxies: files, arrays or catalogue cut-outs in, one `Prediction` each out.

Shapes: V views, B batch, H height, W width, S model side, K classes, F embedding width.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attn.apps.galaxy.anomaly import LIMIT, UNUSUAL, Anomaly, load_anomaly
from attn.apps.galaxy.model import Astroformer, AstroformerConfig
from attn.apps.galaxy.objects import each_input
from attn.apps.galaxy.preprocess import Calibration, Preprocessing, symmetries, to_unit
from attn.apps.galaxy.read import Source, read_cutout, source_id, source_values
from attn.core.blocks.convolution import fold_batch_norms
from attn.core.errors import InputError, ModelError, UsageError
from attn.core.models.device import default_device
from attn.core.models.folder import ModelRecord, load_network
from attn.core.models.stream import READERS, predict_stream
from attn.core.results.prediction import NOT_FINITE, Prediction
from attn.core.settings import stored
from attn.data_adapters.images.cutout import Cutout
from attn.data_adapters.sky.looks import NO_GALAXY

BUNDLED_MODEL = Path(__file__).with_name("weights")


def load_model(source: str | Path | None) -> tuple[Astroformer, ModelRecord]:
    """The network of a model folder as it was trained, and the folder's record. Raises ModelError."""
    model, record, _ = load_network(source, "galaxy", _build, BUNDLED_MODEL)
    return model, record


def _build(record: ModelRecord) -> Astroformer:
    config = stored(AstroformerConfig, record.architecture)
    stored(Preprocessing, record.preprocessing)
    number = stored(Calibration, record.calibration).number
    if number is not None and (record.labels or config.classes != 1):
        raise ModelError("has a number, and labels or several outputs as well")
    if number is None and len(record.labels) != config.classes:
        raise ModelError(f"has {len(record.labels)} labels for {config.classes} classes")
    return Astroformer(config)


class GalaxyPredictor:
    """A trained galaxy classifier. Build it with `load`.

    >>> GalaxyPredictor.load().predict("m51.fits").label
    'spiral'
    """

    def __init__(self, model: Astroformer, record: ModelRecord, anomaly: Anomaly | None = None) -> None:
        self.record = record
        self.labels = list(record.labels)
        self.preprocessing = stored(Preprocessing, record.preprocessing, record.name)
        calibration = stored(Calibration, record.calibration, record.name)
        self.temperature, self.number = calibration.temperature, calibration.number
        self.model = model.eval()
        self.anomaly = anomaly

    @classmethod
    def load(cls, source: str | Path | None = None, device: str | torch.device | None = None) -> Self:
        """The bundled model, a model folder, or `hf://org/name`, on `default_device()` unless `device` is given.

        Raises ModelError for a folder that is missing, broken or made for another app.
        """
        model, record, folder = load_network(source, "galaxy", _build, BUNDLED_MODEL)
        fold_batch_norms(model.eval())
        anomaly = load_anomaly(folder, record)
        return cls(model.to(device or default_device()).to(memory_format=torch.channels_last), record, anomaly)

    def predict(self, x: Source, *, hdu: int | str | None = None, tta: bool = False) -> Prediction:
        """Classify one galaxy.

        `x` is a FITS file or picture, a tuple of FITS files (one per band), an array (H, W) or (H, W, 3) of uint8
        display pixels or of counts, masked or with a unit, CCDData, NDData, an HDU, an HDUList, or a `Cutout`. Raises
        InputError when it cannot be read.
        """
        cutout = read_cutout(x, self.preprocessing.stretch, hdu)
        return next(iter(self._classify([cutout], tta=tta, embeddings=False, strict=False)))

    def predict_many(
        self,
        xs: Iterable[Source] | Source,
        *,
        hdu: int | str | None = None,
        tta: bool = False,
        embeddings: bool = False,
        strict: bool = False,
        batch_size: int = 16,
        workers: int = READERS,
    ) -> Iterator[Prediction]:
        """Classify a stream in constant memory and in its order; an input that cannot be read gives a failed row.

        `workers` threads read ahead while the model works on `batch_size` inputs. `tta` averages over the eight
        symmetries of the square; `embeddings` adds the feature vector (F,). With `strict`, what does not look like a
        galaxy (a flag of `sky.looks`, or `unusual`) gives a failed row too. One path or one image is a stream of one;
        an astropy table has an input in each row of its column `path`.
        """
        return predict_stream(
            each_input(xs),
            lambda x: read_cutout(x, self.preprocessing.stretch, hdu),
            lambda cutouts: self._classify(cutouts, tta=tta, embeddings=embeddings, strict=strict),
            name=source_id,
            model=self.record.name,
            batch_size=batch_size,
            values=source_values,
            readers=workers,
        )

    def log_probabilities(self, x_bchw: Float[Tensor, "B C S S"], *, tta: bool = False) -> Float[Tensor, "B K"]:
        """Uncalibrated log-probabilities (B, K) of display pixels in 0..1; `tta`: their mean over the symmetries."""
        return self._log_p(self.features(x_bchw, tta=tta))

    def features(self, x_bchw: Float[Tensor, "B C S S"], *, tta: bool = False) -> Float[Tensor, "V B F"]:
        """What the classifier sees of display pixels in 0..1; `tta`: of all symmetries, the picture itself first."""
        views = symmetries(x_bchw) if tta else [x_bchw]
        with torch.inference_mode():
            return torch.stack([self.model.embed(self.preprocessing.normalise(view)) for view in views])

    def _log_p(self, features_vbf: Float[Tensor, "V B F"]) -> Float[Tensor, "B K"]:
        with torch.inference_mode():
            return torch.stack([self.model.classify(each).log_softmax(-1) for each in features_vbf]).mean(0)

    def numbers(self, features_vbf: Float[Tensor, "V B F"]) -> Float[Tensor, " B"]:
        """What a model with a `number` answers to features: the mean over the views."""
        if self.number is None:
            raise ValueError("this model has classes")
        with torch.inference_mode():
            return torch.stack([self.number.value(self.model.classify(each)[:, 0]) for each in features_vbf]).mean(0)

    def require_classes(self, what: str) -> None:
        """Raises UsageError, where this model answers with a number, that `what` needs classes."""
        if self.number is not None:
            raise UsageError(f"{self.record.name} answers with a number, {self.number.name!r}; {what} needs classes")

    def probabilities(self, log_p_bk: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """Calibrated probabilities (B, K) of uncalibrated log-probabilities (B, K)."""
        return (log_p_bk / self.temperature).softmax(-1)

    def tensor(self, cutouts: list[Cutout]) -> Float[Tensor, "B C S S"]:
        """The cut-outs as the model sees them before normalisation: (B, 3, S, S) in 0..1 on the model's device."""
        pixels = np.stack([self.preprocessing.pixels(cutout) for cutout in cutouts])
        device = next(self.model.parameters()).device
        return to_unit(torch.from_numpy(pixels).to(device))

    def _anomalies(self, cutouts: list[Cutout]) -> list[float] | list[None]:
        if self.anomaly is None:
            return [None] * len(cutouts)
        scores: list[float] = self.anomaly.score(np.array([cutout.measures for cutout in cutouts])).tolist()
        return scores

    def _classify(self, cutouts: list[Cutout], *, tta: bool, embeddings: bool, strict: bool) -> Iterator[Prediction]:
        features_vbf = self.features(self.tensor(cutouts), tta=tta)
        if self.number is None:
            answer_bk = self.probabilities(self._log_p(features_vbf)).cpu().numpy()
        else:
            answer_bk = self.numbers(features_vbf)[:, None].cpu().numpy()
        anomaly_b = self._anomalies(cutouts)
        embedding_bf = features_vbf[0].float().cpu().numpy()
        for cutout, anomaly, answer_k, embedding_f in zip(cutouts, anomaly_b, answer_bk, embedding_bf, strict=True):
            own = {"anomaly", *([] if self.number is None else [self.number.name])}
            if clash := own & cutout.values.keys():
                raise UsageError(
                    f"the extra column {min(clash)!r} is one of the result's own", hint="rename it in the catalogue"
                )
            values = {"anomaly": anomaly, **cutout.values}
            flags = (*cutout.flags, UNUSUAL) if anomaly is not None and anomaly > LIMIT else cutout.flags
            seen = [flag for flag in flags if flag in (*NO_GALAXY, UNUSUAL)]
            if seen and strict:
                refused = InputError(f"does not look like a galaxy ({', '.join(seen)})", where=cutout.id)
                yield Prediction.failed(cutout.id, str(refused), self.record.name, flags=flags, values=values)
                continue
            if self.number is not None:
                number = float(answer_k[0])
                yield Prediction(
                    id=cutout.id,
                    flags=flags,
                    error=None if math.isfinite(number) else NOT_FINITE,
                    model=self.record.name,
                    values={self.number.name: number, **values},
                    embedding=embedding_f if embeddings else None,
                )
                continue
            found = Prediction.from_probabilities(
                cutout.id,
                self.labels,
                answer_k,
                flags=flags,
                model=self.record.name,
                values=values,
                embedding=embedding_f if embeddings else None,
            )
            # Of an empty sky the model is sure for no reason.
            yield replace(found, uncertainty=1.0) if "empty" in flags and found.error is None else found
