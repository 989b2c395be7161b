"""What a training begins from: the architecture to train, and the weights it is given before the first step.

A start is a shared one (`attn.core.starts`), a ViT or DeiT of timm in a safetensors file, a model folder, or a model on
the Hub. A hybrid begins with the shared one where nothing else is said.

Shapes: B batch, C channels of a map, H and W its sides, K classes.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from attn.apps.reid.discriminant import discriminant
from attn.apps.reid.model import DCAL, Head
from attn.apps.reid.patches import Lite0Patches
from attn.apps.reid.variants import PLAIN, VARIANTS, DCALConfig, variant
from attn.core import starts
from attn.core.blocks.vision import MapBlock, VisionBlock
from attn.core.errors import UsageError
from attn.core.models.folder import load_network, load_record, resolve
from attn.core.models.weights import read_tensors
from attn.core.settings import checked, stored

DEFAULT, OF_TIMM, ATTENDING = "lite0", "deit_tiny", "hybrid"
SHARED = ("lite0",)
TIMM_SUFFIX = ".safetensors"
BUNDLED_MODEL = Path(__file__).with_name("weights")

Maps = Iterable[tuple[Float[Tensor, "B C H W"], Int[Tensor, " B"]]]
"""What `Lite0Patches.early` made of pictures, and their classes."""


def architecture(name: str | None, start: str | None, **changes: Any) -> DCALConfig:
    """The variant called `name`, with changes; without a name the one that `start` is for, else the default.

    A mixer among the changes is of a variant that has blocks, and leaves out the branches that it cannot have. A model
    as the start brings its own architecture. Raises UsageError for a variant that cannot begin from a shared
    start, and where `variant` does.
    """
    if changes.get("mixer", PLAIN) != PLAIN:
        changes = {"local": None, "pairs": False, "pool": "mean"} | changes
    of_timm = start is not None and start.endswith(TIMM_SUFFIX)
    if name is None and start is not None and start not in SHARED and not of_timm:
        record = load_record(resolve(start, "reid", BUNDLED_MODEL))
        return checked(DCALConfig, **stored(DCALConfig, record.architecture).model_dump() | changes)
    config = variant(name or (OF_TIMM if of_timm else ATTENDING if "mixer" in changes else DEFAULT), **changes)
    if start in SHARED and config.body != start:
        able = ", ".join(other for other, its in VARIANTS.items() if its.body == start)
        raise UsageError(f"the variant {name!r} cannot begin from {start!r}", hint=f"these can: {able}")
    return config


def begin(model: DCAL, start: str | Path | None) -> list[str]:
    """Give `model` the weights of `start`; the names of the parameters that were learned on other data.

    Raises UsageError where the weights are of another architecture, ModelError where they cannot be read.
    """
    if start in SHARED or (start is None and model.config.body in SHARED):
        return starts.begin(model, model.config.body if start is None else str(start))
    if start is None:
        return []
    if str(start).endswith(TIMM_SUFFIX):
        model.begin_from_timm(read_tensors(Path(start)))
        return [name for name, _ in model.named_parameters() if name.startswith(("vit.", "local."))]
    source, _, _ = load_network(
        start, "reid", lambda record: DCAL(stored(DCALConfig, record.architecture)), BUNDLED_MODEL
    )
    starts.carry_over(source, model)
    return []


@torch.no_grad()
def begin_at_features(model: DCAL, maps: Callable[[], Maps]) -> None:
    """Set a hybrid whose body has its weights so that it compares pictures by `discriminant` of the body's features.

    The blocks add nothing yet, the necks change nothing, and the classifiers' weights are the classes' mean directions,
    or without necks the classifier is that by the nearest class mean: the first steps then have little to undo (Kumar
    et al. 2022, arXiv:2202.10054). `maps` is gone through twice.
    """
    patches = model.vit.patches
    assert isinstance(patches, Lite0Patches)
    model.eval()  # the necks are not to see anything yet
    found = [(patches.late(map_bchw).mean((2, 3)), class_b) for map_bchw, class_b in maps()]
    features_nc, class_n = (torch.cat(part) for part in zip(*found, strict=True))
    weight_dc, mean_c = discriminant(features_nc, class_n, model.config.width)
    assert patches.project.bias is not None
    patches.project.weight.copy_(weight_dc[:, :, None, None])
    patches.project.bias.copy_(-weight_dc @ mean_c)
    for parameter in (model.vit.class_token, model.vit.positions):
        nn.init.zeros_(parameter)
    for block in model.modules():
        if isinstance(block, MapBlock):
            nn.init.zeros_(block.scale)
        if isinstance(block, VisionBlock | MapBlock):
            last = [block.mlp[2]] if isinstance(block, MapBlock) else [block.mixer.out, block.mlp[2]]
            for layer in last:
                nn.init.zeros_(layer.weight)  # type: ignore[arg-type]  # layers of a Sequential
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    begin_head = _begin_head if model.config.task == "identify" else _begin_classifier
    branches = [model.branches(map_bchw) for map_bchw, _ in maps()]
    begin_head(model.head, torch.cat([each.sa.features_bc for each in branches]), class_n)
    if model.config.local is not None:
        local = [each.glca.features_bc for each in branches if each.glca is not None]
        begin_head(model.local_head, torch.cat(local), class_n)
    model.train()


def _begin_head(head: Head, features_nc: Tensor, class_n: Tensor) -> None:
    assert isinstance(head.neck, nn.BatchNorm1d)
    deviation_c, mean_c = torch.std_mean(features_nc, dim=0, correction=0)
    head.neck.running_mean, head.neck.running_var = mean_c, deviation_c**2
    head.neck.weight.copy_((deviation_c**2 + head.neck.eps).sqrt())
    of_class = torch.zeros_like(head.classifier.weight).index_add_(0, class_n, features_nc - mean_c)
    head.classifier.weight.copy_(F.normalize(of_class, dim=1))


def _begin_classifier(head: Head, features_nc: Tensor, class_n: Tensor) -> None:
    """Linear discriminant analysis with one spread for all directions: the log odds are those of the nearest mean."""
    classifier = head.classifier
    of_class = torch.zeros_like(classifier.weight).index_add_(0, class_n, features_nc)
    mean_kc = of_class / torch.bincount(class_n, minlength=len(of_class)).clamp(min=1)[:, None]
    spread = (features_nc - mean_kc[class_n]).square().mean().clamp(min=1e-6)
    classifier.weight.copy_(mean_kc / spread)
    classifier.bias.copy_(-mean_kc.square().sum(1) / (2 * spread))
