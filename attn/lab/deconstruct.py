"""Deconstructing Attention (arXiv:2510.11602): what is left of a language model when attention loses a principle.

    mlp            no token sees another: mixing is gone
    approximate    weights 1 + s + s²/2: the exponential is gone
    static, fixed  queries and keys of the first layer's tokens, or of a fixed text: they follow no hidden state

Each variant stands in all layers (*uniform*), or in every second one between layers of softmax attention (*hybrid*). In
the paper's language models the order is standard, approximate, static or fixed, mlp; hybrids lose little of what the
uniform models lose (table 1). There a hybrid is ruined if the replaced layers are left out; on so small a text it only
loses a little, so that nothing is predicted of that.

The text is drawn. Each sequence has its own permutation of the tokens, and its next token is, with the given shares,
the permutation of the last one, the token three places back, the last one plus 1, or any. The first of these needs two
layers that look at content: who followed this token before? The second needs places alone, the third no other token.

Shapes: B sequences, L tokens, C channels, V tokens that there are.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core import mixers
from attn.core.blocks.sequence import SequenceBlock
from attn.lab.experiment import Advance, Experiment, Outcome, Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

V, L, BACK = 6, 24, 3
PERMUTED, COPIED, SUCCEEDED = 0.6, 0.25, 0.1  # the shares; the rest is any token
CHANNELS, HEADS, DEPTH = 24, 2, 3
BATCH, RATE, STEPS, TESTS = 32, 6e-3, 450, 1000
SCORED = 8  # the tokens before this place are too few to tell the permutation
VARIANTS = ("approximate", "static", "fixed", "mlp")


def sequences(count: int, generator: torch.Generator) -> Tensor:
    """Token ids (B, L + 1)."""
    next_bv = torch.rand(count, V, generator=generator).argsort(1)
    ids_bl = torch.randint(V, (count, L + 1), generator=generator)
    kind_bl = torch.rand(count, L + 1, generator=generator)
    for t in range(BACK, L + 1):
        last_b = ids_bl[:, t - 1]
        ways = (next_bv.gather(1, last_b[:, None])[:, 0], ids_bl[:, t - BACK], (last_b + 1) % V)
        below = 0.0
        drawn_b = ids_bl[:, t].clone()
        for way_b, share in zip(ways, (PERMUTED, COPIED, SUCCEEDED), strict=True):
            drawn_b = torch.where((kind_bl[:, t] >= below) & (kind_bl[:, t] < below + share), way_b, drawn_b)
            below += share
        ids_bl[:, t] = drawn_b
    return ids_bl


class Language(nn.Module):
    """A decoder with one mixer a layer; noise or text that a mixer reads runs through the layers beside the tokens."""

    def __init__(self, names: Sequence[str], generator: torch.Generator) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, CHANNELS)
        self.places = nn.Parameter(0.3 * torch.randn(L, CHANNELS))
        made = [mixers.create(name, dims=1, channels=CHANNELS, heads=HEADS, size=(L,), causal=True) for name in names]
        self.guides = [mixer.guide or "" for mixer in made]
        self.blocks = nn.ModuleList(SequenceBlock(mixer, CHANNELS, 2 * CHANNELS) for mixer in made)
        self.norm, self.head = nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, V)
        self.register_buffer("text", torch.randint(V, (1, L), generator=generator))
        self.reads_text = "text" in self.guides

    def forward(self, ids_bl: Tensor, left_out: Sequence[int] = ()) -> Tensor:
        """Logits (B, L, V), without the layers that are left out."""
        if self.reads_text:
            ids_bl = torch.cat([ids_bl, self.get_buffer("text")])
        start_blc = x_blc = self.embedding(ids_bl) + self.places
        for number, block in enumerate(self.blocks):
            if number not in left_out:
                guides = {"start": start_blc, "text": x_blc[-1:]}
                x_blc = block(x_blc, guide_glc=guides.get(self.guides[number]))
        logits_blv: Tensor = self.head(self.norm(x_blc))
        return logits_blv[:-1] if self.reads_text else logits_blv


def loss_of(model: Language, ids_bl: Tensor, left_out: Sequence[int] = ()) -> Tensor:
    """Nats a token, of those from SCORED on."""
    logits_blv = model(ids_bl[:, :-1], left_out)[:, SCORED:]
    return F.cross_entropy(logits_blv.flatten(0, 1), ids_bl[:, SCORED + 1 :].flatten())


def train(names: Sequence[str], seed: int, steps: int = STEPS) -> Language:
    """AdamW with one cycle of its rate; each sequence is seen once."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Language(names, generator)
    drawn = sequences(steps * BATCH, generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.1)
    for ids_bl in torch.split(drawn, BATCH):
        loss = loss_of(model, ids_bl)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def run(seed: int, advance: Advance, steps: int = STEPS) -> Outcome:
    """Train the standard model, each variant in all layers, and the hybrids."""
    tests = sequences(TESTS, torch.Generator().manual_seed(2**31 + seed))

    def trained(names: Sequence[str]) -> Language:
        with torch.enable_grad():
            model = train(names, seed, steps)
        advance()
        return model

    standard = float(loss_of(trained(["softmax"] * DEPTH), tests))
    uniform = {name: float(loss_of(trained([name] * DEPTH), tests)) for name in VARIANTS}
    replaced = range(1, DEPTH, 2)  # the layers that hybrids replace
    hybrids = {
        name: trained([name if layer in replaced else "softmax" for layer in range(DEPTH)])
        for name in ("static", "mlp")
    }
    hybrid = {name: float(loss_of(model, tests)) for name, model in hybrids.items()}
    best = min(uniform["static"], uniform["fixed"])
    measured = {
        "loss, standard": standard,
        **{f"loss, {name} in all layers": loss for name, loss in uniform.items()},
        **{f"loss, hybrid of {name}": loss for name, loss in hybrid.items()},
        "approximate less standard": uniform["approximate"] - standard,
        "static or fixed, the better, less approximate": best - uniform["approximate"],
        "mlp less static or fixed, the worse": uniform["mlp"] - max(uniform["static"], uniform["fixed"]),
        **{
            f"gap of the hybrid over that of all layers, {name}": (hybrid[name] - standard) / (uniform[name] - standard)
            for name in hybrid
        },
        **{
            f"hybrid of {name} without the replaced layer, less with it": float(loss_of(model, tests, replaced))
            - hybrid[name]
            for name, model in hybrids.items()
        },
    }
    return Outcome(measured, {"standard": standard, "uniform": uniform, "hybrid": hybrid})


def draw(figure: "Figure", outcome: Outcome) -> None:
    """The loss of each variant in all layers and in every second one, beside standard attention."""
    figure.set_size_inches(7, 4)
    axes = figure.subplots()
    uniform, hybrid = outcome.shown["uniform"], outcome.shown["hybrid"]
    names = [*uniform]
    axes.bar([n - 0.2 for n in range(len(names))], [*uniform.values()], 0.38, label="in all layers")
    axes.bar([names.index(name) + 0.2 for name in hybrid], [*hybrid.values()], 0.38, label="in every second layer")
    axes.axhline(outcome.shown["standard"], color="black", ls="--", label="standard attention")
    axes.set_xticks(range(len(names)), names)
    axes.set(ylabel="nats a token", ylim=(0.9 * outcome.shown["standard"], 1.15 * max(uniform.values())))
    axes.legend(frameon=False, ncols=3, loc="upper left")


EXPERIMENT = Experiment(
    paper="Deconstructing Attention, arXiv:2510.11602",
    setting=f"a drawn text of {V} tokens, {DEPTH} layers of {CHANNELS} channels, {STEPS} steps on {BATCH} sequences "
    f"of {L} (15 billion tokens in the paper)",
    predictions=(
        Prediction("approximate less standard", -0.02, "table 1: 38.1 to 47.9"),
        Prediction("static or fixed, the better, less approximate", 0.0, "table 1: 47.9 to 79.1"),
        Prediction("mlp less static or fixed, the worse", 0.0, "table 1: 79.9 to 993.5"),
        Prediction("gap of the hybrid over that of all layers, static", 0.2, "table 1", most=True),
        Prediction("gap of the hybrid over that of all layers, mlp", 0.2, "table 1", most=True),
    ),
    steps=7,
    run=run,
    draw=draw,
)
