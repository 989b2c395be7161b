"""What an app hands over so that its model can be looked into: the network, what it reads, and its answers.

`attn.look` knows no app. An app has a room `look` with a function `probe(folder, device)`, which makes a `Probe`.

Shapes: B examples, R answers of an example, K classes, N tokens, P pairs of an example and a seed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

import attn
from attn.core.decoding.guidance import Guidance
from attn.core.errors import InputError, ModelError, UsageError
from attn.core.models.folder import find
from attn.core.models.record import RECORD, fingerprint, load_record
from attn.look.layout import Layout

BUNDLED = "bundled:"
MOST_EXAMPLES = 64
Objective = Callable[[Guidance | None], Float[np.ndarray, " P"]]  # the same pairs with any guidance


@dataclass(frozen=True, eq=False)
class Batch:
    """Examples of one shape.

    args: what the network's answer is made of, B examples each. targets_br: the right answers, where they are known.
    layouts: by a glob of the names of sites, where the tokens of these sites lie. pictures: what a person would see.
    """

    ids: tuple[str, ...]
    args: tuple[Tensor, ...]
    layouts: Mapping[str, Layout]
    targets_br: Int[Tensor, "B R"] | None = None
    pictures: tuple[np.ndarray, ...] = ()

    def layout(self, site: str, tokens: int) -> Layout | None:
        """Where the tokens of a site lie; None where nobody says, or it would not fit their number."""
        fitting = (layout for glob, layout in self.layouts.items() if fnmatchcase(site, glob))
        found = next(fitting, None)
        return found if found is not None and len(found.tokens) == tokens else None

    def parts(self, size: int) -> "list[Batch]":
        """The same examples in batches of at most so many."""
        return [
            replace(
                self,
                ids=self.ids[n : n + size],
                args=tuple(arg[n : n + size] for arg in self.args),
                targets_br=None if self.targets_br is None else self.targets_br[n : n + size],
                pictures=self.pictures[n : n + size],
            )
            for n in range(0, len(self.ids), size)
        ]


@dataclass(frozen=True, eq=False)
class Probe:
    """A trained model that can be looked into.

    read: inputs as people type them to batches; raises InputError for one that cannot be read, and UsageError.
    log_p: the args of a batch to log-probabilities (B, R, K). answers: what R and K are, in one sentence. labels: the
    names of the K classes, where they have some. objectives: what a model that writes can be guided towards, beside
    its true answers; measured on what follows the examples of batches. fingerprint: tells models apart.
    """

    app: str
    name: str
    network: nn.Module
    read: Callable[[Sequence[str]], list[Batch]]
    log_p: Callable[..., Float[Tensor, "B R K"]]
    answers: str
    labels: tuple[str, ...] = field(default=())
    objectives: Mapping[str, Callable[[Sequence[Batch], Guidance | None], Float[np.ndarray, " P"]]] = field(
        default_factory=dict
    )
    fingerprint: str = ""

    def answer(self, batch: Batch) -> Float[Tensor, "B R K"]:
        """Log-probabilities of a batch, in float64 on the CPU: differences of them are small."""
        with torch.inference_mode():
            return self.log_p(*batch.args).cpu().double()  # MPS has no float64

    def targets(self, batch: Batch, log_p_brk: Float[Tensor, "B R K"]) -> Int[Tensor, "B R"]:
        """The right answers of a batch, or the likeliest ones where the right ones are not known."""
        return log_p_brk.argmax(-1) if batch.targets_br is None else batch.targets_br.cpu()

    def label(self, number: int) -> str:
        """The name of a class."""
        return self.labels[number] if number < len(self.labels) else str(number)

    def examples(self, inputs: Sequence[str]) -> list[Batch]:
        """What `read` gives, of which there must be something. Raises UsageError and InputError."""
        if not inputs:
            raise UsageError("there are no inputs", hint="name the files that the model is to read")
        batches = self.read(inputs)
        if not sum(len(batch.ids) for batch in batches):
            raise InputError("holds nothing that this model reads", where=", ".join(inputs)[:80])
        return batches


def open_probe(model: str, device: str | None = None) -> Probe:
    """The model named by `model`: a folder, hf://org/name, or bundled:APP, and bundled:APP/NAME of several.

    Raises ModelError for a model that is missing, broken, or of an app without a probe.
    """
    folder = _bundled(model) if model.startswith(BUNDLED) else find(model)
    record = load_record(folder)
    app = record.app
    if app not in {name.split("/")[0] for name in _shipped()}:
        raise ModelError(f"this is a {app} model, and attn has no such app", where=model)
    probe: Probe = import_module(f"attn.apps.{app}.look").probe(folder, device)
    return replace(probe, fingerprint=fingerprint(record))


def _bundled(model: str) -> Path:
    shipped = _shipped()
    name = model.removeprefix(BUNDLED)
    if name not in shipped:
        raise ModelError(
            "no such model ships", where=model, hint=f"there are {', '.join(map(BUNDLED.__add__, shipped))}"
        )
    return shipped[name]


def _shipped() -> dict[str, Path]:
    """The models that ship, by app, or by app and name where an app has several."""
    apps = Path(attn.__file__).with_name("apps")
    found = {}
    for record in sorted(apps.glob(f"*/weights/**/{RECORD}")):
        app, _, *rest = record.parent.relative_to(apps).parts
        found["/".join([app, *rest])] = record.parent
    return found
