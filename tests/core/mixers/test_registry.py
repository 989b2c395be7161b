"""What every registered mixer must do; a new file in `attn/core/mixers` is tested here by being there."""

import pytest
import torch
from mixer_fixtures import EVERY, LONGER, SIZES, coordinates, info_of, make, sizes, tokens
from tolerances import assert_close
from torch.func import functional_call

from attn.core import mixers
from attn.core.attention.watch import record
from attn.core.decoding.cache import KVCache
from attn.core.errors import UsageError
from attn.core.mixers.softmax import SoftmaxMixer

every = pytest.mark.parametrize(("name", "dims", "options"), EVERY, ids=str)


def sees_by_token(mixer, dims):
    """(L, L): whether a token's output changes with another's input; the grid's tokens in raster order."""
    x = tokens(dims, batch=1)
    length = x.shape[1:-1].numel()
    plain, seen = mixer(x).view(length, -1), []
    for token in range(length):
        changed = x.clone()
        changed.view(length, -1)[token] += 1
        seen.append(~torch.isclose(mixer(changed).view(length, -1), plain).all(-1))
    return torch.stack(seen, 1)


@every
def test_shape_is_kept_at_any_size(name, dims, options):
    mixer = make(name, dims, options)
    for size in sizes(name, dims):
        x = tokens(dims, size)
        assert mixer(x).shape == x.shape
        assert mixer(x).isfinite().all()


@every
def test_watched_equals_unwatched_at_any_size(name, dims, options):
    mixer = make(name, dims, options)
    for size in sizes(name, dims):
        x = tokens(dims, size)
        unwatched = mixer(x)
        with record(mixer) as seen:
            watched = mixer(x)
        assert_close(watched, unwatched)
        assert bool(seen) == (info_of(name, dims).weights and options.get("variant") != "mlp")
        for site in seen.values():
            if site.over != "tokens":
                continue
            n = x.shape[1:-1].numel()
            assert site.dense(n).shape == (2, 2, n, n)


@every
def test_gradients_reach_the_input_and_every_parameter(name, dims, options):
    mixer = make(name, dims, options)
    x = tokens(dims, LONGER.get((name, dims))).requires_grad_()
    (mixer(x, **coordinates(mixer, x)) ** 2).sum().backward()
    assert (x.grad.abs().sum((0, -1)) > 0).all(), "every token"
    for key, parameter in mixer.named_parameters():
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key


@every
def test_gradients_equal_finite_differences(name, dims, options):
    mixer = make(name, dims, options, channels=4).double()
    keys, values = zip(*mixer.named_parameters(), strict=True)
    x = tokens(dims, (3,) * dims, batch=1, channels=4, dtype=torch.float64, requires_grad=True)

    def call(x, *values):
        return functional_call(mixer, dict(zip(keys, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(call, (x, *values), fast_mode=True)


@every
def test_bfloat16_is_within_tolerance_of_float32(name, dims, options):
    mixer = make(name, dims, options)
    x = tokens(dims)
    expected = mixer(x)
    scale = expected.abs().max()
    assert_close(mixer.bfloat16()(x.bfloat16()) / scale, expected / scale)


@every
def test_gradients_in_bfloat16_are_within_tolerance_of_float32(name, dims, options):
    def gradient(mixer, x):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(mixer(x).float().square().mean(), x)
        return gradient

    mixer = make(name, dims, options)
    expected = gradient(mixer, tokens(dims))
    scale = expected.norm() / expected.numel() ** 0.5
    error = gradient(mixer.bfloat16(), tokens(dims).bfloat16()).float() - expected
    assert error.norm() / error.numel() ** 0.5 < 0.05 * scale


@every
def test_what_is_called_causal_looks_back_only_and_steps(name, dims, options):
    info, mixer = info_of(name, dims), make(name, dims, options)
    future = torch.ones(SIZES[dims][0], SIZES[dims][0], dtype=torch.bool).triu(1)
    if mixer.causal:
        assert info.has(causal=True)
        assert info.steps == "close" or not sees_by_token(mixer, dims)[future].any()
        x = tokens(dims, batch=1)
        towards = torch.autograd.functional.jacobian(mixer, x)[0, :, :, 0].abs().sum((1, 3))
        assert not towards[future].any()
    else:
        assert info.has(causal=False)
        assert dims == 2 or sees_by_token(mixer, dims)[future].any()
    if mixer.causal and info.steps != "no":
        assert mixer.start(1, 4).length == 0
        assert mixer.start(1, 4).endless == mixer.endless
    else:
        with pytest.raises(UsageError, match="cannot decode step by step"):
            mixer.start(1, 4)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("dims", [1, 2])
def test_a_form_that_is_asked_for_is_given_or_refused(dims, causal):
    common = {"dims": dims, "channels": 8, "heads": 2, "size": SIZES[dims]}
    for info in mixers.available():
        if dims not in info.dims:
            continue
        if info.has(causal):
            assert mixers.create(info.name, causal=causal, **common).causal == causal
        else:
            listed = ", ".join(sorted(i.name for i in mixers.available() if dims in i.dims and i.has(causal)))
            with pytest.raises(UsageError, match=f"mixers that fit: {listed or 'there are no such'}"):
                mixers.create(info.name, causal=causal, **common)


def test_a_step_of_a_mixer_that_sees_the_future_is_refused():
    with pytest.raises(UsageError, match="cannot decode step by step"):
        make("softmax", 1, {})(tokens(1), KVCache(2, 2, 7, 4))


@every
@pytest.mark.parametrize("lengths", [[1] * 40, [17, 1, 1, 3, 2, 1, 7, 1, 1, 6], [40]], ids=str)
def test_steps_equal_the_full_pass(name, dims, options, lengths):
    """Also past the tables' length and beyond the windows, whose sizes are 2 to 7 here."""
    mixer = make(name, dims, options)
    if not mixer.causal or info_of(name, dims).steps != "equal":
        return
    x = tokens(1, (sum(lengths),))
    places = coordinates(mixer, x)
    with torch.no_grad():
        cache = mixer.start(2, sum(lengths), device=x.device, dtype=x.dtype)
        steps, first = [], 0
        for length in lengths:
            new = slice(first, first + length)
            steps.append(mixer(x[:, new], cache, **{name: place[:, new] for name, place in places.items()}))
            first = cache.length
        assert first == sum(lengths)
        assert_close(torch.cat(steps, 1), mixer(x, **places))


@every
def test_a_watched_step_shows_its_row(name, dims, options):
    mixer = make(name, dims, options)
    if not mixer.causal or info_of(name, dims).steps != "equal" or options.get("variant") == "mlp":
        return
    x = tokens(1, (10,))
    with torch.no_grad():
        with record(mixer) as seen:
            mixer(x)
        expected = {site: whole.dense(10) for site, whole in seen.items()}
        cache = mixer.start(2, 10)
        mixer(x[:, :-1], cache)
        with record(mixer) as seen:
            mixer(x[:, -1:], cache)
    assert seen.keys() == expected.keys()
    for site, row in seen.items():
        shown = row.query_positions.unique()  # the newest token, or of `axial` the row that ended before it
        assert_close(row.dense(10)[:, :, shown], expected[site][:, :, shown])


@every
def test_autocast_runs(name, dims, options):
    mixer = make(name, dims, options)
    x = tokens(dims)
    expected = mixer(x)
    scale = expected.abs().max()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = mixer(x)
    assert_close(actual / scale, expected / scale, torch.bfloat16)


@every
def test_state_round_trip(name, dims, options):
    mixer, other = make(name, dims, options), make(name, dims, options)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    other.load_state_dict(mixer.state_dict(), strict=True)
    x = tokens(dims)
    assert torch.equal(other(x), mixer(x))
    stored = {key for key, _ in mixer.named_parameters()} | {*info_of(name, dims).buffers}
    assert set(mixer.state_dict()) == stored, "no buffers but those declared"


@every
def test_built_on_meta_and_filled_equals_built(name, dims, options):
    mixer = make(name, dims, options)
    with torch.device("meta"):
        empty = mixers.create(name, dims=dims, channels=8, heads=2, size=SIZES[dims], **options)
    empty.load_state_dict(mixer.state_dict(), assign=True)
    x = tokens(dims)
    assert torch.equal(empty(x), mixer(x))


@every
def test_examples_of_a_batch_do_not_mix(name, dims, options):
    mixer = make(name, dims, options)
    x = tokens(dims, batch=3)
    assert_close(mixer(x)[1:2], mixer(x[1:2]))


@every
def test_the_input_may_have_another_width(name, dims, options):
    mixer = mixers.create(name, dims=dims, channels=8, channels_in=6, heads=2, size=SIZES[dims], **options)
    assert mixer(tokens(dims, channels=6)).shape == (2, *SIZES[dims], 8)


def test_the_table_is_complete():
    table = mixers.available()
    assert [(info.name, info.dims) for info in table] == sorted((info.name, info.dims) for info in table)
    assert {(info.name, dims) for info in table for dims in info.dims} >= {
        ("softmax", 1),
        ("softmax", 2),
        ("relative", 1),
        ("relative", 2),
        ("relative_local", 1),
        ("relative_places", 1),
        ("halo", 2),
        ("neighborhood", 2),
    }
    for info in table:
        assert info.paper.startswith("arXiv:")
        assert info.cost


def test_a_wrong_name_or_dimension_lists_those_that_fit():
    with pytest.raises(UsageError, match=r"no mixer 'realtive' for 2-D tokens; .*halo.*relative.*softmax"):
        mixers.create("realtive", dims=2, channels=8, heads=2, size=(4, 4))
    with pytest.raises(UsageError, match=r"no mixer 'halo' for 1-D tokens; mixers that fit: .*softmax"):
        mixers.create("halo", dims=1, channels=8, heads=2, size=(4,))


def test_an_option_the_mixer_lacks_is_named_with_those_it_has():
    with pytest.raises(UsageError, match="'halo' has no option kernel; its options: block, halo, masked"):
        mixers.create("halo", dims=2, channels=8, heads=2, size=(4, 4), kernel=3)
    with pytest.raises(UsageError, match="'neighborhood' lets tokens see what follows"):
        mixers.create("neighborhood", dims=2, channels=8, heads=2, size=(4, 4), causal=True)


@pytest.mark.parametrize("name", ["dims", "channels", "heads", "size", "channels_in", "causal", "mixer"])
def test_what_the_model_decides_is_no_option(name):
    """A stranger's record may try."""
    choice = mixers.Choice("softmax", {name: 1})
    with pytest.raises(UsageError, match=f"'softmax' has no option {name}; its options: it has no options"):
        mixers.create(choice, dims=1, channels=8, heads=2, size=(4,))


def test_a_mixer_is_made_of_text():
    mixer = mixers.create("halo:block=4,masked=false", dims=2, channels=8, heads=2, size=(4, 4))
    assert (mixer.config.block, mixer.config.masked) == (4, False)


@pytest.mark.parametrize("info", mixers.available(), ids=lambda info: f"{info.name}{info.dims}")
def test_channels_that_do_not_split_into_heads_are_refused(info):
    with pytest.raises(UsageError, match="9 channels cannot be split into 2 heads"):
        mixers.create(info.name, dims=info.dims[0], channels=9, heads=2, size=SIZES[info.dims[0]])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("halo", {"block": 0}),
        ("halo", {"halo": -1}),
        ("neighborhood", {"kernel": 0}),
        ("neighborhood", {"kernel": True}),
    ],
)
def test_values_out_of_range_are_refused(name, options):
    with pytest.raises(UsageError, match=f"mixer '{name}': .* must be "):
        mixers.create(name, dims=2, channels=8, heads=2, size=(4, 4), **options)


class Scaled(SoftmaxMixer):
    """A mechanism that changes its queries, as SSA does."""

    def project(self, x, past=None):
        q, k, v = super().project(x, past)
        return 3 * q, k, v


def test_short_cuts_are_not_inherited():
    config = SoftmaxMixer.Config(channels=8, heads=2, causal=True)
    assert SoftmaxMixer(config).one_token is not None
    assert Scaled(config).one_token is None

    class Declares(Scaled):
        one_token = SoftmaxMixer.one_token

    assert Declares(config).one_token is not None
