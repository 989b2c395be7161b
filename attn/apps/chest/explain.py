"""Where a model of radiographs looked, what it needed, and whether its maps say anything about the answer.

Research use, not a medical device.

Shapes: B batch, S model side.
"""

import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import spearmanr
from torch import Tensor

from attn.apps.chest.explain_picture import draw
from attn.apps.chest.maps import gate_maps, gradient_maps, mean_map, signed_mean
from attn.apps.chest.predict import ChestPredictor
from attn.apps.chest.read import Reading, Source, source_id
from attn.core.errors import AttnError, UsageError
from attn.core.files import MADE_BY, claim, replacing, require_free
from attn.core.measures import saliency
from attn.core.measures.saliency import Curves
from attn.core.results.prediction import Prediction
from attn.data_adapters.dicom.radiograph import NotAnImageError, Radiograph

USE = "research use, not a medical device"


@dataclass(frozen=True)
class Explanation:
    """Maps of the model's side S over the image that the model saw.

    `label` is the class that is explained, the likeliest. `image` (S, S) in 0..1. `gates` are the factors that the body
    gave each scale of the backbone, a mean over channels. `maps` are three answers to what mattered: `body`, the mean
    of the gates, each from 0 to 1; `gradient`, what the gates added to the log-odds of the label, from -1 to 1;
    `occlusion`, the probability of the label that is lost when a patch covers a place. `shuffled` is `body` of a model
    whose weights are in another order. `curves` are those of each map, and of many random ones (`random`). No identity
    is in what is written of it.
    """

    prediction: Prediction
    label: str
    image: Float[np.ndarray, "S S"]
    gates: list[Float[np.ndarray, "S S"]]
    maps: dict[str, Float[np.ndarray, "S S"]]
    shuffled: Float[np.ndarray, "S S"]
    curves: dict[str, Curves]

    @property
    def unfaithful(self) -> list[str]:
        """The maps that do not beat random ones."""
        return [name for name in self.maps if not self.curves[name].beats(self.curves["random"])]

    def numbers(self) -> dict[str, Any]:
        """How far to believe the maps, as plain JSON values; of each map a mapping, and of the random ones the means.

        deletion, insertion: area under the curve. better_than: of `random_maps` random maps. unfaithful: it does not
        beat them. outside_centre: share of what speaks for the label outside the square of 80 % of the side, where an
        even map has 0.36. same_when_shuffled: rank correlation of the body's map with that of shuffled weights; 1 is a
        map of the image alone.
        """
        random = self.curves["random"]
        body, varied = self.maps["body"], np.ptp(self.maps["body"]) > 0 and np.ptp(self.shuffled) > 0
        same = spearmanr(body.ravel(), self.shuffled.ravel()).statistic if varied else np.nan
        found: dict[str, Any] = {"unfaithful": self.unfaithful, "random_maps": len(random.score)}
        found["same_when_shuffled"] = float(same) if np.isfinite(same) else None
        for name, map_ss in self.maps.items():
            outside = saliency.outside_centre(torch.from_numpy(map_ss if name == "body" else map_ss.clip(min=0)))
            found[name] = _areas(self.curves[name]) | {
                "better_than": int((self.curves[name].score > random.score).sum()),
                "outside_centre": outside if np.isfinite(outside) else None,
            }
        return found | {"random": _areas(random)}

    def save(self, path: Path) -> tuple[Path, Path, Path]:
        """Write the picture `path` (.png), and beside it the arrays (.npz) and the numbers (.json); the three paths."""
        arrays, numbers = path.with_suffix(".npz"), path.with_suffix(".json")
        draw(self, path)
        named: dict[str, Any] = self.maps | {
            f"{name}_{kind}": getattr(each, kind)
            for name, each in self.curves.items()
            for kind in ("deletion", "insertion")
        }
        with replacing(arrays) as part:
            gates = np.stack(self.gates)
            np.savez_compressed(part, image=self.image, gates=gates, shuffled=self.shuffled, **named)
            with zipfile.ZipFile(part, "a") as archive:
                archive.comment = MADE_BY.encode()
        answer: dict[str, Any] = {"software": MADE_BY, "label": self.label}
        answer |= {"probabilities": dict(self.prediction.probabilities)}
        answer |= {"flags": list(self.prediction.flags), "model": self.prediction.model, "use": USE}
        with replacing(numbers) as part:
            part.write_text(json.dumps(answer | self.numbers(), indent=2) + "\n", encoding="utf-8")
        return path, arrays, numbers


def explain(predictor: ChestPredictor, radiograph: Radiograph) -> Explanation:
    """Classify one radiograph and map what the answer rests on."""
    x_11ss = predictor.tensor([radiograph])
    p_k = predictor.probabilities(predictor.log_probabilities(x_11ss))[0]
    label = int(p_k.argmax())

    def answer(x_b1ss: Tensor) -> Tensor:
        return predictor.probabilities(predictor.log_probabilities(x_b1ss))[:, label]

    blank_1ss = saliency.blurred(x_11ss)[0]
    gates = gate_maps(predictor.model, x_11ss)
    maps = {
        "body": mean_map(gates),
        "gradient": signed_mean(gradient_maps(predictor, x_11ss, label), x_11ss.shape[-1]),
        "occlusion": saliency.occlusion_map(answer, x_11ss, blank_1ss),
    }
    curves = {name: saliency.deletion_insertion(answer, x_11ss, blank_1ss, map_ss) for name, map_ss in maps.items()}
    other_ss = mean_map(gate_maps(saliency.shuffled(predictor.model), x_11ss))
    return Explanation(
        prediction=next(iter(predictor.predict_many([radiograph]))),
        label=predictor.labels[label],
        image=x_11ss[0, 0].cpu().numpy(),
        gates=[gate.cpu().numpy() for gate in gates],
        maps={name: map_ss.cpu().numpy() for name, map_ss in maps.items()},
        shuffled=other_ss.cpu().numpy(),
        curves=curves | {"random": saliency.random_curves(answer, x_11ss, blank_1ss)},
    )


def explain_each(
    predictor: ChestPredictor,
    xs: Iterable[Source],
    reading: Reading,
    out: Path,
    skipped: Callable[[NotAnImageError], None],
) -> Iterator[dict[str, object]]:
    """Explain each image and write it to `out`: a row with `id`, `label`, `unfaithful`, `flags`, three files, `error`.

    `out` is a .png file for one image, else a folder; what is written there has the name of the image's file, and a
    number where several have the same. What holds no image goes to `skipped`. Raises UsageError for a .png file and a
    second image, and where attn did not write what lies beside it.
    """
    alone = out.suffix.lower() == ".png"
    if alone:
        require_free(out.with_suffix(".npz"), out.with_suffix(".json"))
    else:
        claim(out)
    names: Counter[str] = Counter()
    for found in chain.from_iterable(map(reading.frames_or_error, xs)):
        if isinstance(found, NotAnImageError):
            skipped(found)
            continue
        row: dict[str, object] = {"id": source_id(found), "label": None, "unfaithful": None, "flags": ""}
        row |= {"picture": None, "arrays": None, "numbers": None, "error": None}
        if isinstance(found, AttnError):
            yield row | {"error": str(found)}
            continue
        name = Path(found.id).name.encode("utf-8", "backslashreplace").decode()
        names[name] += 1
        if alone and names.total() > 1:
            raise UsageError("is one file for several images", where=out, hint="give a folder as --out")
        explanation = explain(predictor, found)
        number = f".{names[name]}" if names[name] > 1 else ""
        files = explanation.save(out if alone else out / f"{name}{number}.png")
        row |= {"label": explanation.label, "unfaithful": explanation.unfaithful}
        row |= {"flags": ";".join(explanation.prediction.flags)}
        yield row | dict(zip(("picture", "arrays", "numbers"), map(str, files), strict=True))


def _areas(curves: Curves) -> dict[str, float]:
    deletion, insertion = curves.areas
    return {"deletion": float(deletion.mean()), "insertion": float(insertion.mean())}
