"""`record` and `intervene`: they see and change what is used, and nothing else."""

import copy
import threading

import pytest
import torch
from torch import nn

from attn.core.attention.attend import attend, merge_heads, mix, split_heads, weigh
from attn.core.attention.relative import Relative
from attn.core.attention.watch import AttentionRecord, Geometry, SiteError, intervene, record
from attn.core.errors import AttnError
from attn.core.mixers import create
from attn.core.models.onnx import write_onnx


class Stack(nn.Module):
    """Three mixers with different windows; the first is used `turns` times."""

    def __init__(self, turns=1):
        super().__init__()
        common = {"dims": 2, "channels": 8, "heads": 2, "size": (5, 6)}
        self.turns = turns
        self.blocks = nn.ModuleList(
            [
                create("relative", **common),
                create("halo", **common, block=2, halo=1),
                create("neighborhood", **common, kernel=3),
            ]
        )

    def forward(self, x):
        for _ in range(self.turns):
            x = x + self.blocks[0](x)
        return x + self.blocks[2](x + self.blocks[1](x))


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(2, 5, 6, 8)


def test_watching_does_not_change_the_answer(x):
    model = Stack()
    expected = model(x)
    with record(model):
        assert (model(x) - expected).abs().max() < 1e-5
    assert torch.equal(model(x), expected), "unwatched again afterwards"


def test_sites_have_their_module_names_and_rows_sum_to_one(x):
    model = Stack()
    with record(model) as seen:
        model(x)
    assert list(seen) == ["blocks.0", "blocks.1", "blocks.2"]
    assert all(name in dict(model.named_modules()) for name in seen)
    for name in seen:
        dense = seen[name].dense(30)
        assert dense.shape == (2, 2, 30, 30)
        assert dense.dtype == torch.float32
        torch.testing.assert_close(dense.sum(-1), torch.ones(2, 2, 30))


def test_names_are_relative_to_the_model_given(x):
    model = Stack()
    with record(model.blocks) as seen:
        model(x)
    assert list(seen) == ["0", "1", "2"]


@pytest.mark.parametrize("name", ["relative", "halo", "neighborhood"])
def test_dense_weights_reproduce_the_output(name, x):
    """Values mixed with the dense matrix and projected are the output: every weight is in its place."""
    options = {"halo": {"block": 2, "halo": 1}, "neighborhood": {"kernel": 3}}.get(name, {})
    mixer = create(name, dims=2, channels=8, heads=2, size=(5, 6), **options)
    with record(mixer) as seen:
        out = mixer(x)
    v = mixer.qkv(x)[..., 16:].reshape(2, 30, 2, 4).transpose(1, 2)
    mixed = (seen[""].dense(30) @ v).transpose(1, 2).reshape(2, 5, 6, 8)
    torch.testing.assert_close(mixer.out(mixed), out, rtol=1e-5, atol=1e-5)


def test_dense_leaves_padding_out_and_adds_up_what_windows_share():
    weights = torch.tensor([[[[[0.5, 0.5]], [[0.25, 0.75]]]]])  # one head, two windows of one query
    seen = AttentionRecord(weights, torch.tensor([[0], [2]]), torch.tensor([[1, 2], [-1, 2]]))
    expected = torch.tensor([[0, 0.5, 0.5], [0, 0, 0], [0, 0, 0.75]])
    assert torch.equal(seen.dense(3)[0, 0], expected)
    with pytest.raises(AttnError, match="token number 2, too large for 2 tokens"):
        seen.dense(2)


def test_causal_queries_are_the_last_tokens():
    site = nn.Identity()
    q, kv = torch.randn(1, 1, 2, 4), torch.randn(1, 1, 5, 4)
    with record(site) as seen:
        attend(q, kv, kv, causal=True, site=site)
    assert seen[""].query_positions.tolist() == [3, 4]
    assert seen[""].dense(5)[0, 0, 3, 4] == 0


def test_gradients_reach_recorded_weights(x):
    model = Stack()
    with record(model) as seen:
        loss = model(x).square().sum()
    (gradient,) = torch.autograd.grad(loss, seen["blocks.0"].weights)
    assert gradient.abs().sum() > 0


def test_a_site_passed_twice_keeps_the_last_pass_and_counts(x):
    model = Stack(turns=3)
    seen_inputs = []
    model.blocks[0].register_forward_pre_hook(lambda _, inputs: seen_inputs.append(inputs[0]))
    with record(model) as seen:
        model(x)
    assert seen["blocks.0"].passes == 3
    assert seen["blocks.1"].passes == 1
    with record(model) as last:
        model.blocks[0](seen_inputs[2])
    assert torch.equal(seen["blocks.0"].weights, last["blocks.0"].weights)


def test_unknown_record_names_what_is_there(x):
    model = Stack()
    with record(model) as seen:
        model(x)
    with pytest.raises(SiteError, match=r"nothing passed at 'blocks.7'; sites here: 'blocks.0', 'blocks.1'"):
        seen["blocks.7"]
    with pytest.raises(KeyError):
        seen["blocks.7"]


def test_of_many_sites_the_nearest_are_named():
    model = nn.Sequential(*(nn.Identity() for _ in range(300)), Stack())
    with pytest.raises(SiteError) as refused, intervene(model, {"300.block.1": lambda seen: seen.weights}):
        pass
    assert "the nearest of 3" in str(refused.value) and "'300.blocks.1'" in str(refused.value)
    assert str(refused.value).count("'") == 2 * (1 + 5)


def test_intervene_replaces_weights_at_globs(x):
    model = Stack()
    plain = model(x)
    with intervene(model, {"blocks.*": lambda seen: seen.weights}):
        torch.testing.assert_close(model(x), plain, rtol=1e-5, atol=1e-5)
    with intervene(model, {"blocks.*": lambda seen: seen.weights * 0}):
        changed = model(x)
    bias_only = Stack()
    bias_only.load_state_dict(model.state_dict())
    for block in bias_only.blocks:
        nn.init.zeros_(block.out.weight)
    torch.testing.assert_close(changed, bias_only(x), rtol=1e-5, atol=1e-5)


def test_one_head_switched_off_leaves_the_other(x):
    mixer = create("relative", dims=2, channels=8, heads=2, size=(5, 6))

    def without_first_head(seen):
        return seen.weights * torch.tensor([0.0, 1.0])[:, None, None]

    with intervene(mixer, {"": without_first_head}):
        changed = mixer(x)
    with torch.no_grad():
        mixer.out.weight[:, :4] = 0
    torch.testing.assert_close(changed, mixer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("record_first", [True, False])
def test_nested_interventions_run_outside_in_and_records_see_the_result(x, record_first):
    mixer = create("relative", dims=2, channels=8, heads=2, size=(5, 6))
    order = []

    def note(name, factor):
        def change(seen):
            order.append(name)
            return seen.weights * factor

        return change

    outer, inner = intervene(mixer, {"": note("outer", 2)}), intervene(mixer, {"": note("inner", 3)})
    if record_first:
        with record(mixer) as seen, outer, inner:
            mixer(x)
    else:
        with outer, inner, record(mixer) as seen:
            mixer(x)
    assert order == ["outer", "inner"]
    torch.testing.assert_close(seen[""].weights.sum(-1), torch.full((2, 2, 30), 6.0))


def test_intervene_refuses_a_name_that_fits_no_module():
    with (
        pytest.raises(SiteError, match=r"nothing passed at 'blocks\.9'.*'blocks\.0'"),
        intervene(Stack(), {"blocks.9": lambda seen: seen.weights * 0}),
    ):
        pass


def test_intervene_that_reached_no_attention_says_so(x):
    model = Stack()
    with (
        pytest.raises(SiteError, match=r"nothing passed at 'blocks\.0\.qkv'; sites here: 'blocks\.0'"),
        intervene(model, {"blocks.0.qkv": lambda seen: seen.weights * 0}),
    ):
        model(x)


@pytest.mark.parametrize("returned", [None, 3])
def test_intervene_says_what_a_change_returned_instead_of_a_tensor(x, returned):
    model = Stack()
    words = f"blocks\\.0: an intervention returned {type(returned).__name__}, not a tensor"
    with pytest.raises(AttnError, match=words), intervene(model, {"blocks.0": lambda seen: returned}):
        model(x)


def test_intervene_refuses_another_shape(x):
    model = Stack()
    with (
        pytest.raises(AttnError, match=r"blocks\.0: an intervention made \(2, 2, 30, 1\) of "),
        intervene(model, {"blocks.0": lambda seen: seen.weights[..., :1]}),
    ):
        model(x)


def test_an_error_inside_ends_the_watching(x):
    model = Stack()
    with pytest.raises(RuntimeError, match="boom"), record(model) as seen:
        raise RuntimeError("boom")
    model(x)
    assert not seen


def test_another_model_and_another_thread_are_not_seen(x):
    model, other = Stack(), Stack()
    with record(model) as seen:
        other(x)
        thread = threading.Thread(target=model, args=(x,))
        thread.start()
        thread.join()
    assert not seen


def test_geometry_broadcasts():
    site = nn.Identity()
    q, kv = torch.randn(2, 3, 4, 1, 8), torch.randn(2, 3, 4, 2, 8)
    geometry = Geometry(torch.arange(4)[:, None], torch.tensor([0, 3]))
    with record(site) as seen:
        attend(q, kv, kv, site=site, geometry=geometry)
    dense = seen[""].dense(4)
    assert (dense[..., 1:3] == 0).all()
    torch.testing.assert_close(dense.sum(-1), torch.ones(2, 3, 4))


def test_a_traced_graph_is_the_unwatched_one(x):
    mixer = create("relative", dims=2, channels=8, heads=2, size=(5, 6))
    with record(mixer) as seen:
        program = torch.export.export(mixer, (x,))
    assert not seen
    assert "scaled_dot_product_attention" in program.graph_module.code
    torch.testing.assert_close(program.module()(x), mixer(x), rtol=1e-5, atol=1e-5)


def test_a_token_in_two_clusters_gets_the_mean_of_its_rows():
    """Two clusters share token 1; rows sum to 1 all the same."""
    site = nn.Identity()
    q, kv = torch.randn(2, 3, 2, 2, 8), torch.randn(2, 3, 2, 2, 8)
    tokens = torch.tensor([[0, 1], [1, 2]])
    with record(site) as seen:
        attend(q, kv, kv, site=site, geometry=Geometry(tokens, tokens))
    dense, weights = seen[""].dense(3), seen[""].weights
    torch.testing.assert_close(dense.sum(-1), torch.ones(2, 3, 3))
    torch.testing.assert_close(dense[..., 1, 1], (weights[..., 0, 1, 1] + weights[..., 1, 0, 0]) / 2)


def test_clusters_of_each_example_and_head():
    """Positions may differ from head to head (content clusters)."""
    weights = torch.rand(2, 2, 1, 3, 3).softmax(-1)
    tokens = torch.stack([torch.stack([torch.randperm(3) for _ in range(2)]) for _ in range(2)])[:, :, None]
    seen = AttentionRecord(weights, tokens, tokens)
    for b, h, i, j in torch.cartesian_prod(*(torch.arange(n) for n in (2, 2, 3, 3))).tolist():
        row, column = tokens[b, h, 0, i], tokens[b, h, 0, j]
        assert seen.dense(3)[b, h, row, column] == weights[b, h, 0, i, j]
    with pytest.raises(AttnError, match="each head has its own tokens"):
        seen.mean_over_heads()


def test_keep_stores_what_it_makes_and_is_told_the_passes(x):
    model = Stack(turns=2)
    with record(model, keep=lambda seen: (seen.passes, seen.weights.shape[-1])) as seen:
        model(x)
    assert seen["blocks.0"] == (2, 30)
    with record(model, keep=AttentionRecord.mean_over_heads) as mean, record(model) as whole:
        model(x)
    torch.testing.assert_close(mean["blocks.1"].dense(30)[:, 0], whole["blocks.1"].dense(30).mean(1))


def test_heads_and_outputs_are_recorded_and_changed_by_name(x):
    model = Stack()
    with record(model, (), heads="blocks.0", outputs="blocks.*.qkv") as seen:
        out = model(x)
    assert not seen
    assert list(seen.heads) == ["blocks.0"]
    assert list(seen.outputs) == ["blocks.0.qkv", "blocks.1.qkv", "blocks.2.qkv"]
    merged = seen.heads["blocks.0"].transpose(1, 2).reshape(2, 5, 6, 8)
    torch.testing.assert_close(model.blocks[0].out(merged), model.blocks[0](x), rtol=1e-5, atol=1e-5)
    with intervene(model, outputs={"blocks.2": lambda out: out + 1}):
        torch.testing.assert_close(model(x), out + 1)


def test_a_copy_of_a_watched_model_is_not_watched(x):
    model = Stack()
    with record(model, (), outputs="blocks.0") as seen:
        other = copy.deepcopy(model)
        other(x)
        assert not seen.outputs
        expected = model(x)
    torch.testing.assert_close(other(x), expected)
    assert "blocks.0" in seen.outputs


def test_what_is_attended_over_is_in_the_record():
    site, channels = nn.Identity(), torch.arange(4)
    with record(site) as seen:
        mix(torch.full((1, 1, 4, 4), 0.25), torch.randn(1, 1, 4, 2), site=site)
        assert seen[""].over == "tokens"
        mix(
            torch.eye(4)[None, None],
            torch.randn(1, 1, 4, 2),
            site=site,
            geometry=Geometry(channels, channels, "channels"),
        )
    assert seen[""].over == "channels"
    assert seen[""].passes == 2


class Rollout(nn.Module):
    """A model that needs its own weights: the key that the first query looks at most is added to the output."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x_blc):
        q, k, v = (split_heads(part, 2) for part in self.qkv(x_blc).chunk(3, -1))
        weights = weigh(q, k)
        return merge_heads(mix(weights, v, site=self)), weights.mean(1)


def test_a_model_that_needs_its_own_weights_exports_them(tmp_path):
    torch.manual_seed(0)
    model, x = Rollout().eval(), torch.randn(2, 5, 8)
    expected = model(x)
    assert expected[1].sum() > 1
    with record(model) as seen:
        program = torch.export.export(model, (x,))
        exported = program.module()(x)
    assert not seen
    for ours, theirs in zip(expected, exported, strict=True):
        torch.testing.assert_close(theirs, ours)

    def difference(session):
        return [torch.from_numpy(y) for y in session.run(None, {"x": x.numpy()})]

    free = {"x": {0: "batch"}}
    for ours, theirs in zip(
        expected, write_onnx(model, {"x": x}, ["y", "w"], tmp_path / "m.onnx", difference, free=free), strict=True
    ):
        torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)


def test_weigh_gives_what_attend_uses():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, 6, 4) for _ in range(3))
    options = {"bias": torch.randn(2, 6, 6), "mask": torch.rand(6, 6) > 0.3, "scale": 0.7}
    torch.testing.assert_close(weigh(q, k, **options) @ v, attend(q, k, v, **options), rtol=1e-5, atol=1e-5)
    relative = Relative(torch.randn(2, 4, 4))
    with_table = weigh(q, k, relative=relative, causal=True) @ v
    torch.testing.assert_close(with_table, attend(q, k, v, relative=relative, causal=True), rtol=1e-5, atol=1e-5)


def test_inputs_are_what_a_module_is_given() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    x = torch.randn(5, 3)
    with record(model, (), outputs="0", inputs=("0", "1")) as seen:
        model(x)
    assert [*seen.inputs] == ["0", "1"]
    assert torch.equal(seen.inputs["0"], x) and torch.equal(seen.inputs["1"], seen.outputs["0"])
    assert not any(module._forward_pre_hooks for module in model.modules())
