"""Starts: the shared one, a network of timm in a file, a model folder."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from attn.apps.reid.discriminant import discriminant
from attn.apps.reid.model import DCAL
from attn.apps.reid.start import architecture, begin, begin_at_features
from attn.apps.reid.variants import DCALConfig, variant
from attn.core import starts
from attn.core.errors import ModelError, UsageError
from attn.core.models import folder
from attn.core.models.folder import ModelRecord

HYBRID = variant("hybrid", image_size=(32, 32), depth=1)


def test_nothing_and_the_shared_start() -> None:
    torch.manual_seed(0)
    plain = DCAL(variant("smallest"))
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    assert begin(plain, None) == []
    assert all(torch.equal(value, before[name]) for name, value in plain.state_dict().items())
    model = DCAL(HYBRID)
    names = begin(model, "lite0")
    assert begin(DCAL(HYBRID), None) == names  # a hybrid has no other
    body = dict(model.vit.patches.body.named_parameters())
    assert {*names} == {f"vit.patches.body.{name}" for name in body}
    assert torch.equal(body["stem.conv.weight"], starts.load("lite0")["stem.conv.weight"])
    with pytest.raises(UsageError, match="cannot begin from 'lite0'"):
        begin(DCAL(variant("smallest")), "lite0")


@pytest.mark.parametrize("family", [
    variant("lite0", image_size=(64, 32), classes=6), HYBRID, variant("hybrid", image_size=(64, 32), task="classify"),
    variant("hybrid16", image_size=(64, 32), depth=1),
])  # fmt: skip
def test_a_hybrid_begins_at_the_discriminant_of_its_features(family: DCALConfig) -> None:
    """Cosines are those of the projected generalised means, whatever stands between; each class has its own mean."""
    torch.manual_seed(0)
    model = DCAL(family.model_copy(update={"classes": 6}))
    begin(model, None)
    x, class_n = torch.rand(24, 3, *family.image_size), torch.arange(24) % 6
    maps = [(model.early(part), classes) for part, classes in zip(x.split(10), class_n.split(10), strict=True)]
    begin_at_features(model, lambda: maps)
    model.eval()
    with torch.inference_mode():
        features = model.vit.patches.late(model.early(x)).mean((2, 3))
        weight, mean = discriminant(features, class_n, family.width)
        wanted = F.normalize((features - mean) @ weight.T, dim=1)
        torch.testing.assert_close(model(x) @ model(x).T, wanted @ wanted.T, rtol=1e-3, atol=2e-3)
        found = model.branches(x).sa
        assert (found.logits_bk.argmax(1) == class_n).float().mean() > 0.5
        if family.task == "classify":
            mean_kc = torch.stack([found.features_bc[class_n == k].mean(0) for k in range(6)])
            nearest = torch.cdist(found.features_bc, mean_kc)
            assert torch.equal(found.logits_bk.argmax(1), nearest.argmin(1))
            spread = (found.features_bc - mean_kc[class_n]).square().mean()
            gap_bk = (nearest[:, :1] ** 2 - nearest**2) / (2 * spread)
            torch.testing.assert_close(found.logits_bk - found.logits_bk[:, :1], gap_bk, rtol=1e-3, atol=1e-2)


def test_a_network_of_timm(tmp_path: Path) -> None:
    theirs = timm.create_model("deit_tiny_patch16_224", depth=2)
    save_file(theirs.state_dict(), tmp_path / "deit.safetensors")
    model = DCAL(variant("deit_tiny", depth=2, image_size=(64, 32)))
    names = begin(model, tmp_path / "deit.safetensors")
    assert torch.equal(model.vit.blocks[1].mixer.qkv.weight, theirs.blocks[1].attn.qkv.weight)
    assert torch.equal(model.local.mixer.qkv.weight, theirs.blocks[1].attn.qkv.weight)
    assert model.vit.positions.shape == (1, 9, 192)
    assert {*names} < {name for name, _ in model.named_parameters()} and not any("head" in name for name in names)
    with pytest.raises(ModelError):
        begin(model, tmp_path / "absent.safetensors")


def test_a_model_with_other_classes(tmp_path: Path) -> None:
    source = DCAL(variant("smallest", classes=5))
    record = ModelRecord(app="reid", name="m", architecture=source.config.model_dump(mode="json"), labels=[])
    folder.save(tmp_path / "m", source.state_dict(), record)
    model = DCAL(variant("smallest", classes=7))
    assert begin(model, tmp_path / "m") == []
    assert torch.equal(model.vit.positions, source.vit.positions)
    assert model.head.classifier.weight.shape == (7, 16)


def test_another_mechanism_leaves_out_what_it_cannot_have():
    config = architecture(None, None, mixer="halo", task="identify")
    assert (config.mixer, config.body, config.pool, config.local, config.pairs) == (
        "halo",
        "lite0",
        "mean",
        None,
        False,
    )
    assert architecture(None, None, mixer="softmax").local is not None
    for wrong in ({"local": 0.3}, {"pairs": True}, {"pool": "class"}, {"depth": 0}):
        with pytest.raises(UsageError, match="'halo' needs blocks, the mean of the patches, and no local and no pair"):
            architecture("hybrid", None, mixer="halo", **wrong)
