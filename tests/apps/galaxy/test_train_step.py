"""The training step: its loss in closed form, what it does with unknown targets, and what reaches the network."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attn.apps.galaxy.augment import AugmentConfig
from attn.apps.galaxy.data import stratified_split
from attn.apps.galaxy.preprocess import Preprocessing
from attn.apps.galaxy.train import GalaxyModule, Recipe, make_module, prepare, resize
from attn.data_adapters.images.labelled import LabelledImages

PLAIN = AugmentConfig(scale=(1, 1), shift=0, stretch=0, photometric=0, grey=0, noise=0, erase=0, mix_probability=0)
SHARE = torch.tensor([0.7, 0.2, 0.1])


class Constant(nn.Module):
    """A network that has made up its mind: the same features for every image; logits are the features' first three."""

    def __init__(self, features: tuple[float, ...]) -> None:
        super().__init__()
        self.features = nn.Parameter(torch.tensor(features))
        self.seen: list[Tensor] = []

    def embed(self, x_bchw: Tensor) -> Tensor:
        self.seen.append(x_bchw)
        return self.features.expand(len(x_bchw), -1)

    def classify(self, features_bf: Tensor) -> Tensor:
        return features_bf[:, :3]


def module(recipe: Recipe, further: int = 0, side: int = 8) -> tuple[GalaxyModule, dict[str, Any]]:
    """A module around `Constant`, and what it logs."""
    torch.manual_seed(0)
    preprocessing = Preprocessing(side=side, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    made = GalaxyModule(Constant((2.0, -1.0, 0.5, 3.0)), preprocessing, recipe, SHARE, features=4, further=further)
    logged: dict[str, Any] = {}
    made.log = lambda name, value, **_: logged.update({name: value})
    return made, logged


def batch(targets: list[list[float]], value: int = 127) -> tuple[Tensor, Tensor]:
    return torch.full((len(targets), 11, 11, 3), value, dtype=torch.uint8), torch.tensor(targets)


@pytest.mark.parametrize("balance", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_cross_entropy_with_the_prior_added(balance: float, smoothing: float) -> None:
    step, logged = module(Recipe(augment=PLAIN, balance=balance, label_smoothing=smoothing))
    loss = step.training_step(batch([[1, 0, 0], [0, 0, 1.0]]), 0)
    logits = torch.tensor([[2.0, -1.0, 0.5]] * 2) + balance * SHARE.log()
    expected = F.cross_entropy(logits, torch.tensor([0, 2]), label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)
    assert logged["train_loss"] is loss


def test_a_label_that_leaves_a_choice_is_learned_as_half_of_each() -> None:
    step, _ = module(Recipe(augment=PLAIN, balance=0, label_smoothing=0))
    loss = step.training_step(batch([[0.5, 0.5, 0]]), 0)
    assert float(loss.detach()) == pytest.approx(
        -(0.5 * 2 + 0.5 * -1) + math.log(sum(math.exp(z) for z in (2, -1, 0.5)))
    )


def test_unknown_further_targets_weigh_nothing() -> None:
    nan = torch.nan
    step, _ = module(Recipe(augment=PLAIN, further=3.0), further=2)
    without = step.training_step(batch([[1, 0, 0, nan, nan], [0, 1, 0, nan, nan]]), 0)
    some = step.training_step(batch([[1, 0, 0, nan, 0.25], [0, 1, 0, 1, nan]]), 0)
    z = step.further(step.model.features)
    each = F.binary_cross_entropy_with_logits(z.flip(0), torch.tensor([0.25, 1.0]), reduction="none")
    torch.testing.assert_close(some - without, 3 * each.mean())
    some.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in step.parameters())


def test_what_the_network_sees_is_normalised_and_of_the_models_side() -> None:
    step, _ = module(Recipe(augment=PLAIN))
    step.training_step(batch([[1.0, 0, 0]], value=255), 0)
    step.validation_step(batch([[1.0, 0, 0]], value=0), 0)
    first, second = step.model.seen
    torch.testing.assert_close(first, torch.full((1, 3, 8, 8), 2.0))
    torch.testing.assert_close(second, torch.full((1, 3, 8, 8), -2.0))


def test_validation_is_measured_without_smoothing_and_by_class() -> None:
    step, logged = module(Recipe(balance=0.4))
    step.validation_step(batch([[1, 0, 0], [1, 0, 0], [0, 1.0, 0]]), 0)
    logits = torch.tensor([[2.0, -1.0, 0.5]] * 3) + 0.4 * SHARE.log()
    torch.testing.assert_close(logged["val_loss"], F.cross_entropy(logits, torch.tensor([0, 0, 1])))
    assert float(logged["val_balanced_accuracy"].compute()) == pytest.approx(0.5)


def test_rate_follows_the_square_root_of_the_batch() -> None:
    assert Recipe(learning_rate=2e-3, batch_size=256).effective_learning_rate == pytest.approx(2e-3)
    assert Recipe(learning_rate=2e-3, batch_size=64).effective_learning_rate == pytest.approx(1e-3)


class OneClassMore:
    """A labelled set with a class that no row has, as a part of Galaxy10 may have."""

    def __init__(self, source: LabelledImages) -> None:
        self.source, self.ids, self.labels = source, source.ids, source.labels
        self.classes = [*source.classes, "merger"]
        self.read, self.column, self.fingerprint = source.read, source.column, source.fingerprint


def test_everything_is_trained_and_only_weights_of_layers_decay() -> None:
    made, _ = module(Recipe(), further=5)
    made.trainer = SimpleNamespace(estimated_stepping_batches=10)
    decayed, plain = made.configure_optimizers()["optimizer"].param_groups
    assert {id(p) for p in decayed["params"] + plain["params"]} == {id(p) for p in made.parameters()}
    assert [id(p) for p in decayed["params"]] == [id(made.further.weight)]
    assert plain["weight_decay"] == 0


def test_weights_of_a_shared_start_learn_more_slowly() -> None:
    made, _ = module(Recipe(pretrained=0.3), further=5)
    made.started = {"model.features"}
    made.trainer = SimpleNamespace(estimated_stepping_batches=10)
    groups = made.configure_optimizers()["optimizer"].param_groups
    rate = {id(p): group["initial_lr"] for group in groups for p in group["params"]}
    assert rate.keys() == {id(p) for p in made.parameters()}
    assert rate[id(made.model.features)] == pytest.approx(0.3 * rate[id(made.further.weight)])


def test_a_class_without_rows_does_not_break_the_loss(labelled: LabelledImages) -> None:
    source = OneClassMore(labelled)
    recipe = Recipe(augment=PLAIN, balance=1.0)
    data, preprocessing = prepare(source, stratified_split(source.labels), 8, recipe, seed=0)
    step = make_module(Constant((0.0, 1.0, 2.0, 3.0)), 4, data, preprocessing, recipe, classes=4)
    assert step.log_prior.isfinite().all()
    torch.testing.assert_close(step.log_prior[:3].exp(), torch.full((3,), 1 / 3))
    step.model.classify = lambda features: features
    step.log = lambda *_, **__: None
    pixels, target = data.train_set[0]
    assert step.training_step((pixels[None], target[None]), 0).isfinite()


def test_resizing_keeps_the_mean_and_does_not_alias() -> None:
    checks = (torch.arange(44)[:, None] + torch.arange(44)).remainder(2).float().expand(1, 3, 44, 44)
    small = resize(checks, 16)
    assert small.shape == (1, 3, 16, 16)
    torch.testing.assert_close(small, torch.full_like(small, 0.5), atol=0.1, rtol=0)
