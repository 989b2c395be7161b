"""`routing`: equal to loops, full attention with one cluster, balanced, and how far a step is from a pass."""

import time

import numpy as np
import pytest
import torch
from tolerances import assert_close
from torch import nn
from torch.nn import functional as F

from attn.core import mixers
from attn.core.attention.attend import merge_heads, split_heads
from attn.core.attention.watch import record
from attn.core.mixers.routing import DECAY


def make(clusters=3, causal=True, channels=8, size=12):
    torch.manual_seed(0)
    mixer = mixers.create(
        f"routing:clusters={clusters}", dims=1, channels=channels, heads=2, size=(size,), causal=causal
    ).double()
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.4)
    return mixer.eval()


def by_loops(mixer, x):
    q, k, v = (split_heads(part, 2) for part in mixer.qkv(x).chunk(3, -1))
    batch, heads, length, d = q.shape
    count = mixer.centroids.shape[1]
    most = -(-length // count)
    out = torch.zeros_like(v)
    for b in range(batch):
        for h in range(heads):
            found = [[] for _ in range(length)]
            for c in mixer.centroids[h]:
                taken = []
                for part in (q, k):
                    cosines = [float(F.cosine_similarity(part[b, h, i].detach(), c, dim=0)) for i in range(length)]
                    taken.append(sorted(sorted(range(length), key=lambda i, near=cosines: -near[i])[:most]))
                for i in taken[0]:
                    seen = [j for j in taken[1] if j <= i or not mixer.causal]
                    if seen:
                        logits = torch.stack([(q[b, h, i] * k[b, h, j]).sum() / d**0.5 for j in seen])
                        found[i].append((logits.softmax(0)[:, None] * v[b, h, seen]).sum(0))
                    else:
                        found[i].append(torch.zeros(d, dtype=x.dtype))
            for i, each in enumerate(found):
                if each:
                    out[b, h, i] = torch.stack(each).mean(0)
    return mixer.out(merge_heads(out))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("length", "clusters"), [(12, 3), (11, 4), (3, 5), (1, 2)])
def test_equals_the_loops_forward_and_backward(length, clusters, causal):
    mixer = make(clusters, causal)
    x = torch.randn(2, length, 8, dtype=torch.float64, requires_grad=True)
    actual, expected = mixer(x), by_loops(mixer, x)
    assert_close(actual, expected)
    inputs = (x, *mixer.parameters())
    ours = torch.autograd.grad(actual.square().sum(), inputs)
    theirs = torch.autograd.grad(expected.square().sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("causal", [True, False])
def test_one_cluster_is_full_attention(causal):
    mixer = make(1, causal)
    plain = mixers.create("softmax", dims=1, channels=8, heads=2, size=(12,), causal=causal).double()
    plain.qkv, plain.out = mixer.qkv, mixer.out
    x = torch.randn(2, 12, 8, dtype=torch.float64)
    assert_close(mixer(x), plain(x))
    if causal:
        assert_close(mixer(x, mixer.start(2, 12, dtype=torch.float64)), plain(x))


def test_every_cluster_takes_as_many_tokens():
    mixer = make(3)
    with record(mixer) as seen:
        mixer(torch.randn(2, 12, 8, dtype=torch.float64))
    assert seen[""].weights.shape == (2, 2, 3, 4, 4)
    assert seen[""].query_positions.shape == (2, 2, 3, 4)
    for tokens in seen[""].query_positions.flatten(0, 2):
        assert len(set(tokens.tolist())) == 4


def test_no_gradient_reaches_later_tokens():
    mixer, x = make(3), torch.randn(1, 12, 8, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(mixer, x)[0, :, :, 0].abs().sum((1, 3))
    assert (jacobian.triu(1) == 0).all()
    assert (jacobian.tril() > 0).sum() > 12


def test_centroids_move_in_training_alone_towards_the_tokens_nearest_to_them():
    mixer, x = make(3), torch.randn(2, 12, 8, dtype=torch.float64)
    before = mixer.centroids.clone()
    mixer(x)
    assert torch.equal(mixer.centroids, before)
    mixer.train()(x)
    q, k, _ = (F.normalize(split_heads(part, 2), dim=-1) for part in mixer.qkv(x).chunk(3, -1))
    for h in range(2):
        tokens = torch.cat([q[:, h], k[:, h]], 1).flatten(0, 1)
        nearest = (tokens @ before[h].T).argmax(-1)
        for c in range(3):
            expected = before[h, c]
            if (nearest == c).any():
                mean = F.normalize(tokens[nearest == c].sum(0), dim=0)
                expected = F.normalize(DECAY * expected + (1 - DECAY) * mean, dim=0)
            assert_close(mixer.centroids[h, c], expected)
    assert not torch.equal(mixer.centroids, before)
    other = make(3)
    other.load_state_dict(mixer.state_dict())
    assert torch.equal(other.centroids, mixer.centroids)


def planted(mixer, noise, batch=1):
    """Tokens at the centroids of both heads, as many at each, and noise: how clear the clusters are."""
    clusters, length = mixer.centroids.shape[1], mixer.config.size[0]
    with torch.no_grad():
        mixer.qkv.weight[:8] = mixer.qkv.weight[8:16] = torch.eye(8)
        mixer.qkv.bias[:16] = 0
    order = torch.stack([torch.randperm(length) % clusters for _ in range(batch)])
    at = torch.cat([mixer.centroids[0][order], mixer.centroids[1][order]], -1)
    return (at + noise * torch.randn_like(at)) * torch.linspace(0.5, 3, length)[:, None]


def apart(mixer, x):
    """How far steps are from a pass, as a share of what the pass adds."""
    cache = mixer.start(len(x), x.shape[1], dtype=torch.float64)
    with torch.no_grad():
        whole, steps = (y - mixer.out.bias for y in (mixer(x), mixer(x, cache)))
    return ((whole - steps).norm() / whole.norm()).item()


def test_steps_equal_a_pass_where_clusters_are_clear():
    mixer = make(3)
    x = planted(mixer, 0.0)
    cache = mixer.start(1, 12, dtype=torch.float64)
    steps = [mixer(part, cache) for part in x.split([1, 4, 1, 6], 1)]
    assert_close(torch.cat(steps, 1), mixer(x))


def test_how_far_steps_are_from_a_pass():
    """The difference is membership alone: small where clusters are clear, and as large as the output without any."""
    mixer = make(4, size=64)
    clear, blurred, none = (apart(mixer, planted(mixer, noise, batch=8)) for noise in (0.0, 0.1, 10.0))
    assert clear < 1e-9
    assert 0 < blurred < 0.5
    assert blurred < none < 1.3


@pytest.mark.slow
def test_time_grows_with_an_exponent_of_at_most_1_6():
    torch.set_num_threads(1)
    lengths, seconds = (512, 1024, 2048, 4096, 8192), []
    for length in lengths:
        mixer = mixers.create("routing", dims=1, channels=64, heads=2, size=(length,), causal=True).eval()
        x = torch.randn(1, length, 64)
        with torch.no_grad():
            mixer(x)
            times = []
            for _ in range(5):
                start = time.process_time()
                mixer(x)
                times.append(time.process_time() - start)
        seconds.append(min(times))
    exponent = np.polyfit(np.log(lengths), np.log(seconds), 1)[0]
    assert exponent < 1.6, seconds
