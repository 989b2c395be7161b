"""The discriminant: against scikit-learn where both say the same, and where classes are few, single or alike."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from attn.apps.reid import discriminant as module
from attn.apps.reid.discriminant import discriminant


def drawn(classes: int, each: int, features: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes that lie apart in three directions, and are spread threefold in the others."""
    generator = torch.Generator().manual_seed(0)
    class_n = torch.arange(classes).repeat_interleave(each)
    spread = torch.full((features,), 3.0)
    spread[:3] = 1
    centres = torch.zeros(classes, features)
    centres[:, :3] = 6 * torch.randn(classes, 3, generator=generator)
    return centres[class_n] + spread * torch.randn(len(class_n), features, generator=generator) + 50, class_n


def test_without_shrinkage_it_is_linear_discriminant_analysis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHRINKAGE", 0.0)
    x, classes = drawn(30, 8)
    weight, mean = discriminant(x, classes, 3)
    theirs = LinearDiscriminantAnalysis(solver="eigen").fit(x.numpy(), classes.numpy())
    ours = ((x - mean) @ weight.T).double().numpy()
    for direction, wanted in zip(ours.T, theirs.transform(x.numpy())[:, :3].T, strict=True):
        assert abs(np.corrcoef(direction, wanted)[0, 1]) > 0.9999
    np.testing.assert_allclose(np.square(ours).mean(), 1, rtol=1e-5)


def test_it_finds_what_tells_classes_apart() -> None:
    x, classes = drawn(20, 6)
    weight, _ = discriminant(x, classes, 3)
    share = weight[:, :3].square().sum() / weight.square().sum()
    assert share > 0.8


@pytest.mark.parametrize(("classes", "each"), [(2, 6), (12, 1)])
def test_few_classes_or_single_pictures_still_give_all_directions(classes: int, each: int) -> None:
    x, class_n = drawn(classes, each)
    weight, mean = discriminant(x, class_n, 8)
    assert weight.shape == (8, 12) and torch.isfinite(weight).all() and mean.shape == (12,)


def test_pictures_that_are_all_alike() -> None:
    with pytest.raises(ValueError, match="alike"):
        discriminant(torch.ones(4, 3), torch.tensor([0, 0, 1, 1]), 2)
