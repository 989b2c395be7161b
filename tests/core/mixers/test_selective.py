"""`selective`: equal to loops, to what it wraps at its start, and sharper where there is more to see."""

import math

import pytest
import torch
from tolerances import assert_close
from torch import nn
from torch.nn import functional as F

from attn.core import mixers
from attn.core.attention import reference
from attn.core.attention.attend import merge_heads, split_heads
from attn.core.attention.watch import record
from attn.core.errors import UsageError


def make(name="selective", dims=1, channels=8, heads=2, **options):
    torch.manual_seed(0)
    size = (9,) if dims == 1 else (3, 3)
    return mixers.create(name, dims=dims, channels=channels, heads=heads, size=size, **options)


@pytest.mark.parametrize("causal", [True, False])
def test_equals_the_loops_forward_and_backward(causal):
    mixer = make(causal=causal).double()
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.4)
    x = torch.randn(2, 9, 8, dtype=torch.float64, requires_grad=True)
    q, k, v = (split_heads(part, 2) for part in mixer.qkv(x).chunk(3, -1))

    def tempered(parts, vectors, numbers):
        tokens = []
        for i in range(9):
            n = i + 1 if causal else 9
            by_token = torch.tanh((parts[:, :, i] * vectors).sum(-1))
            tokens.append(parts[:, :, i] * (1 + by_token + numbers * math.log(n))[..., None])
        return torch.stack(tokens, 2)

    q = tempered(q, mixer.selective[0], mixer.by_length[0])
    v = tempered(v, mixer.selective[1], mixer.by_length[1])
    expected, actual = mixer.out(merge_heads(reference.attention(q, k, v, causal=causal))), mixer(x)
    assert_close(actual, expected)
    inputs = (x, *mixer.parameters())
    ours = torch.autograd.grad(actual.square().sum(), inputs)
    theirs = torch.autograd.grad(expected.square().sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b)


WRAPPED = [
    (info.name, dims)
    for info in mixers.available()
    for dims in info.dims
    if info.name not in ("selective", "context_mixing", "large_kernel", "axial", "hyper_zzw")
    and (info.name, dims) != ("dual", 2)
]


@pytest.mark.parametrize(("name", "dims"), WRAPPED)
def test_begins_as_what_it_wraps_and_can_learn(name, dims):
    plain, mixer = make(name, dims), make(dims=dims, of=name)
    mixer.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(2, *((9,) if dims == 1 else (3, 3)), 8)
    assert_close(mixer(x), plain(x))
    mixer(x).square().sum().backward()
    for key, parameter in mixer.named_parameters():
        if key in ("selective", "by_length") and name != "deconstructed":
            assert (parameter.grad.abs().sum(-1) > 0).any(), key


def test_few_parameters_more():
    plain, mixer = (make(name, channels=512, heads=8) for name in ("softmax", "selective"))
    count = [sum(p.numel() for p in each.parameters()) for each in (plain, mixer)]
    assert 1 < count[1] / count[0] < 1.005


def test_what_has_no_queries_or_the_wrong_form_is_refused():
    with pytest.raises(UsageError, match="'large_kernel' makes no queries and values; wrap softmax or relative"):
        make(of="large_kernel")
    with pytest.raises(UsageError, match="'selective' makes no queries"):
        make(of="selective")
    with pytest.raises(UsageError, match="no mixer 'mine' for 1-D tokens"):
        make(of="mine")
    with pytest.raises(UsageError, match="selective:of=relative' hides from tokens what follows"):
        mixers.create("selective:of=relative", dims=1, channels=8, heads=2, size=(9,), causal=False)
    assert mixers.create("selective:of=relative", dims=1, channels=8, heads=2, size=(9,), causal=True).causal


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_no_temperature_makes_half_precision_overflow(dtype):
    mixer = make(causal=True).to(dtype)
    with torch.no_grad():
        mixer.by_length[0] = 30000.0
        y = mixer(100 * torch.randn(1, 9, 8).to(dtype))
    assert y.isfinite().all()


def entropies(mixer, lengths, width):
    """Mean entropy of the last token's weights over log n, at each length."""
    found = []
    for n in lengths:
        torch.manual_seed(3)
        with torch.no_grad(), record(mixer) as seen:
            mixer(passkey(64, n, width)[0])
        weights = seen[""].weights[:, :, -1].clamp(min=1e-12)
        found.append(float(-(weights * weights.log()).sum(-1).mean()) / math.log(n))
    return found


def passkey(batch, n, width):
    """Noise tokens, one of which is marked; the last token asks for what it holds."""
    x = torch.randn(batch, n, width)
    x[..., :2] = 0
    place = torch.randint(n - 1, (batch,))
    x[torch.arange(batch), place, 0] = 1
    x[:, -1, 1] = 1
    return x, x[torch.arange(batch), place, 2:]


def test_after_training_entropy_grows_more_slowly_with_n_than_without():
    """Trained on up to 32 tokens; the plain softmax spreads its weights over 512."""
    torch.set_num_threads(1)
    spread = {}
    for name in ("softmax", "selective"):
        mixer = make(name, channels=8, heads=1, causal=True)
        optimizer = torch.optim.AdamW(mixer.parameters(), lr=0.01, weight_decay=0.0)
        for step in range(300):
            torch.manual_seed(step)
            x, wanted = passkey(32, int(torch.randint(4, 33, ())), 8)
            loss = F.mse_loss(mixer(x)[:, -1, 2:], wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        near, far = entropies(mixer, (16, 512), 8)
        spread[name] = far - near
    assert spread["selective"] < spread["softmax"]
