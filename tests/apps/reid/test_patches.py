"""Patches of Lite0: their mean is the generalised mean, a map of `early` is as good as its picture, no norm learns."""

import torch
from tolerances import assert_close

from attn.apps.reid.patches import EARLY, Lite0Patches
from attn.core import starts


def patches() -> Lite0Patches:
    torch.manual_seed(0)
    model = Lite0Patches(16)
    starts.begin(model, "lite0")
    return model.eval()


def test_the_mean_of_the_patches_is_the_generalised_mean() -> None:
    model, x = patches(), torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        mean = (model.body(x).double() ** 3).mean((2, 3)) ** (1 / 3)
        wanted = mean.float() @ model.project.weight[:, :, 0, 0].T + model.project.bias
        found = model(x)
    assert found.shape == (2, 16, 2, 3)
    torch.testing.assert_close(found.mean((2, 3)), wanted, rtol=1e-3, atol=1e-3)


def test_a_map_is_as_good_as_its_picture() -> None:
    model, x = patches(), torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        early = model.early(x)
        assert early.shape == (2, 112, 4, 4)
        assert_close(model(early), model(x))


def test_the_map_of_stride_16_is_that_of_the_early_stages() -> None:
    model, x = Lite0Patches(16, 16).eval(), torch.rand(2, 3, 64, 96)
    starts.begin(model, "lite0")
    with torch.inference_mode():
        assert_close(model(x), model.project(patches().early(x)))
        assert model(x).shape == (2, 16, 4, 6)


def test_what_does_not_learn() -> None:
    model = patches().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(torch.rand(2, 3, 64, 64)).square().sum().backward()
    torch.optim.SGD(model.parameters(), 1e-3).step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    early = ("body.stem", *(f"body.stages.{stage}." for stage in range(EARLY)))
    assert "project.weight" in changed and f"body.stages.{EARLY}.0.expand.conv.weight" in changed
    assert not any(name.startswith(early) or "running" in name for name in changed)
