"""Every mechanism in every app: refused in a sentence, or built so that nothing is seen or hidden that must not be."""

import pytest
import torch

from attn.apps.ctr.model import AutoInt, AutoIntConfig
from attn.apps.galaxy.model import Astroformer, AstroformerConfig
from attn.apps.music.model import MusicTransformer, configure
from attn.core import mixers
from attn.core.errors import UsageError

NAMES = sorted({info.name for info in mixers.available()})


def drawn(model):
    """The model with parameters far from zero, for evaluation."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


@pytest.mark.parametrize("name", NAMES)
def test_music_never_sees_the_future(name):
    settings = {"vocabulary": 20, "width": 16, "depth": 2, "heads": 2, "hidden": 32, "length": 12}
    fits = [info for info in mixers.available() if info.name == name and 1 in info.dims and info.has(causal=True)]
    if not fits:
        with pytest.raises(UsageError, match=r"mixers that fit: .*relative, .*relative_local.*softmax"):
            MusicTransformer(configure(mixer=name, **settings))
        return
    model = drawn(MusicTransformer(configure(mixer=name, **settings)))
    if fits[0].steps == "close":  # membership may, gradients do not; see the mechanism's own tests
        return
    ids = torch.randint(20, (2, 12), generator=torch.Generator().manual_seed(0))
    before = model(ids)
    for place in range(1, 12):
        changed = ids.clone()
        changed[:, place] = (changed[:, place] + 1) % 20
        after = model(changed)
        torch.testing.assert_close(after[:, :place], before[:, :place])
        assert not torch.allclose(after[:, place:], before[:, place:])


VARIANTS = ("mlp", "approximate", "non_approximate", "random", "fixed", "static")


@pytest.mark.parametrize("variant", VARIANTS)
def test_music_in_hybrid_stacks_steps_as_it_passes_and_sees_no_future(variant):
    mixer = f"relative_places+deconstructed:variant={variant}+softmax+deconstructed:variant={variant}"
    settings = {"vocabulary": 20, "width": 16, "depth": 4, "heads": 2, "hidden": 32, "length": 8}
    model = drawn(MusicTransformer(configure(mixer=mixer, **settings)))
    ids = torch.randint(20, (2, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole, state = model(ids), model.start(2, 12)
        steps = [model(part, past=state) for part in ids.split([5, 1, 1, 3, 1, 1], 1)]
        torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model(ids[:1]), whole[:1], rtol=1e-4, atol=1e-4)  # whatever the batch
        changed = ids.clone()
        changed[:, 6] = (changed[:, 6] + 1) % 20
        torch.testing.assert_close(model(changed)[:, :6], whole[:, :6])


def test_a_model_that_accompanies_has_no_fixed_sequence():
    settings = {"vocabulary": 20, "width": 16, "depth": 1, "heads": 2, "hidden": 32, "source_vocabulary": 9}
    MusicTransformer(configure(mixer="deconstructed:variant=static", **settings))
    with pytest.raises(UsageError, match="reads a fixed sequence"):
        MusicTransformer(configure(mixer="deconstructed:variant=random", **settings))


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_a_click_sees_every_field(name):
    fields = [{"name": str(i), "kind": "category", "first": 1 + 4 * i, "rows": 4, "column": i} for i in range(4)]
    config = AutoIntConfig.model_validate(
        {"fields": fields, "rows": 17, "embedding": 8, "widths": (8,), "mixer": name, "residual": False}
    )
    fits = [info for info in mixers.available() if info.name == name and 1 in info.dims and info.has(causal=False)]
    if not fits:
        with pytest.raises(UsageError, match=r"mixers that fit: .*interacting.*softmax"):
            AutoInt(config)
        return
    layer = drawn(AutoInt(config)).layers[0]
    if fits[0].steps == "close":  # a field sees the fields of its clusters
        return
    x = torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(0))
    jacobian = torch.autograd.functional.jacobian(layer.mixer, x)[0, :, :, 0]  # (F, W, F, C)
    assert (jacobian.abs().sum((1, 3)) > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_patch_of_a_galaxy_is_seen(name):
    config = AstroformerConfig(
        stem=8, widths=(8, 8, 8, 32), depths=(1, 1, 1, 1), head=8, strides=(2, 2, 2, 1), image_size=64, mixer=name
    )
    if not any(info.name == name and 2 in info.dims for info in mixers.available()):
        with pytest.raises(UsageError, match=r"mixers that fit: .*halo.*neighborhood.*relative.*softmax"):
            Astroformer(config)
        return
    model = Astroformer(config).eval()
    x = torch.randn(1, 3, 64, 64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x).square().sum(), x)
    assert (gradient.abs().sum(1).view(8, 8, 8, 8).sum((1, 3)) > 0).all()


def test_options_reach_the_mixers_of_every_app():
    music = MusicTransformer(
        configure(
            vocabulary=20, width=16, depth=2, heads=2, hidden=32, mixer="relative_local:block=4+relative:clip=true"
        )
    )
    assert music.layers[0].mixer.config.block == 4
    assert music.layers[1].mixer.config.clip
    field = {"name": "a", "kind": "category", "first": 1, "rows": 4, "column": 0}
    ctr = AutoInt(
        AutoIntConfig.model_validate(
            {"fields": [field], "rows": 5, "widths": (8, 8), "mixer": "interacting:scaled=true+softmax"}
        )
    )
    assert ctr.layers[0].mixer.config.scaled
    assert type(ctr.layers[1].mixer).__name__ == "SoftmaxMixer"
    with pytest.raises(UsageError, match="'softmax' has no option scaled"):
        AutoInt(AutoIntConfig.model_validate({"fields": [field], "rows": 5, "mixer": "softmax:scaled=true"}))
