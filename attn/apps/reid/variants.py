"""The family of DCAL models: what fixes an architecture, and its members by name. `model` builds them."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from attn.apps.reid.patches import CHANNELS
from attn.core.errors import UsageError
from attn.core.settings import checked

PLAIN = "softmax"
Side = Annotated[int, Field(ge=8, le=8192)]


class DCALConfig(BaseModel):
    """Everything that fixes the architecture; stored in the model's record.

    `image_size` is (S, T). `body`: patches of the image, or of a map of EfficientNet-Lite0 (a hybrid), then without a
    last norm; `map_stride` says which map, and a hybrid of `depth` 0 is that map alone. `local` is the share of the
    patches that the local branch looks at again; None leaves the branch out. `pairs`: train with the pair branch.
    `pool`: an image is its class token (the paper), or the mean of its patches, whose cosines are sums over patches.
    `task`: "identify" has a batch norm before each classifier, and `embed` is the answer; "classify" has none, and
    `probabilities` is the answer. `classes` are individuals, or classes. `mixer`: the mechanism of the blocks, as
    `attn.core.mixers.choice` reads it; any other than "softmax" sees the map of the patches without the class token,
    and has no local and no pair branch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: tuple[Side, Side] = (224, 224)
    body: Literal["patches", "lite0"] = "patches"
    map_stride: Literal[16, 32] = 32
    patch: int = Field(default=16, ge=1, le=256)
    width: int = Field(default=192, ge=1, le=8192)
    depth: int = Field(default=12, ge=0, le=128)
    heads: int = Field(default=3, ge=1, le=128)
    local: float | None = Field(default=0.3, gt=0, le=1)
    pairs: bool = True
    pool: Literal["class", "mean"] = "class"
    task: Literal["identify", "classify"] = "identify"
    classes: int = Field(default=2, ge=1, le=1_000_000)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    mixer: str = Field(default=PLAIN, max_length=4096)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} cannot be split into {self.heads} heads")
        if self.depth == 0 and (self.body == "patches" or self.local is not None or self.pairs or self.pool == "class"):
            raise ValueError("without blocks there is the mean of a hybrid's patches, no local and no pair branch")
        if self.mixer != PLAIN and (self.depth == 0 or self.local is not None or self.pairs or self.pool == "class"):
            raise ValueError(f"{self.mixer!r} needs blocks, the mean of the patches, and no local and no pair branch")
        if self.body == "lite0" and self.width > (most := CHANNELS[self.map_stride]):
            raise ValueError(f"EfficientNet-Lite0 has {most} channels, so that a width of {self.width} adds nothing")
        if any(side % self.stride for side in self.image_size):
            height, width = self.image_size
            raise ValueError(f"an image of {height} x {width} cannot be cut into patches of {self.stride}")
        return self

    @property
    def stride(self) -> int:
        """Pixels from patch to patch."""
        return self.patch if self.body == "patches" else self.map_stride

    @property
    def grid(self) -> tuple[int, int]:
        """Patches down and across."""
        return self.image_size[0] // self.stride, self.image_size[1] // self.stride


VARIANTS: dict[str, DCALConfig] = {
    "lite0": DCALConfig(body="lite0", image_size=(288, 288), depth=0, pool="mean", local=None, pairs=False),
    "hybrid": DCALConfig(body="lite0", image_size=(288, 288), depth=4, pool="mean"),
    "hybrid16": DCALConfig(body="lite0", image_size=(288, 288), map_stride=16, width=96, depth=4, pool="mean"),
    "deit_tiny": DCALConfig(),
    "smallest": DCALConfig(image_size=(32, 32), patch=8, width=16, depth=2, heads=2),
}


def variant(name: str, **changes: Any) -> DCALConfig:
    """A member of the family by name, with changes. Raises UsageError for an unknown name or an impossible value."""
    if name not in VARIANTS:
        raise UsageError(f"no DCAL called {name!r}", hint=f"there are {', '.join(VARIANTS)}")
    return checked(DCALConfig, **VARIANTS[name].model_dump() | changes)
