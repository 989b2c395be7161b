"""AdamW's groups: every parameter once, decay on weights of layers alone, a slower rate for what is named."""

from torch import nn

from attn.core.training.adamw import adamw


def test_groups() -> None:
    model = nn.ModuleDict({"conv": nn.Conv2d(1, 2, 1), "norm": nn.BatchNorm2d(2), "linear": nn.Linear(2, 2)})
    optimizer = adamw(model, 0.1, 0.05, {"conv.weight", "conv.bias"}, 0.3)
    names = {id(p): name for name, p in model.named_parameters()}
    found = {
        (round(group["lr"], 6), group["weight_decay"]): sorted(names[id(p)] for p in group["params"])
        for group in optimizer.param_groups
    }
    assert found == {
        (0.1, 0.05): ["linear.weight"],
        (0.1, 0.0): ["linear.bias", "norm.bias", "norm.weight"],
        (0.03, 0.05): ["conv.weight"],
        (0.03, 0.0): ["conv.bias"],
    }


def test_without_slow_parameters_there_is_no_empty_group() -> None:
    assert all(group["params"] and group["lr"] == 0.1 for group in adamw(nn.Linear(2, 2), 0.1, 0.0).param_groups)
