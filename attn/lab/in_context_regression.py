"""In-Context Linear Regression Demystified (arXiv:2503.12734): heads of softmax attention that learn to regress.

    TF = Σ_h OV_h Z softmax(Zᵀ KQ_h x_q / sqrt(C)),    Z = columns (x_i, y_i),  y_i = β·x_i + noise,  β ~ N(0, I/D)

Trained heads come to KQ_h ≈ sqrt(C) w_h I on x, and an OV_h that is μ_h at y and 0 elsewhere. For such heads, many
examples and many dimensions the loss is (S2: variance of the noise)

    1 + S2 - 2 μ·w + μᵀ (w wᵀ + (1 + S2)/L exp(D w wᵀ)) μ.

Its minimum is 1 + S2 - 1/(1 + e D (1 + S2)/L) for one head, at w = 1/sqrt(D). Two heads come close to
1 + S2 - 1/(1 + (1 + S2) D/L) with opposite signs, Σ μ = 0, small w and 2 w μ = 1/(1 + (1 + S2) D/L): they are a step
of gradient descent without its bias, t/L Σ y_i (x_i - mean x)·x_q. By the moments of Wishart matrices the loss of that
predictor at L examples is, exactly,

    1 + S2 - 2 t n/L + t² n/L² (n + 1 + D + S2 D),    n = L - 1.

With N tasks that read different parts of x, heads of small w are linear: output n is Σ_h μ_hn (mean y + moments
weighted by w_h). The rows (1, w_h of each part) of N + 1 heads can be inverted, so that N + 1 heads give every task its
own debiased step: tasks share them (superposition), where a pair of heads for each task would be 2 N.

Shapes: B prompts, L examples, D dimensions of x, N tasks, C = D + N, H heads.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from attn.lab.experiment import REFERENCE, Advance, Experiment, Outcome, Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

D, L, S2 = 5, 40, 0.1
LENGTHS = {20: 0.367, 40: 0.245, 80: 0.182, 160: 0.149}  # of prompts, with the losses of the reference run
ONE_TASK = ((0, 1, 2, 3, 4),)
TWO_TASKS = ((0, 1, 2), (3, 4, 5))  # the part of x that each reads
STEPS, BATCH, RATE = 3000, 256, 1e-2
PROMPTS = 100_000  # that measure a loss
CONSTRUCTED_W = 0.1


class Prompts(NamedTuple):
    """z_blc: examples; x_bd: the query; y_bn: what is asked for, with its noise."""

    z_blc: Tensor
    x_bd: Tensor
    y_bn: Tensor


@dataclass(frozen=True)
class Heads:
    """kq_hcd: its last N rows meet y; ov_hnc: its last N columns read y."""

    kq_hcd: Tensor
    ov_hnc: Tensor

    def __call__(self, z_blc: Tensor, x_bd: Tensor) -> Tensor:
        """The prediction (B, N)."""
        scores_bhl = torch.einsum("hcd,bd->bhc", self.kq_hcd, x_bd) @ z_blc.mT / z_blc.shape[-1] ** 0.5
        y_bn: Tensor = torch.einsum("bhc,hnc->bn", scores_bhl.softmax(-1) @ z_blc, self.ov_hnc)
        return y_bn

    @property
    def w_hd(self) -> Tensor:
        """The diagonals of KQ over sqrt(C)."""
        return self.kq_hcd.diagonal(dim1=1, dim2=2) / math.sqrt(self.kq_hcd.shape[1])

    @property
    def mu_hn(self) -> Tensor:
        """What each head adds to each output of that output's own y."""
        return self.ov_hnc[..., self.kq_hcd.shape[2] :].diagonal(dim1=1, dim2=2)


def draw_prompts(count: int, length: int, tasks: Sequence[Sequence[int]], generator: torch.Generator) -> Prompts:
    """Prompts, each with its own coefficients; those of a task have together a variance of 1."""
    dims = 1 + max(max(part) for part in tasks)
    x_bld = torch.randn(count, length + 1, dims, generator=generator)
    beta_bnd = torch.zeros(count, len(tasks), dims)
    for n, part in enumerate(tasks):
        beta_bnd[:, n, list(part)] = torch.randn(count, len(part), generator=generator) / len(part) ** 0.5
    noise_bln = S2**0.5 * torch.randn(count, length + 1, len(tasks), generator=generator)
    y_bln = x_bld @ beta_bnd.mT + noise_bln
    return Prompts(torch.cat([x_bld, y_bln], -1)[:, :length], x_bld[:, length], y_bln[:, length])


def train(
    heads: int, tasks: Sequence[Sequence[int]], seed: int, steps: int = STEPS, signs: Sequence[int] = ()
) -> Heads:
    """Adam from small random heads; `signs`, of each head, put KQ = ± 0.1 sqrt(C) I and OV = ± 1 below the noise.

    Two heads from random starts can come to have the same sign, and then stay at the loss of one.
    """
    generator = torch.Generator().manual_seed(seed)
    dims = 1 + max(max(part) for part in tasks)
    channels = dims + len(tasks)
    kq_hcd = 0.02 * channels**0.5 * torch.randn(heads, channels, dims, generator=generator)
    ov_hnc = 0.02 * torch.randn(heads, len(tasks), channels, generator=generator)
    for h, sign in enumerate(signs):
        kq_hcd[h, :dims] += sign * 0.1 * channels**0.5 * torch.eye(dims)
        ov_hnc[h, :, dims:] += sign * torch.eye(len(tasks))
    made = Heads(kq_hcd.requires_grad_(), ov_hnc.requires_grad_())
    optimizer = torch.optim.Adam([kq_hcd, ov_hnc], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        prompts = draw_prompts(BATCH, L, tasks, generator)
        loss = (made(prompts.z_blc, prompts.x_bd) - prompts.y_bn).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return Heads(kq_hcd.detach(), ov_hnc.detach())


def loss_of(heads: Heads, tasks: Sequence[Sequence[int]], length: int = L, prompts: int = PROMPTS) -> float:
    """The mean squared error over new prompts and all tasks."""
    generator = torch.Generator().manual_seed(2**31 + length)
    errors = []
    for _ in range(max(prompts // 10_000, 1)):
        drawn = draw_prompts(min(prompts, 10_000), length, tasks, generator)
        errors.append((heads(drawn.z_blc, drawn.x_bd) - drawn.y_bn).square().mean())
    return float(torch.stack(errors).mean())


def best_step(dims: int = D, length: int = L) -> float:
    """t, the best step of debiased gradient descent, and 2 w μ of two heads."""
    return 1 / (1 + (1 + S2) * dims / length)


def debiased_loss(dims: int = D, length: int = L, step: float | None = None) -> float:
    """The loss of debiased gradient descent with a step, or with the best one."""
    t, n = best_step(dims, length) if step is None else step, length - 1
    return 1 + S2 - 2 * t * n / length + t**2 * n / length**2 * (n + 1 + dims + S2 * dims)


def reduced_loss(w_h: Tensor, mu_h: Tensor) -> Tensor:
    """The loss of heads with these w and μ, for many examples and dimensions."""
    products_hh = torch.outer(w_h, w_h)
    return 1 + S2 - 2 * mu_h @ w_h + mu_h @ (products_hh + (1 + S2) / L * (D * products_hh).exp()) @ mu_h


def flow(w_h: Sequence[float], mu_h: Sequence[float], steps: int = 10_000, rate: float = 0.02) -> float:
    """The reduced loss after gradient descent from here."""
    w, mu = (torch.tensor(values, requires_grad=True) for values in (w_h, mu_h))
    for _ in range(steps):
        towards = torch.autograd.grad(reduced_loss(w, mu), (w, mu))
        with torch.no_grad():
            w -= rate * towards[0]
            mu -= rate * towards[1]
    return float(reduced_loss(w, mu).detach())


def constructed(w: float = CONSTRUCTED_W) -> Heads:
    """Two heads with w and -w, and the best 2 w μ."""
    signs_h = torch.tensor([1.0, -1.0])
    ov_hnc = torch.zeros(2, 1, D + 1)
    ov_hnc[:, 0, D] = signs_h * best_step() / (2 * w)
    return Heads(signs_h[:, None, None] * w * (D + 1) ** 0.5 * torch.eye(D + 1, D), ov_hnc)


def debiased_step(prompts: Prompts, step: float) -> Tensor:
    """t/L Σ y_i (x_i - mean x)·x_q, (B, 1)."""
    x_bld, y_bl1 = prompts.z_blc[..., :-1], prompts.z_blc[..., -1:]
    moment_bd = ((x_bld - x_bld.mean(1, keepdim=True)) * y_bl1).mean(1)
    return step * (moment_bd * prompts.x_bd).sum(-1, keepdim=True)


def ridge(prompts: Prompts) -> Tensor:
    """The prediction of Bayes, whose prior is that of β, (B, 1)."""
    x_bld, y_bl1 = prompts.z_blc[..., :-1], prompts.z_blc[..., -1:]
    dims = x_bld.shape[-1]
    beta_bd1 = torch.linalg.solve(x_bld.mT @ x_bld + S2 * dims * torch.eye(dims), x_bld.mT @ y_bl1)
    y_bn: Tensor = (beta_bd1[..., 0] * prompts.x_bd).sum(-1, keepdim=True)
    return y_bn


def run(seed: int, advance: Advance, steps: int = STEPS, prompts: int = PROMPTS) -> Outcome:
    """Closed forms, heads that are put together by hand, and heads that are trained."""
    measured = {
        "reduced loss, one head": flow([0.5], [1.0]),
        "reduced loss, two heads from (+, -)": flow([0.5, -0.5], [1.0, -1.0]),
        "reduced loss, two heads from (+, +)": flow([0.5, 0.4], [1.0, 0.8]),
    }
    drawn = draw_prompts(prompts, L, ONE_TASK, torch.Generator().manual_seed(seed))
    by_heads, by_descent = constructed()(drawn.z_blc, drawn.x_bd), debiased_step(drawn, best_step())
    measured |= {
        "loss, two heads by hand": float((by_heads - drawn.y_bn).square().mean()),
        "squared difference from debiased descent, relative": float(
            (by_heads - by_descent).square().mean() / by_descent.square().mean()
        ),
        "loss, Bayes": float((ridge(drawn) - drawn.y_bn).square().mean()),
    }
    advance()
    one = train(1, ONE_TASK, seed, steps, signs=(1,))
    advance()
    two = train(2, ONE_TASK, seed, steps, signs=(1, -1))
    advance()
    w_h, mu_h = two.w_hd.mean(1), two.mu_hn[:, 0]
    off = two.kq_hcd[:, :D] - torch.diag_embed(two.kq_hcd.diagonal(dim1=1, dim2=2))
    lengths = {length: loss_of(two, ONE_TASK, length, prompts) for length in LENGTHS}
    measured |= {
        "loss, one trained head": loss_of(one, ONE_TASK, L, prompts),
        "w of one trained head times that of the other": float(w_h.prod()),
        "w·μ of two trained heads": float(w_h @ mu_h),
        "sum of μ over its largest": float(mu_h.sum() / mu_h.abs().max()),
        "largest entry of KQ beside the diagonal, relative": float(off.abs().max() / two.kq_hcd.abs().max()),
        **{f"loss, two trained heads, {length} examples": loss for length, loss in lengths.items()},
    }
    shared = {}
    for heads in (2, 3, 4):
        shared[heads] = train(heads, TWO_TASKS, seed, steps)
        measured[f"loss, two tasks, {heads} heads"] = loss_of(shared[heads], TWO_TASKS, L, prompts)
        advance()
    fewer = measured["loss, two tasks, 2 heads"] - measured["loss, two tasks, 3 heads"]
    least_h, most_h = (shared[3].mu_hn.abs().amin(1), shared[3].mu_hn.abs().amax(1))
    measured |= {
        "loss, two tasks, 2 heads less 3": fewer,
        "heads of 3 that serve both tasks": float((least_h > most_h / 4).sum()),
    }
    return Outcome(measured, {"two": two, "lengths": lengths, "shared": shared[3]})


def draw(figure: "Figure", outcome: Outcome) -> None:
    """KQ of both trained heads, the loss over longer prompts, and three heads that two tasks share."""
    figure.set_size_inches(14, 3.8)
    panels = figure.subplots(1, 4)
    two, shared, lengths = outcome.shown["two"], outcome.shown["shared"], outcome.shown["lengths"]
    most = float(two.kq_hcd.abs().max())
    for h, axes in enumerate(panels[:2]):
        axes.imshow(two.kq_hcd[h], cmap="RdBu_r", vmin=-most, vmax=most)
        axes.set(title=f"KQ of head {h + 1}, μ = {float(two.mu_hn[h, 0]):+.2f}", xlabel="x of the query")
        axes.set_yticks(range(D + 1), [*(f"x{k + 1}" for k in range(D)), "y"])
        axes.set_xticks(range(D), [str(k + 1) for k in range(D)])
    panels[2].plot([*lengths], [*lengths.values()], "o", color="black", label="two trained heads")
    every = range(min(lengths), max(lengths) + 1)
    panels[2].plot(every, [debiased_loss(D, length, best_step()) for length in every], label="debiased descent")
    panels[2].set(xscale="log", xlabel="examples in the prompt (trained on 40)", ylabel="loss", title="longer prompts")
    panels[2].set_xticks([*lengths], [str(length) for length in lengths], minor=False)
    panels[2].minorticks_off()
    panels[2].legend(frameon=False)
    for h, (w_d, mu_n) in enumerate(zip(shared.w_hd, shared.mu_hn, strict=True)):
        place = [float(w_d[list(part)].mean()) for part in TWO_TASKS]
        panels[3].plot(*place, "o", color=f"C{h}")
        label = f"head {h + 1}: μ = ({float(mu_n[0]):+.1f}, {float(mu_n[1]):+.1f})"
        panels[3].annotate("", [at + 0.06 * float(m) for at, m in zip(place, mu_n, strict=True)], place,
                           arrowprops={"arrowstyle": "->", "color": f"C{h}"})  # fmt: skip
        panels[3].plot([], [], "o", color=f"C{h}", label=label)
    panels[3].axhline(0, lw=0.5, color="0.7")
    panels[3].axvline(0, lw=0.5, color="0.7")
    panels[3].set(
        xlabel="w on the part of task 1", ylabel="w on the part of task 2", title="2 tasks share 3 heads (arrows: μ)",
        xlim=(-0.5, 0.5), ylim=(-0.5, 0.7),
    )  # fmt: skip
    panels[3].legend(frameon=False, fontsize=8, loc="upper right")


OWN_PARTS = debiased_loss(len(TWO_TASKS[0]))
EXPERIMENT = Experiment(
    paper="In-Context Linear Regression Demystified, arXiv:2503.12734",
    setting=f"{D} dimensions, {L} examples, noise of variance {S2}; {STEPS} steps of Adam on {BATCH} prompts (500,001 "
    f"in the paper), heads that begin with opposite signs; two tasks on 3 dimensions each",
    predictions=(
        Prediction("reduced loss, one head", 0.372, "closed form", 0.001),
        Prediction("reduced loss, two heads from (+, -)", 0.221, "closed form", 0.003),
        Prediction("reduced loss, two heads from (+, +)", 0.372, "closed form of one head", 0.003),
        Prediction("loss, two heads by hand", 0.244, REFERENCE, 0.006),
        Prediction("squared difference from debiased descent, relative", 5e-4, REFERENCE, most=True),
        Prediction("loss, Bayes", 0.1148, REFERENCE, 0.003),
        Prediction("loss, one trained head", 0.404, REFERENCE, 0.01),
        Prediction("w of one trained head times that of the other", 0.0, "opposite signs", most=True),
        Prediction("w·μ of two trained heads", best_step(), "closed form", 0.03),
        Prediction("sum of μ over its largest", 0.0, "zero-sum OV", 0.03),
        Prediction("largest entry of KQ beside the diagonal, relative", 0.05, "diagonal KQ", most=True),
        *(
            Prediction(f"loss, two trained heads, {length} examples", loss, REFERENCE, 0.01)
            for length, loss in LENGTHS.items()
        ),
        Prediction("loss, two tasks, 3 heads", OWN_PARTS, "N + 1 heads are enough", 0.02),
        Prediction("loss, two tasks, 4 heads", OWN_PARTS, "two pairs", 0.01),
        Prediction("loss, two tasks, 2 heads less 3", 0.03, "N + 1 heads are enough"),
        Prediction("heads of 3 that serve both tasks", 1.0, "superposition"),
    ),
    steps=6,
    run=run,
    draw=draw,
)
