"""DCAL: the local branch is a block, embeddings and shares are what they say, and variants can be built."""

import pytest
import timm
import torch
from dcal_fixtures import model_of, pictures, same_branch
from tolerances import assert_close
from torch import nn

from attn.apps.reid.model import DCAL, chosen
from attn.apps.reid.variants import VARIANTS, DCALConfig, variant
from attn.core import starts
from attn.core.attention.watch import record
from attn.core.errors import UsageError
from attn.core.models.onnx import to_onnx

# The local branch


def test_rows_are_ranked_by_the_rollout_of_the_recorded_weights() -> None:
    """Against S̄_n ... S̄_1 as a product of matrices, made of what `record` sees."""
    model, x = model_of(depth=3, local=0.5), pictures()
    with torch.inference_mode(), record(model) as seen:
        model(x)
    whole = torch.eye(13).expand(3, -1, -1)
    for layer in range(3):
        weights = seen[f"vit.blocks.{layer}.mixer"].weights.mean(1)
        whole = (0.5 * weights + 0.5 * torch.eye(13)) @ whole
    assert_close(whole.sum(2), torch.ones(3, 13))
    best = whole[:, 0, 1:].argsort(descending=True)[:, :6] + 1
    local = seen["local.mixer"]
    assert local.weights.shape == (3, 2, 7, 13)
    assert torch.equal(local.query_positions[:, 0], torch.cat([torch.zeros(3, 1, dtype=torch.int64), best], 1))


def test_all_rows_are_a_plain_block() -> None:
    model, x = model_of(local=1.0), pictures()
    with torch.inference_mode():
        _, tokens = model.look(model.vit.tokens(model._normalised(x)))
        plain = model.local_head(model.local_norm(model.local(tokens))[:, 0])
        same_branch(model.branches(x).glca, plain)


def test_only_the_chosen_rows_are_computed() -> None:
    """One in twelve patches: the MLP sees two rows, as does the layer after the attention."""
    model = model_of(local=0.1)
    rows = []
    for layer in (model.local.mixer.out, model.local.mlp[0], model.local_norm):
        layer.register_forward_hook(lambda _, inputs, __: rows.append(inputs[0].shape[1]))
    with torch.inference_mode():
        model(pictures())
    assert rows == [2, 2, 2]


def test_the_number_of_rows() -> None:
    assert [chosen(0.1, 784), chosen(0.3, 128), chosen(0.3, 256)] == [78, 38, 76]  # the paper's sizes
    assert [chosen(0.29, 100), chosen(1.0, 7), chosen(0.01, 12)] == [29, 7, 1]


def test_the_local_block_begins_as_the_last() -> None:
    torch.manual_seed(0)
    model = DCAL(variant("smallest"))
    for name, value in model.vit.blocks[-1].state_dict().items():
        assert torch.equal(model.local.state_dict()[name], value)
    mine, theirs = model.local.parameters(), model.vit.blocks[-1].parameters()
    assert not {id(p) for p in mine} & {id(p) for p in theirs}


def test_what_the_local_branch_adds() -> None:
    """A block, a norm and a head: 12 C² + 13 C, 2 C, and 2 C + K C."""
    with torch.device("meta"):
        count = {local: sum(p.numel() for p in DCAL(variant("deit_tiny", local=local, classes=7)).parameters())
                 for local in (None, 0.3)}  # fmt: skip
    assert count[0.3] - count[None] == 444_864 + 2 * 192 + 2 * 192 + 7 * 192


def test_the_ranking_has_no_gradient_and_the_local_branch_reaches_all_below_it() -> None:
    model = model_of().train()
    found = model.branches(pictures())
    assert found.glca is not None
    found.glca.logits_bk.square().sum().backward()
    without = {name for name, p in model.named_parameters() if p.grad is None and p.requires_grad}
    # A last norm of its own: the transformer's and its head teach the self branch alone.
    assert without == {"vit.norm.weight", "vit.norm.bias", "head.neck.weight", "head.classifier.weight"}


# What comes out


def test_embeddings_are_two_halves_of_one_length() -> None:
    model, x = model_of(), pictures()
    with torch.inference_mode():
        both, alone, found = model.embed(x), model.embed(x, sa_only=True), model.branches(x)
    assert both.shape == (3, 32) and alone.shape == (3, 16)
    assert_close(both.norm(dim=1), torch.ones(3))
    assert_close(both[:, :16].norm(dim=1), both[:, 16:].norm(dim=1))
    assert_close(both[:, :16] * 2**0.5, alone)
    assert_close(alone, nn.functional.normalize(found.sa.necked_bc))
    assert not torch.allclose(both[:, :16], both[:, 16:], atol=0.01)


def test_probabilities_are_added() -> None:
    model, x = model_of(task="classify"), pictures()
    with torch.inference_mode():
        found, p = model.branches(x), model.probabilities(x)
        assert found.glca is not None
        assert_close(p, (found.sa.logits_bk.softmax(1) + found.glca.logits_bk.softmax(1)) / 2)
        assert_close(model.probabilities(x, sa_only=True), found.sa.logits_bk.softmax(1))
    assert torch.equal(found.sa.necked_bc, found.sa.features_bc)  # no neck


def test_self_attention_alone_runs_no_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a rollout ran")

    monkeypatch.setattr(DCAL, "choose", fail)
    with torch.inference_mode():
        model_of().embed(pictures(), sa_only=True)
        assert model_of(local=None).embed(pictures()).shape == (3, 16)


def test_a_mean_of_patches() -> None:
    """The rollout begins at all patches alike; the class token is not in the features."""
    model, x = model_of(pool="mean", local=0.5), pictures()
    with torch.inference_mode(), record(model) as seen:
        found = model.branches(x)
        tokens = model.vit(model._normalised(x))
    assert_close(found.sa.features_bc, tokens[:, 1:].mean(1))
    whole = torch.eye(13).expand(3, -1, -1)
    for layer in range(2):
        whole = (0.5 * seen[f"vit.blocks.{layer}.mixer"].weights.mean(1) + 0.5 * torch.eye(13)) @ whole
    best = whole[:, 1:].mean(1)[:, 1:].argsort(descending=True)[:, :6] + 1
    assert torch.equal(seen["local.mixer"].query_positions[:, 0, 1:], best)


@pytest.mark.parametrize("local", [None, 0.5])
def test_shares_of_patches_are_the_embedding(local: float | None) -> None:
    model = model_of(pool="mean", local=local).train()
    model.branches(pictures(8, seed=3))  # so that the necks have averages
    model.eval()
    with torch.inference_mode():
        one, two = model.shares(pictures()), model.shares(pictures(seed=2))
        assert_close(one.sum(1), model.embed(pictures()))
        cosines = torch.einsum("bnf,bmf->bnm", one, two).sum((1, 2))
        assert_close(cosines, (model.embed(pictures()) * model.embed(pictures(seed=2))).sum(1))
    with pytest.raises(UsageError, match="its class token"):
        model_of().shares(pictures())


def test_watching_changes_nothing() -> None:
    model, x = model_of(), pictures()
    with torch.inference_mode():
        plain = model(x)
        with record(model, heads="*", outputs="*"):
            assert_close(model(x), plain)


def test_other_sizes_and_bfloat16() -> None:
    model = model_of()
    with torch.inference_mode():
        assert model(pictures(size=(48, 40))).isfinite().all()
        wanted = model(pictures())
        half = model.bfloat16()(pictures().bfloat16())
    assert half.dtype == torch.bfloat16 and (half.float() * wanted).sum(1).min() > 0.99


# Variants


@pytest.mark.parametrize(("name", "grid"), [("hybrid", (2, 1)), ("hybrid16", (4, 2))])
def test_the_hybrid_begins_from_the_bundled_weights(name: str, grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = DCAL(variant(name, image_size=(64, 32), depth=1)).train()
    assert model.config.grid == grid
    names = starts.begin(model, "lite0")
    assert names and all(name.startswith("vit.patches.body.") for name in names)
    found = model.branches(pictures(4, size=(64, 32)), pictures(2, seed=2, size=(64, 32)))
    assert found.glca is not None and found.pwca is not None
    sum(branch.logits_bk.square().sum() for branch in found if branch).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_deit_tiny_begins_from_timm() -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("deit_tiny_patch16_224", depth=2).eval()
    model = DCAL(variant("deit_tiny", depth=2, local=0.1)).eval()
    model.begin_from_timm(theirs.state_dict())
    x = pictures(2, size=(224, 224))
    mean, std = (torch.tensor(theirs.default_cfg[name])[:, None, None] for name in ("mean", "std"))
    with torch.inference_mode():
        assert_close(model.branches(x).sa.features_bc, theirs.forward_features((x - mean) / std)[:, 0])
    assert torch.equal(model.local.mlp[0].weight, theirs.blocks[-1].mlp.fc1.weight)


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_can_be_built(name: str) -> None:
    with torch.device("meta"):
        model = DCAL(VARIANTS[name])
    assert sum(p.numel() for p in model.parameters()) < 7e6
    assert DCALConfig(**model.config.model_dump(mode="json")) == model.config


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["class", "mean"])
def test_onnx(pool: str, tmp_path) -> None:
    assert to_onnx(model_of(pool=pool), pictures(), tmp_path / "model.onnx", input_name="image") < 1e-4


def test_what_cannot_be() -> None:
    there = "lite0, hybrid, hybrid16, deit_tiny, smallest"
    with pytest.raises(UsageError, match=f"no DCAL called 'huge'; there are {there}"):
        variant("huge")
    with pytest.raises(UsageError, match="an image of 100 x 160 cannot be cut into patches of 32"):
        variant("hybrid", image_size=(100, 160))
    with pytest.raises(UsageError, match="a width of 100 cannot be split into 3 heads"):
        variant("hybrid", width=100)
    with pytest.raises(UsageError, match="local must be less than or equal to 1"):
        variant("hybrid", local=30)
    with pytest.raises(UsageError, match="without blocks there is the mean of a hybrid's patches"):
        variant("lite0", pairs=True)
    with pytest.raises(UsageError, match="EfficientNet-Lite0 has 1280 channels"):
        variant("lite0", width=1536)
    with pytest.raises(UsageError, match="EfficientNet-Lite0 has 112 channels"):
        variant("hybrid16", width=192)


def test_without_blocks_the_shares_add_up_and_all_patches_reach_the_answer_alike() -> None:
    torch.manual_seed(0)
    model, x = DCAL(variant("lite0", image_size=(64, 96))).eval(), pictures(2, size=(64, 96))
    starts.begin(model, "lite0")
    with torch.inference_mode():
        shares = model.shares(x)
        assert shares.shape == (2, 6, 192)
        assert_close(shares.sum(1), model(x))
        assert_close(model.rollout(x), torch.full((2, 6), 1 / 6))
