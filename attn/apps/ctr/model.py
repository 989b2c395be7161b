"""AutoInt (Song et al. 2019, arXiv:1810.11921): self-attention over the fields of a row gives its click's logit.

    e_f  one vector a field: of a category its row, of a set the mean of its rows (equation 3), of a number v · x
         (equation 4) or what lies between the rows of the two knots around it; of a sequence what its target's
         vector attends to (as in DIN, Zhou et al. 2018, arXiv:1706.06978, section 4.3, but with softmax)
    e    = relu(attention(e) + W_res e), layer by layer (equation 8)
    logit = w · [e_1, ..., e_F] + b (equation 9), and for AutoInt+ that of an MLP over the first vectors (section 5.4)

All fields share one embedding table, which is read once for a batch; its row 0 is padding and stays zero.

Shapes: B rows, F fields, C columns of ids, M numbers, E embedding width, W width of a layer.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, Self, cast

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from attn.apps.ctr.sequence import TargetAttention
from attn.core import mixers
from attn.core.errors import UsageError
from attn.core.mixers.choice import with_options
from attn.core.settings import checked
from attn.data_adapters.tables.codes import Codebook

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"mixer": "interacting", "norm": False},
    "official": {
        "mixer": "interacting:scaled=true,activated=true,bias=true",
        "residual_activated": True,
        "residual_bias": True,
        "norm": True,
    },
}
"""As the paper has it, and as its authors' code has it, which made the published numbers."""

OFFICIAL_EPS = 1e-8  # of the layer norm in the authors' code
CACHED = 512  # rows scored together: what a layer makes of them stays in a processor's cache
Width = Annotated[int, Field(ge=1, le=65_536)]
LARGE_TABLE = 200_000  # rows from which gradients of the table are sparse


def preset_named(name: str) -> dict[str, Any]:
    """Settings of `AutoIntConfig`. Raises UsageError for an unknown name."""
    if name not in PRESETS:
        raise UsageError(f"no preset {name!r}", hint=f"there are {', '.join(PRESETS)}")
    return dict(PRESETS[name])


class FieldShape(BaseModel):
    """Where a field's rows (`first` of `rows`) and columns (`column` of `width` ids, or of a number) are.

    target: of a sequence, the number of the field whose vector attends to it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Literal["category", "multi", "sequence", "linear", "knots"]
    first: int = Field(ge=1)
    rows: int = Field(ge=1)
    column: int = Field(ge=0)
    width: int = Field(default=1, ge=1, le=65_536)
    target: int | None = None


class AutoIntConfig(BaseModel):
    """Everything that fixes the architecture; stored in the model's record.

    widths: channels of each interacting layer, in `heads` heads. mixer: the layers' mechanism, as
    `attn.core.mixers.choice` reads it. norm: layer norm after each layer. residual: each layer adds W_res x, or with
    residual_activated its ReLU; residual_bias: W_res has a bias. dnn: widths of the MLP of AutoInt+, empty for AutoInt.
    dropouts: of attention's output, embeddings, the MLP.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: tuple[FieldShape, ...] = Field(min_length=1, max_length=65_536)
    rows: int = Field(ge=2, lt=2**31)
    embedding: int = Field(default=16, ge=1, le=16_384)
    widths: tuple[Width, ...] = Field(default=(64, 64, 64), max_length=256)
    heads: int = Field(default=2, ge=1, le=1024)
    mixer: str = Field(default="interacting", max_length=4096)
    norm: bool = False
    residual: bool = True
    residual_activated: bool = False
    residual_bias: bool = False
    dnn: tuple[Width, ...] = Field(default=(), max_length=256)
    attention_dropout: float = Field(default=0.0, ge=0, lt=1)
    embedding_dropout: float = Field(default=0.0, ge=0, lt=1)
    dnn_dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _of_older_records(cls, settings: Any) -> Any:
        """Records of attn 0.1 had `mixer_options`, which only the interacting mixer and the residual read."""
        if not isinstance(settings, dict) or not isinstance(settings.get("mixer_options"), dict):
            return settings
        today: dict[str, Any] = {"mixer": "interacting"} | settings
        options = today["mixer_options"]
        today |= {f"residual_{name}": options[name] for name in ("activated", "bias") if name in options}
        if today["mixer"] != "interacting":
            today["mixer_options"] = {}
        return with_options(today, today["mixer"])

    @model_validator(mode="after")
    def _fields_lie_in_the_table(self) -> Self:
        if any(shape.first + shape.rows > self.rows for shape in self.fields):
            raise ValueError(f"a field has rows beyond the {self.rows} of the table")
        for shape in self.fields:
            known = shape.target is not None and 0 <= shape.target < len(self.fields)
            if shape.kind == "sequence" and not (known and self.fields[shape.target or 0].kind == "category"):
                raise ValueError(f"the sequence {shape.name!r} has no category as its target")
        return self


def configure(codebook: Codebook, **settings: Any) -> AutoIntConfig:
    """A checked configuration for a table's fields. Raises UsageError for an impossible value."""
    return checked(AutoIntConfig, fields=shapes_of(codebook), rows=codebook.rows, **settings)


def shapes_of(codebook: Codebook) -> tuple[FieldShape, ...]:
    """Where the network finds each field of a table."""
    kinds = {"category": "category", "time": "category", "multi": "multi", "sequence": "sequence"}
    numbers = {place.field.name: number for number, place in enumerate(codebook.places)}
    return tuple(
        checked(
            FieldShape,
            name=place.field.name,
            kind=kinds.get(place.field.kind) or ("knots" if place.field.transform == "quantile" else "linear"),
            target=None if place.field.target is None else numbers[place.field.target],
            **{name: getattr(place, name) for name in ("first", "rows", "column", "width")},
        )
        for place in codebook.places
    )


class FieldEmbedding(nn.Module):
    """Ids (B, C) and numbers (B, M) to one vector a field, (B, F, E)."""

    def __init__(self, config: AutoIntConfig) -> None:
        super().__init__()
        self.fields = config.fields
        self.table = nn.Embedding(config.rows, config.embedding, padding_idx=0, sparse=config.rows > LARGE_TABLE)
        nn.init.normal_(self.table.weight, std=0.01)  # the authors' code
        with torch.no_grad():
            self.table.weight[0] = 0
        self.plain = all(shape.kind == "category" for shape in self.fields)
        self.targets = nn.ModuleDict(
            {
                str(number): TargetAttention(config.embedding, shape.width)
                for number, shape in enumerate(self.fields)
                if shape.kind == "sequence"
            }
        )

    def forward(self, ids_bc: Int[Tensor, "B C"], numbers_bm: Float[Tensor, "B M"]) -> Float[Tensor, "B F E"]:
        """The padding id 0 counts in no mean; NaN is a number that is missing."""
        if self.plain:
            return self.look_up(ids_bc)
        bags = [self._bag(shape, ids_bc, numbers_bm) for shape in self.fields]
        ids_bn, weights_bn = (torch.cat(parts, 1) for parts in zip(*bags, strict=True))
        x_bne = self.look_up(ids_bn) * weights_bn[..., None]
        parts = torch.split(x_bne, [ids_bk.shape[1] for ids_bk, _ in bags], 1)
        vectors = [part if part.shape[1] == 1 else part.sum(1, keepdim=True) for part in parts]
        for name, attention in self.targets.items():
            number = int(name)
            target = self.fields[number].target
            assert target is not None
            vectors[number] = attention(vectors[target], parts[number], bags[number][0] != 0)
        return torch.cat(vectors, 1)

    def look_up(self, ids_bn: Int[Tensor, "B N"]) -> Float[Tensor, "B N E"]:
        """Rows of the table."""
        found: Tensor = self.table(ids_bn)
        return found

    def _bag(self, shape: FieldShape, ids_bc: Tensor, numbers_bm: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (B, K) and their weights, whose weighted sum is the field's vector."""
        if shape.kind in ("category", "multi", "sequence"):
            ids_bk = ids_bc[:, shape.column : shape.column + shape.width]
            if shape.width == 1:
                return ids_bk, numbers_bm.new_ones(ids_bk.shape)  # the padding's row is zero
            present_bk = (ids_bk != 0).to(numbers_bm.dtype)
            if shape.kind == "sequence":
                return ids_bk, present_bk
            return ids_bk, present_bk / present_bk.sum(1, keepdim=True).clamp(min=1)
        x_b1 = numbers_bm[:, shape.column, None]
        missing_b1 = x_b1.isnan()
        x_b1 = x_b1.masked_fill(missing_b1, 0)
        if shape.kind == "linear":
            row_b1 = torch.where(missing_b1, shape.first, shape.first + 1).to(ids_bc.dtype)
            return row_b1, x_b1.masked_fill(missing_b1, 1)
        knots = shape.rows - 1
        below_b1 = x_b1.floor().clamp(0, max(knots - 2, 0))
        share_b1 = (x_b1 - below_b1) if knots > 1 else torch.zeros_like(x_b1)
        low_b1 = torch.where(missing_b1, shape.first, shape.first + 1 + below_b1.to(ids_bc.dtype))
        high_b1 = torch.where(missing_b1, 0, low_b1 + min(knots - 1, 1))
        return torch.cat([low_b1, high_b1], 1), torch.cat([1 - share_b1, share_b1], 1)


class InteractingLayer(nn.Module):
    """relu(mixer(x) + W_res x), normalised if the configuration says so (equation 8)."""

    def __init__(self, config: AutoIntConfig, mixer: mixers.Choice, width_in: int, width: int) -> None:
        super().__init__()
        self.mixer = mixers.create(
            mixer,
            dims=1,
            causal=False,
            channels=width,
            heads=config.heads,
            size=(len(config.fields),),
            channels_in=width_in,
        )
        self.activated = config.residual_activated
        self.residual = nn.Linear(width_in, width, bias=config.residual_bias) if config.residual else None
        self.dropout = nn.Dropout(config.attention_dropout)
        self.norm = nn.LayerNorm(width, eps=OFFICIAL_EPS) if config.norm else nn.Identity()

    def forward(self, x_bfc: Float[Tensor, "B F C"]) -> Float[Tensor, "B F W"]:
        """(B, F, width_in) to (B, F, width)."""
        y_bfw = self.dropout(self.mixer(x_bfc))
        if self.residual is not None:
            kept_bfw = self.residual(x_bfc)
            y_bfw = y_bfw + (kept_bfw.relu() if self.activated else kept_bfw)
        out: Tensor = self.norm(y_bfw.relu())
        return out


class AutoInt(nn.Module):
    """Rows as ids and numbers to logits (B,)."""

    def __init__(self, config: AutoIntConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = FieldEmbedding(config)
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)
        widths = (config.embedding, *config.widths)
        choices = mixers.per_layer(config.mixer, len(config.widths))
        self.layers = nn.ModuleList(
            InteractingLayer(config, choice, a, b) for choice, (a, b) in zip(choices, pairwise(widths), strict=True)
        )
        self.out = nn.Linear(len(config.fields) * widths[-1], 1)
        self.dnn = mlp(len(config.fields) * config.embedding, config.dnn, config.dnn_dropout) if config.dnn else None

    def forward(self, ids_bc: Int[Tensor, "B C"], numbers_bm: Float[Tensor, "B M"]) -> Float[Tensor, " B"]:
        """Logits of a click."""
        return self.interact(self.embedding(ids_bc, numbers_bm))

    def interact(self, e_bfe: Float[Tensor, "B F E"]) -> Float[Tensor, " B"]:
        """Logits from the fields' vectors."""
        e_bfe = self.embedding_dropout(e_bfe)
        x_bfw = e_bfe
        for layer in self.layers:
            x_bfw = layer(x_bfw)
        logit_b1 = self.out(x_bfw.flatten(1))
        if self.dnn is not None:
            logit_b1 = logit_b1 + self.dnn(e_bfe.flatten(1))
        return cast(Tensor, logit_b1)[:, 0]


def mlp(width_in: int, widths: Sequence[int], dropout: float) -> nn.Sequential:
    """ReLU layers with dropout, then one output without bias: the logits of both parts are added."""
    layers: list[nn.Module] = []
    for a, b in pairwise((width_in, *widths)):
        layers += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 1, bias=False))


def quantised(model: AutoInt, dtype: str) -> AutoInt:
    """The model with its table in "bfloat16" or "int8", for prediction. Raises UsageError for another type."""
    if dtype == "float32":
        return model
    if dtype not in ("bfloat16", "int8"):
        raise UsageError(f"no table of type {dtype!r}", hint="there are float32, bfloat16 and int8")
    model.embedding.table = SmallTable(model.embedding.table.weight.detach(), dtype)  # type: ignore[assignment]
    return model


class SmallTable(nn.Module):
    """Rows of a table kept as bfloat16, or as int8 with a scale a row, and given in the table's own type."""

    def __init__(self, weight_re: Float[Tensor, "R E"], dtype: str) -> None:
        super().__init__()
        self.weight: Tensor
        self.scale: Tensor | None
        self.dtype = weight_re.dtype
        if dtype == "int8":
            scale_r1 = weight_re.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
            self.register_buffer("weight", (weight_re / scale_r1).round().to(torch.int8))
            self.register_buffer("scale", scale_r1)
        else:
            self.register_buffer("weight", weight_re.to(torch.bfloat16))
            self.scale = None

    def forward(self, ids: Tensor) -> Tensor:
        """Rows (..., E)."""
        rows = F.embedding(ids, self.weight).to(self.dtype)
        return rows if self.scale is None else rows * F.embedding(ids, self.scale)
