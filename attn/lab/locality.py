"""ConViT (d'Ascoli et al. 2021, arXiv:2103.10697): gated positional attention that begins as a convolution.

    A_h = (1 - s_h) softmax(q kᵀ / sqrt(D)) + s_h softmax(positions of head h),    s_h = sigmoid(gate_h)

All gates begin at 1, so that position has a share s of .73 in every head: each layer is a convolution (section 3).
Training gives every head the freedom to escape from locality: in each layer the share of position falls, and the deeper
a layer, the farther it looks. How far a head looks is the mean distance of its attention, in tokens.

The galaxies are drawn: ellipticals, and spirals that turn one way or the other, with noise. No weights decay, since a
decaying gate would leave position without a reason.

Shapes: B images of one channel, S x S pixels, G x G tokens, C channels, H heads.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core import mixers
from attn.core.attention.watch import record
from attn.core.mixers.gated_positional import GatedPositionalMixer2d
from attn.lab.experiment import Advance, Experiment, Outcome, Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE, PATCH, CHANNELS, HEADS, DEPTH = 18, 3, 16, 4, 3
GRID = SIDE // PATCH
CLASSES = ("elliptical", "spiral", "mirrored spiral")
BATCH, STEPS, RATE = 32, 900, 3e-3
WARM_UP = 50
TESTS = 500
NOISE = 0.15
START = 1 / (1 + math.exp(-1))  # the share of position at first


def galaxies(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images (B, 1, S, S) and classes (B)."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, generator=generator)

    y, x = torch.meshgrid(*[torch.arange(SIDE) - (SIDE - 1) / 2] * 2, indexing="ij")
    y, x, angle = y - uniform(-1, 1), x - uniform(-1, 1), uniform(0, 2 * math.pi)
    along, across = x * angle.cos() + y * angle.sin(), (y * angle.cos() - x * angle.sin()) / uniform(0.6, 1)
    radius, azimuth, size = torch.hypot(along, across), torch.atan2(across, along), uniform(2, 3)
    class_b = torch.randint(len(CLASSES), (count,), generator=generator)
    turns = torch.where(class_b == 2, -1.0, 1.0)[:, None, None]
    phase = 2 * (azimuth - turns * (radius.clamp(min=1) / 2).log() / 0.5)
    arms = 1 + 0.9 * phase.cos() * ((radius - 1.5) / 2).clamp(0, 1)
    light = torch.where(
        class_b[:, None, None] == 0, (-2 * (radius / size) ** 0.6).exp(), (-radius / (1.3 * size)).exp() * arms
    )
    light = light / light.flatten(1).norm(dim=1)[:, None, None] * SIDE / 2
    return (light + NOISE * torch.randn(light.shape, generator=generator))[:, None], class_b


class Block(nn.Module):
    """A pre-norm block of gated positional attention."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(CHANNELS), nn.LayerNorm(CHANNELS)
        self.mixer = mixers.create(
            "gated_positional", dims=2, channels=CHANNELS, heads=HEADS, size=(GRID, GRID), strength=1.0
        )
        self.mlp = nn.Sequential(nn.Linear(CHANNELS, 2 * CHANNELS), nn.GELU(), nn.Linear(2 * CHANNELS, CHANNELS))

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """(B, G, G, C) to the same shape."""
        x_bhwc = x_bhwc + self.mixer(self.norm1(x_bhwc))
        out: Tensor = x_bhwc + self.mlp(self.norm2(x_bhwc))
        return out


class ConViT(nn.Module):
    """Patches, blocks, and a classifier of the mean token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, CHANNELS, PATCH, PATCH)
        self.places = nn.Parameter(0.02 * torch.randn(GRID, GRID, CHANNELS))
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm, self.head = nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, len(CLASSES))

    def forward(self, images_bchw: Tensor) -> Tensor:
        """Logits (B, classes)."""
        x_bhwc = self.patches(images_bchw).permute(0, 2, 3, 1) + self.places
        for block in self.blocks:
            x_bhwc = block(x_bhwc)
        logits: Tensor = self.head(self.norm(x_bhwc).mean((1, 2)))
        return logits

    @property
    def gates(self) -> Tensor:
        """The share of position, (layers, heads)."""
        found = [module.gates.detach() for module in self.modules() if isinstance(module, GatedPositionalMixer2d)]
        return torch.stack(found)


@torch.no_grad()
def distances(model: ConViT, images_bchw: Tensor) -> Tensor:
    """The mean distance of attention, in tokens, of each layer and head."""
    with record(model) as seen:
        model(images_bchw)
    place = torch.stack(torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij"), -1).flatten(0, 1)
    apart_ll = torch.cdist(place.float(), place.float())
    found = [seen[f"blocks.{layer}.mixer"].dense(GRID * GRID) for layer in range(DEPTH)]
    return torch.stack([(weights_bhll * apart_ll).sum(-1).mean((0, 2)) for weights_bhll in found])


def untrained(seed: int) -> ConViT:
    """The network at its start; the generator of the process is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ConViT()


def train(seed: int, steps: int = STEPS) -> tuple[ConViT, Tensor]:
    """AdamW; the model, and its gates (steps + 1, layers, heads) from the start on."""
    generator = torch.Generator().manual_seed(seed)
    model = untrained(seed)
    images, classes = galaxies(steps * BATCH, generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
    )
    seen = [model.gates]
    for images_bchw, class_b in zip(torch.split(images, BATCH), torch.split(classes, BATCH), strict=True):
        loss = F.cross_entropy(model(images_bchw), class_b)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        seen.append(model.gates)
    return model.eval(), torch.stack(seen)


def run(seed: int, advance: Advance, steps: int = STEPS) -> Outcome:
    """One training, and how far its layers are from the convolution that they began as."""
    model, gates_slh = train(seed, steps)
    advance()
    images, classes = galaxies(TESTS, torch.Generator().manual_seed(2**31 + seed))
    with torch.no_grad():
        accuracy = float((model(images).argmax(1) == classes).float().mean())
    share_l, reach_l = gates_slh[-1].mean(1), distances(model, images[:64]).mean(1)
    reach_at_first_l = distances(untrained(seed), images[:64]).mean(1)
    measured = {
        "accuracy": accuracy,
        "share of position at first": float(gates_slh[0].mean()),
        **{f"share of position, layer {layer + 1}": float(share) for layer, share in enumerate(share_l)},
        **{
            f"mean distance of attention over that at first, layer {layer + 1}": float(reach / at_first)
            for layer, (reach, at_first) in enumerate(zip(reach_l, reach_at_first_l, strict=True))
        },
        "mean distance over that at first, last layer less first": float(
            reach_l[-1] / reach_at_first_l[-1] - reach_l[0] / reach_at_first_l[0]
        ),
    }
    return Outcome(measured, {"gates": gates_slh, "images": images[:60], "classes": classes[:60]})


def draw(figure: "Figure", outcome: Outcome) -> None:
    """The share of position of each head over the training, a panel for each layer, and what the galaxies look like."""
    figure.set_size_inches(3 * (DEPTH + 1), 3.4)
    panels = figure.subplots(1, DEPTH + 1)
    gates_slh = outcome.shown["gates"]
    for layer, axes in enumerate(panels[:DEPTH]):
        axes.plot(gates_slh[:, layer], lw=1)
        axes.plot(gates_slh[:, layer].mean(1), color="black", lw=2)
        axes.axhline(START, color="0.5", ls=":")
        axes.set(ylim=(0, 1), title=f"layer {layer + 1}", xlabel="step")
    panels[0].set_ylabel("share of position (black: mean)")
    shown = [int((outcome.shown["classes"] == k).nonzero()[0]) for k in range(len(CLASSES))]
    panels[-1].imshow(torch.cat([outcome.shown["images"][k, 0] for k in shown]), cmap="gray")
    panels[-1].set(title="\n".join(CLASSES), xticks=[], yticks=[])


EXPERIMENT = Experiment(
    paper="ConViT, arXiv:2103.10697",
    setting=f"drawn galaxies of {SIDE} x {SIDE} pixels, {len(CLASSES)} classes; {GRID} x {GRID} tokens, {DEPTH} layers "
    f"of {HEADS} heads, {STEPS} steps on {BATCH} images",
    predictions=(
        Prediction("accuracy", 0.6, "a training that worked"),
        Prediction("share of position at first", START, "section 3", 1e-6),
        *(
            Prediction(f"share of position, layer {layer + 1}", START - 0.005, "escape from locality", most=True)
            for layer in range(DEPTH)
        ),
        Prediction(f"mean distance of attention over that at first, layer {DEPTH}", 1.05, "escape from locality"),
        Prediction("mean distance over that at first, last layer less first", 0.03, "escape from locality"),
    ),
    steps=1,
    run=run,
    draw=draw,
)
