"""The pair branch of DCAL is the transformer itself, trains alone, and does what the paper's formulas say."""

from collections.abc import Iterator

import pytest
import torch
from dcal_fixtures import model_of, pictures, same_branch
from tolerances import assert_close
from torch import Tensor

from attn.apps.reid.model import DCAL
from attn.core.attention.watch import AttentionRecord, intervene, record
from attn.core.blocks.vision import Heads


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
