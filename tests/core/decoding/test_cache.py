"""Caches: what comes back is the past, in order, and nothing of it is copied."""

import pytest
import torch

from attn.core.decoding.cache import KVCache, Reach, RingCache
from attn.core.errors import AttnError


def draw(length):
    return torch.randn(2, 3, length, 4), torch.randn(2, 3, length, 4)


@pytest.mark.parametrize("lengths", [[1, 1, 1, 5, 1, 3], [12]])
def test_everything_so_far_comes_back_in_place(lengths):
    k, v = draw(12)
    cache = KVCache(2, 3, 12, 4)
    places = set()
    for new_k, new_v in zip(k.split(lengths, 2), v.split(lengths, 2), strict=True):
        kept_k, kept_v, positions = cache.append(new_k, new_v)
        assert positions is None, "all from 0 on"
        assert torch.equal(kept_k, k[:, :, : cache.length])
        assert torch.equal(kept_v, v[:, :, : cache.length])
        places.add((kept_k.data_ptr(), kept_v.data_ptr()))
    assert len(places) == 1, "views of one memory"


@pytest.mark.parametrize("cache", [KVCache(2, 3, 1024, 4), RingCache(2, 3, 512, 4)])
def test_a_heads_tokens_are_rows_of_one_stretch_of_memory(cache):
    for kept in cache.append(*draw(9))[:2]:
        assert kept.stride()[2:] == (4, 1)


def test_a_full_cache_says_so_and_keeps_what_it_has():
    cache = KVCache(2, 3, 5, 4)
    cache.append(*draw(4))
    with pytest.raises(AttnError, match="room for 5 tokens, not for 6; start a longer one"):
        cache.append(*draw(2))
    assert cache.length == 4
    cache.append(*draw(1))


@pytest.mark.parametrize("window", [1, 2, 5, 8])
def test_a_ring_gives_the_last_tokens_in_order_for_ever(window):
    torch.manual_seed(window)
    k, v = draw(200)
    ring = RingCache(2, 3, window, 4)
    memory = ring.append(*draw(1))[0].untyped_storage().data_ptr()
    ring = RingCache(2, 3, window, 4)
    start = 0
    while start < 200:
        end = min(start + int(torch.randint(1, window + 1, ())), 200)
        kept_k, kept_v, positions = ring.append(k[:, :, start:end], v[:, :, start:end])
        assert ring.length == end
        assert list(positions) == list(range(max(end - window, 0), end))
        assert len(positions) == ring.reach(end - 1)
        assert torch.equal(kept_k, k[:, :, max(end - window, 0) : end])
        assert torch.equal(kept_v, v[:, :, max(end - window, 0) : end])
        assert kept_k.untyped_storage().nbytes() == (2 * window) * 2 * 3 * 4 * 4, "two windows"
        memory = memory if start == 0 else kept_k.untyped_storage().data_ptr()
        start = end
    assert kept_k.untyped_storage().data_ptr() == memory


def test_a_ring_refuses_more_than_its_window():
    with pytest.raises(AttnError, match="7 tokens at once do not fit into a window of 5"):
        RingCache(2, 3, 5, 4).append(*draw(7))


def test_how_far_tokens_look_back():
    assert [Reach()(position) for position in range(4)] == [1, 2, 3, 4]
    assert [Reach(block=3)(position) for position in range(8)] == [1, 2, 3, 4, 5, 6, 4, 5]
    cache, ring = KVCache(1, 1, 8, 4), RingCache(1, 1, 3, 4)
    assert (cache.capacity, cache.endless, ring.capacity, ring.endless) == (8, False, 3, True)
    assert [cache.reach(5), ring.reach(0), ring.reach(5)] == [6, 1, 3]


def test_the_geometry_of_the_newest_queries():
    ring = RingCache(2, 3, 4, 4)
    for length in (3, 3):
        past = ring.append(*draw(length))
    assert past.geometry(2).query_positions.tolist() == [4, 5]
    assert past.geometry(2).key_positions.tolist() == [2, 3, 4, 5]
    assert KVCache(2, 3, 4, 4).append(*draw(2)).geometry(2) is None
