"""DCAL: the local branch is a block, the pair branch is the transformer, and both do what the paper's formulas say."""

from collections.abc import Iterator

import pytest
import timm
import torch
from tolerances import assert_close
from torch import Tensor, nn

from attn.apps.reid.model import DCAL, VARIANTS, Branch, DCALConfig, chosen, variant
from attn.core import starts
from attn.core.attention.watch import AttentionRecord, intervene, record
from attn.core.blocks.vision import Heads
from attn.core.errors import UsageError
from attn.core.models.onnx import to_onnx

SMALL = {"image_size": (32, 24), "classes": 5}  # 4 x 3 patches


def model_of(**changes: object) -> DCAL:
    """Weights large enough for attention to be uneven, and blocks that differ."""
    torch.manual_seed(0)
    model = DCAL(variant("smallest", **SMALL | changes)).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    return model


def pictures(count: int = 3, seed: int = 1, size: tuple[int, int] = (32, 24)) -> Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def same_branch(one: Branch | None, other: Branch | None) -> None:
    assert one is not None and other is not None
    for mine, theirs in zip(one, other, strict=True):
        assert_close(mine, theirs)


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


# The pair branch


def test_a_pair_with_itself_is_self_attention() -> None:
    """All keys twice. The neck normalises by the batch, in training, as it does for the self branch."""
    model, x = model_of().train(), pictures(4)
    for partners in (x, torch.arange(4)):
        found = model.branches(x, partners)
        same_branch(found.pwca, found.sa)


def masked(seen: AttentionRecord) -> Tensor:
    """The weights without those of the partner's keys."""
    if seen.weights.shape[-1] == 13:
        return seen.weights
    own = seen.weights * (torch.arange(26) < 13)
    return own / own.sum(-1, keepdim=True)


def test_a_masked_partner_is_self_attention() -> None:
    model, x = model_of().train(), pictures(4)
    with intervene(model, {"vit.blocks.*.mixer": masked}):
        found = model.branches(x, pictures(4, seed=2))
    same_branch(found.pwca, found.sa)
    unmasked = model.branches(x, pictures(4, seed=2))
    assert unmasked.pwca is not None and not torch.allclose(unmasked.pwca.logits_bk, unmasked.sa.logits_bk)


def test_the_pass_of_a_pair_written_out() -> None:
    """Both streams advance: image 2 by its own pass, image 1 by one softmax over the keys of both."""
    model, x, y = model_of(), pictures(2), pictures(2, seed=2)
    one, two = (model.vit.tokens(model._normalised(each)) for each in (x, y))
    partners = model._read_partners(y, model.look(one)[0])
    for block, partner in zip(model.vit.blocks, partners, strict=True):
        (q1, k1, v1), (_, k2, v2) = block.read(one), block.read(two)
        assert_close(partner.k_bhmd, k2)
        assert_close(partner.v_bhmd, v2)
        logits = torch.cat([q1 @ k1.mT, q1 @ k2.mT], -1) / 8**0.5
        found = logits.softmax(-1) @ torch.cat([v1, v2], 2)
        one = one + block.mixer.out(found.transpose(1, 2).flatten(2))
        one = one + block.mlp(block.norm2(one))
        two = block(two)
    first = model.vit.tokens(model._normalised(x))
    assert_close(model.look_beside(first, partners), one)


def test_images_share_partners_by_turns() -> None:
    """Image i beside partner i mod M, and partners given as numbers in the batch are those images."""
    model, x = model_of().train(), pictures(6)
    two = pictures(2, seed=2)
    assert_pairs(model, x, two, two.repeat(3, 1, 1, 1))
    order = torch.tensor([3, 2, 5, 4, 1, 0])
    assert_pairs(model, x, order, x[order])


def assert_pairs(model: DCAL, x: Tensor, partners: Tensor, written_out: Tensor) -> None:
    same_branch(model.branches(x, partners).pwca, model.branches(x, written_out).pwca)


def test_storage_is_shared() -> None:
    """A step down the pair's loss alone changes what self-attention says, and the pair has no parameter of its own."""
    model, x = model_of(local=None).train(), pictures(4)
    assert {*model.state_dict()} == {*model_of(local=None, pairs=False).state_dict()}
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = model.branches(x).sa.logits_bk
    found = model.branches(x, pictures(4, seed=2))
    assert found.pwca is not None
    found.pwca.logits_bk.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    optimizer.step()
    assert not torch.allclose(model.branches(x).sa.logits_bk, before)


def test_no_gradient_goes_to_the_partner() -> None:
    model, x, y = model_of().train(), pictures(4).requires_grad_(), pictures(4, seed=2).requires_grad_()
    found = model.branches(x, y)
    assert found.pwca is not None
    found.pwca.features_bc.square().sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0 and y.grad is None


def test_the_pair_leaves_no_trace_in_the_neck() -> None:
    """The neck's running averages are those of the self branch, which is what predictions use."""
    plain, paired, x = model_of().train(), model_of().train(), pictures(4)
    plain.branches(x)
    paired.branches(x, pictures(4, seed=2))
    for name, value in plain.state_dict().items():
        assert torch.equal(paired.state_dict()[name], value), name


@pytest.fixture
def without_pairs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(*_: object) -> None:
        raise AssertionError("the pair branch ran")

    monkeypatch.setattr(DCAL, "look_beside", fail)
    monkeypatch.setattr(Heads, "beside", fail)
    yield


@pytest.mark.usefixtures("without_pairs")
def test_evaluation_never_runs_the_pair_branch() -> None:
    model, x = model_of(), pictures()
    with torch.inference_mode(), record(model) as seen:
        model.embed(x)
        model.probabilities(x)
    assert {seen[site].weights.shape[-1] for site in seen} == {13}
    with pytest.raises(AssertionError, match="pairs are for training"):
        model.branches(x, x)


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


def test_the_hybrid_begins_from_the_bundled_weights() -> None:
    torch.manual_seed(0)
    model = DCAL(variant("hybrid", image_size=(64, 32), depth=1)).train()
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
    with pytest.raises(UsageError, match="no DCAL called 'huge'; there are lite0, hybrid, deit_tiny, smallest"):
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


def test_without_blocks_the_shares_add_up_and_all_patches_reach_the_answer_alike() -> None:
    torch.manual_seed(0)
    model, x = DCAL(variant("lite0", image_size=(64, 96))).eval(), pictures(2, size=(64, 96))
    starts.begin(model, "lite0")
    with torch.inference_mode():
        shares = model.shares(x)
        assert shares.shape == (2, 6, 192)
        assert_close(shares.sum(1), model(x))
        assert_close(model.rollout(x), torch.full((2, 6), 1 / 6))
