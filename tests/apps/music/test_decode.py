"""Drawing a token against brute force, and decoding step by step against the whole network."""

import math

import numpy as np
import pytest
import torch
from music_fixtures import tiny_model
from scipy.stats import chisquare

from attn.apps.music import decode
from attn.apps.music.decode import Sampling, draw, generate
from attn.apps.music.model import MusicTransformer, configure
from attn.apps.music.styles import EDGE, Chorale, Piano
from attn.core.attention.watch import intervene
from attn.core.decoding.guidance import Guidance
from attn.core.errors import UsageError


def probabilities(logits: np.ndarray, allowed: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Temperature, top-k and top-p as their definitions read, for one row."""
    weights = {i: math.exp(logits[i] / sampling.temperature) for i in np.flatnonzero(allowed)}
    ranked = sorted(weights, key=lambda i: -weights[i])[: sampling.top_k]
    total = sum(weights[i] for i in ranked)
    kept, mass = [], 0.0
    for i in ranked:
        if mass < sampling.top_p:
            kept.append(i)
        mass += weights[i] / total
    p = np.zeros(len(logits))
    p[kept] = [weights[i] for i in kept]
    return p / p.sum()


def drawn(logits: np.ndarray, allowed: np.ndarray, sampling: Sampling, count: int = 20_000) -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    rows = torch.from_numpy(logits).expand(count, -1)
    return draw(rows, torch.from_numpy(allowed).expand(count, -1), sampling, [generator] * count).numpy()


@pytest.mark.parametrize("temperature", [5e-324, 1e-40, 1e-38, 1e-20, 1e-7, 1e-6, 1e-5])
def test_the_coldest_temperatures_take_the_likeliest_that_is_allowed(temperature: float):
    logits, allowed = np.array([900.0, -3.0, 12.0, 11.0]), np.array([False, True, True, True])
    assert set(drawn(logits, allowed, Sampling(temperature=temperature), 10)) == {2}


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.5),
        Sampling(temperature=2.0),
        Sampling(top_k=1),
        Sampling(top_k=4),
        Sampling(top_k=50),
        Sampling(top_p=0.5),
        Sampling(top_p=0.9),
        Sampling(top_p=0.01),
        Sampling(temperature=1.5, top_k=6, top_p=0.8),
    ],
    ids=str,
)
def test_frequencies_are_those_of_the_definition(sampling):
    rng = np.random.default_rng(0)
    logits, allowed = rng.normal(0, 1.5, 12).astype(np.float32), rng.random(12) < 0.7
    logits[~allowed] += 5  # what is forbidden would be likeliest
    expected = probabilities(logits, allowed, sampling)
    counts = np.bincount(drawn(logits, allowed, sampling), minlength=12)
    assert (counts[expected == 0] == 0).all()
    possible = expected > 0
    if possible.sum() > 1:
        assert chisquare(counts[possible], expected[possible] * counts.sum()).pvalue > 1e-3


def test_temperature_zero_takes_the_likeliest_that_is_allowed():
    logits, allowed = np.array([5.0, 1.0, 3.0, 2.0], np.float32), np.array([False, True, True, True])
    assert set(drawn(logits, allowed, Sampling(temperature=0, top_k=1, top_p=0.1), 10)) == {2}


def test_what_is_forbidden_is_never_drawn_however_extreme_the_logits():
    logits = np.array([1e30, -1e30, -1e4, 0.0], np.float32)
    for allowed in ([False, True, True, False], [False, True, False, False], [False, False, False, True]):
        mask = np.array(allowed)
        for sampling in (
            Sampling(),
            Sampling(temperature=0.01),
            Sampling(top_k=1),
            Sampling(top_p=0.1),
            Sampling(temperature=0),
        ):
            assert mask[drawn(logits, mask, sampling, 50)].all()


@pytest.mark.parametrize(
    "values",
    [
        *({"temperature": value} for value in (-1.0, math.nan, math.inf)),
        *({"top_p": value} for value in (0.0, 1.1, math.nan)),
        {"top_k": 0},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(values):
    with pytest.raises(UsageError, match=next(iter(values)).replace("_", "-")):
        Sampling(**values)


class Free:
    """A grammar that allows everything, for so many steps."""

    def __init__(self, vocabulary: int, batch: int, steps: int) -> None:
        self.left, self.mask = steps, np.ones((batch, vocabulary), bool)

    @property
    def finished(self) -> bool:
        return self.left == 0

    def allowed(self) -> np.ndarray:
        return self.mask

    def accept(self, ids_b: np.ndarray) -> None:
        self.left -= 1


def decoded(model, prompt, steps, length, source=None):
    grammar = Free(model.config.vocabulary, len(prompt), steps)
    return np.stack(
        list(generate(model, prompt, grammar, Sampling(), seeds=range(len(prompt)), length=length, source_bs=source)), 1
    )


def rerun(model, prompt, steps, length=10**9, source=None):
    """The same with the whole network run anew for every token, and the rule for what is let go written out."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(prompt))]
    cycle, voices = math.lcm(1, *model.config.cycles), model.config.voices
    allowed = torch.ones(len(prompt), model.config.vocabulary, dtype=torch.bool)
    ids, kept = prompt, 0
    with torch.inference_mode():
        for _ in range(steps):
            if ids.shape[1] - kept > length:
                kept += (ids.shape[1] - kept - length // 2) // cycle * cycle
            heard = None if source is None else source[:, kept // voices : (kept + length) // voices]
            logits = model(ids[:, kept:], heard)[:, -1]
            ids = torch.cat([ids, draw(logits, allowed, Sampling(), generators)[:, None]], 1)
    return ids[:, prompt.shape[1] :].numpy(), kept


MECHANISMS = {
    "relative": {},
    "softmax": {"mixer": "softmax"},
    "local": {"mixer": "relative_local:block=16", "sinusoids": False},
    "places": {"mixer": "relative_places+relative"},
}


@pytest.mark.parametrize("changes", MECHANISMS.values(), ids=MECHANISMS)
@pytest.mark.parametrize("style", [Piano(), Chorale()], ids=["piano", "chorale"])
def test_decoding_equals_running_the_whole_network_again(style, changes):
    model = tiny_model(style, **changes)
    prompt = torch.randint(2, style.size, (2, 21), generator=torch.Generator().manual_seed(3))
    found = decoded(model, prompt, 40, 128)
    np.testing.assert_array_equal(found, rerun(model, prompt, 40)[0])
    assert len(set(found[0].tolist())) > 5


@pytest.mark.parametrize(("style", "length"), [(Piano(), 16), (Chorale(), 140)])
def test_when_memory_is_full_the_newest_half_is_read_again_in_whole_cycles(style, length):
    model = tiny_model(style, depth=1)
    prompt = torch.full((1, 1), EDGE)
    expected, kept = rerun(model, prompt, 2 * length, length)
    assert kept > 0 and kept % math.lcm(1, *style.cycles) == 0
    np.testing.assert_array_equal(decoded(model, prompt, 2 * length, length), expected)


@pytest.mark.parametrize("length", [2, 64, 65, 127])
def test_a_memory_shorter_than_two_bars_still_decodes(length):
    model = tiny_model(Chorale(), depth=1, length=length)
    assert decoded(model, torch.full((2, 1), EDGE), 150, length).shape == (2, 150)


def test_a_prompt_longer_than_memory_is_read_from_its_newest_half():
    model = tiny_model(Piano(), depth=1)
    prompt = torch.randint(2, 310, (1, 100), generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(decoded(model, prompt, 5, 32), rerun(model, prompt, 5, 32)[0])


def test_a_windowed_mechanism_goes_on_in_the_same_memory():
    model = tiny_model(Piano(), depth=1, **MECHANISMS["local"])
    prompt = torch.randint(2, 310, (1, 100), generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(decoded(model, prompt, 80, 16), rerun(model, prompt, 80)[0])


def test_a_melody_stays_beside_its_voices_when_memory_is_let_go():
    style, length = Chorale(), 128
    model = tiny_model(style, depth=1, source_vocabulary=style.size)
    source = torch.randint(3, style.size, (1, 48), generator=torch.Generator().manual_seed(0))
    prompt = torch.full((1, 1), EDGE)
    expected, kept = rerun(model, prompt, 4 * 48, length, source)
    assert kept == 64
    np.testing.assert_array_equal(decoded(model, prompt, 4 * 48, length, source), expected)


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("small", "inside"), [(decode.SMALL, 1), (0, 3)])
def test_small_steps_take_one_thread_and_give_the_number_back_before_the_caller_goes_on(
    three_threads, monkeypatch, small, inside
):
    monkeypatch.setattr(decode, "SMALL", small)
    model, seen = tiny_model(Piano(), depth=1), []
    model.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    steps = generate(model, torch.full((2, 1), EDGE), Free(310, 2, 4), Sampling(), seeds=range(2), length=16)
    between = [torch.get_num_threads() for _ in steps]
    assert between == [3] * 4 and set(seen) == {inside}


def test_an_error_within_a_step_gives_the_threads_back(three_threads):
    model = tiny_model(Piano(), depth=1)
    model.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(generate(model, torch.full((1, 1), EDGE), Free(310, 1, 4), Sampling(), seeds=[0], length=16))
    assert torch.get_num_threads() == 3


def test_a_loop_that_breaks_off_leaves_no_inference_mode():
    model = tiny_model(Piano(), depth=1)
    steps = generate(model, torch.full((1, 1), EDGE), Free(310, 1, 4), Sampling(), seeds=[0], length=16)
    next(steps)
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("mixer", ["relative", "relative_local:block=4"])
def test_a_softened_step_is_the_softened_pass(mixer):
    """With the cache of the plain pass, the keys of its second layer would be those of heads that are not softened."""
    model = tiny_model(Piano(), mixer=mixer, length=32)
    ids_1l = torch.randint(310, (1, 12), generator=torch.Generator().manual_seed(0))
    changes = Guidance({"blocks.0.mixer": (1,), "blocks.1.mixer": (0,)}, 2.0, 0.7).softening()
    weaker = decode._Memory(model, ids_1l[:, :3], 32, None, changes)
    with torch.inference_mode():
        steps = [weaker.first_logits(), *(weaker.next_logits(ids_1l[:, place]) for place in range(3, 12))]
        plain_lv = model(ids_1l)[0, 2:]
        with intervene(model, changes):
            softened_lv = model(ids_1l)[0, 2:]
    torch.testing.assert_close(torch.cat(steps), softened_lv, atol=1e-4, rtol=1e-4)
    assert (softened_lv - plain_lv).abs().amax(1).min() > 0.01


def test_inactive_guidance_draws_the_same_ids():
    model = tiny_model(Piano())

    def ids(guide):
        steps = generate(
            model, torch.full((2, 1), EDGE), Free(310, 2, 8), Sampling(), seeds=range(2), length=16, guide=guide
        )
        return np.stack(list(steps)).tolist()

    plain = ids(None)
    for strength, softness in ((0.0, 1.0), (1.0, 0.0)):
        assert ids(Guidance({"blocks.0.mixer": (0, 1)}, strength, softness)) == plain
    assert ids(Guidance({"blocks.0.mixer": (0, 1)}, 3.0, 1.0)) != plain


@pytest.mark.parametrize("samples", [1, 3])
def test_a_step_is_the_same_to_the_bit_on_one_thread_and_on_two(samples):
    """So that a piece does not depend on how busy the machine was."""
    torch.manual_seed(0)
    model = MusicTransformer(configure(vocabulary=310, width=256, depth=2, heads=4, hidden=1024)).eval()
    ids_bl = torch.randint(2, 310, (samples, 300))
    before, seen = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        state = model.start(samples, 400)
        with torch.inference_mode():
            seen.append(torch.cat([model(ids_bl[:, k : k + 1], past=state).clone() for k in range(300)], 1))
    torch.set_num_threads(before)
    assert torch.equal(*seen)
