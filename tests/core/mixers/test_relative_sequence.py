"""The relative mixers of sequences: against the naive form, and the invariances they are for."""

import pytest
import torch
from tolerances import assert_close

from attn.core import mixers
from attn.core.attention import reference
from attn.core.attention.attend import merge_heads, split_heads
from attn.core.attention.watch import record
from attn.core.blocks.one_token import TokenStep
from attn.core.blocks.sequence import SequenceBlock
from attn.core.decoding.cache import KVCache, Past, RingCache
from attn.core.errors import AttnError, UsageError


def make(name, size=9, **options):
    torch.manual_seed(0)
    mixer = mixers.create(name, dims=1, channels=8, heads=2, size=(size,), **options).double()
    for parameter in mixer.parameters():
        if parameter.dim() == 3:  # tables, some of which begin as zeros
            torch.nn.init.normal_(parameter, std=0.5)
    return mixer


def tokens(length=11):
    torch.manual_seed(1)
    return torch.randn(2, length, 8, dtype=torch.float64)


def heads_of(mixer, x):
    return [split_heads(part, 2) for part in mixer.qkv(x).chunk(3, -1)]


@pytest.mark.parametrize("options", [{}, {"clip": True}, {"max_distance": 1}, {"max_distance": 30}], ids=str)
def test_global_equals_the_naive_form(options):
    mixer = make("relative", **options)
    x = tokens()
    y = reference.relative(*heads_of(mixer, x), mixer.table, options.get("clip", False))
    assert_close(mixer(x), mixer.out(merge_heads(y)))


@pytest.mark.parametrize("block", [1, 2, 3, 5, 11, 12])
def test_local_equals_the_naive_form_with_two_vectors_per_token_of_a_block(block):
    mixer = make("relative_local", block=block)
    assert mixer.table.shape[1] == 2 * block
    x = tokens()
    y = reference.relative(*heads_of(mixer, x), mixer.table, block=block)
    assert_close(mixer(x), mixer.out(merge_heads(y)))
    longer = torch.cat([torch.full((2, 30, 4), torch.nan, dtype=torch.float64), mixer.table], 1)
    assert torch.equal(reference.relative(*heads_of(mixer, x), longer, block=block), y), "no other row is asked for"


def test_every_row_of_the_local_table_is_used():
    mixer = make("relative_local", block=3)
    mixer(tokens(12)).square().sum().backward()
    assert (mixer.table.grad.abs().sum((0, 2)) > 0).all()


def test_local_with_one_block_equals_global():
    local, whole = make("relative_local", block=11), make("relative", max_distance=22)
    whole.load_state_dict(local.state_dict())
    x = tokens()
    assert_close(local(x), whole(x))


def coordinates(length=11):
    torch.manual_seed(2)
    time = torch.randint(0, 3, (2, length)).cumsum(-1)
    return torch.stack([time, torch.randint(40, 80, (2, length))], -1)


def test_places_equal_the_naive_form():
    mixer = make("relative_places", max_across=12, max_along=6)
    x, where = tokens(), coordinates()
    assert where[..., 0].max() > 6
    q, k, v = heads_of(mixer, x)
    tables = mixer.table, mixer.across_table, mixer.along_table
    y = torch.cat(
        [
            reference.relative_places(q[i : i + 1], k[i : i + 1], v[i : i + 1], *tables, *where[i].unbind(-1))
            for i in range(2)
        ]
    )
    assert_close(mixer(x, coordinates=where), mixer.out(merge_heads(y)))


def test_places_begin_as_relative_attention():
    sizes = {"dims": 1, "channels": 8, "heads": 2, "size": (9,)}
    both = [mixers.create(name, **sizes).double() for name in ("relative_places", "relative")]
    both[1].load_state_dict({name: both[0].state_dict()[name] for name in both[1].state_dict()})
    assert_close(both[0](tokens(), coordinates=coordinates()), both[1](tokens()))


def test_only_differences_of_places_matter():
    mixer = make("relative_places")
    x, where = tokens(), coordinates()
    assert_close(mixer(x, coordinates=where + torch.tensor([100, 7])), mixer(x, coordinates=where))
    bent = where.clone()
    bent[:, 4:, 1] += 1
    assert not torch.allclose(mixer(x, coordinates=bent)[:, 4:], mixer(x, coordinates=where)[:, 4:])


def test_without_coordinates_the_place_along_counts_the_tokens():
    mixer = make("relative_places")
    x = tokens()
    counting = torch.stack([torch.arange(11), torch.zeros(11, dtype=torch.long)], -1).expand(2, -1, -1)
    assert_close(mixer(x), mixer(x, coordinates=counting))


def test_the_table_is_half_as_long_as_the_sequence_by_default():
    assert make("relative", size=9).table.shape == (2, 4, 4)
    assert make("relative", size=1).table.shape == (2, 1, 4)
    assert make("relative", size=9, max_distance=20).table.shape == (2, 20, 4)


def test_the_table_is_saved_and_loaded():
    mixer, other = make("relative"), make("relative")
    torch.nn.init.ones_(other.table)
    x = tokens()
    assert not torch.allclose(other(x), mixer(x))
    other.load_state_dict(mixer.state_dict())
    assert torch.equal(other(x), mixer(x))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("relative", {"max_distance": 0}, "mixer 'relative': max_distance must be greater than or equal to 1, not 0"),
        ("relative", {"max_distance": 2.5}, "max_distance must be an integer, not 2.5"),
        ("relative", {"clip": "yes"}, "clip must be true or false, not 'yes'"),
        ("relative_places", {"max_distance": -2}, "max_distance must be greater than or equal to 1, not -2"),
        ("relative_places", {"max_across": -1}, "max_across must be greater than or equal to 0, not -1"),
        ("relative_local", {"block": 0}, "block must be greater than or equal to 1, not 0"),
        ("relative_local", {"block": 10**12}, "block must be less than or equal to 65536, not 1000000000000"),
    ],
)
def test_values_out_of_range_are_refused(name, options, message):
    with pytest.raises(UsageError, match=message):
        make(name, **options)


@pytest.mark.parametrize("name", ["softmax", "relative", "relative_places"])
def test_a_full_cache_says_so(name):
    mixer = make(name, **({"causal": True} if name == "softmax" else {}))
    cache = mixer.start(2, 3, dtype=torch.float64)
    with torch.no_grad():
        mixer(tokens(3), cache)
        with pytest.raises(AttnError, match="room for 3 tokens"):
            mixer(tokens(1), cache)


def test_a_local_cache_has_no_end_and_does_not_grow():
    mixer = make("relative_local", block=2)
    cache = mixer.start(2, 1, dtype=torch.float64)
    with torch.no_grad():
        for _ in range(50):
            mixer(tokens(1), cache)
    assert cache.length == 50
    assert cache.endless and mixer.endless
    assert [mixer.reach(position) for position in range(6)] == [cache.reach(p) for p in range(6)] == [1, 2, 3, 4, 3, 4]
    kept, _, positions = cache.append(*(torch.zeros(2, 2, 1, 4, dtype=torch.float64) for _ in range(2)))
    assert list(positions) == [48, 49, 50]
    assert kept.shape[2] == 3, "the block before, and the first token of its own"
    twice_two_blocks = 2 * (2 * 2)
    assert kept.untyped_storage().nbytes() == 2 * 2 * twice_two_blocks * 4 * 8


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("new", [1, 2])
def test_global_steps_in_a_window_equal_the_naive_form_of_the_window(clip, new):
    """A ring keeps neighbours, whose distances do not depend on where they lie."""
    window, mixer, x = 4, make("relative", max_distance=3, clip=clip), tokens()
    cache = RingCache(2, 2, window, 4, dtype=torch.float64)
    for end in range(new, x.shape[1] + 1, new):
        with torch.no_grad(), record(mixer) as seen:
            y = mixer(x[:, end - new : end], cache)
        assert_close(y, mixer(x[:, end - new : end], again(cache, mixer, x, end - new)))  # watched and unwatched
        inside = x[:, max(end - window, 0) : end]
        naive = reference.relative(*heads_of(mixer, inside), mixer.table, clip)[:, :, -new:]
        assert_close(y, mixer.out(merge_heads(naive)))
        assert seen[""].query_positions.tolist() == [*range(end - new, end)]


def again(cache, mixer, x, end):
    """A ring with the tokens before `end`."""
    before = RingCache(2, 2, cache.capacity, 4, dtype=torch.float64)
    _, *kept = heads_of(mixer, x[:, :end])
    for token in range(end):
        before.append(*(part[:, :, token : token + 1].detach() for part in kept))
    return before


class Sinks(KVCache):
    """The first token and the newest two: tokens between them are gone."""

    def append(self, k, v):
        k, v, _ = super().append(k, v)
        kept = torch.tensor(sorted({0, *range(max(self.length - 2, 0), self.length)}))
        return Past(k[:, :, kept], v[:, :, kept], kept)


@pytest.mark.parametrize("name", ["relative", "relative_local"])
def test_a_past_with_gaps_is_refused(name):
    mixer, x, cache = make(name), tokens(5), Sinks(2, 2, 5, 4, dtype=torch.float64)
    cache.room = 5
    with pytest.raises(AttnError, match="counts distances in neighbouring tokens, and this cache may have dropped"):
        for token in x.split(1, 1):
            mixer(token, cache)


def test_a_past_with_gaps_is_refused_by_the_short_cut():
    block = SequenceBlock(make("relative", size=5), 8, 16).double().eval()
    step = TokenStep(block, Sinks(2, 2, 5, 4, dtype=torch.float64), 2)
    with torch.no_grad(), pytest.raises(AttnError, match="counts distances in neighbouring tokens"):
        step(tokens(1))
