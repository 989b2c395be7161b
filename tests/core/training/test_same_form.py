"""A checkpoint with good checksums and wrong contents: one sentence that names file and place, before anything runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from training_fixtures import read, run, write

from attn.core.errors import TrainingError
from attn.core.training.same_form import ANY, require_form, require_state


def moments(tree: Any) -> Any:
    """What AdamW keeps of the first parameter: the weights, 2 x 3."""
    return tree["optimizer_states"][0]["state"]["$items"][0][1]


WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "shape": (
        lambda tree: moments(tree).update(exp_avg=tree["optimizer_states"][0]["state"]["$items"][1][1]["exp_avg"]),
        r"its optimizer_states\.0\.state\.0\.exp_avg is a tensor of shape \(2,\), not a tensor of shape \(2, 3\)",
    ),
    "type": (
        lambda tree: moments(tree).update(exp_avg_sq="large"),
        r"its optimizer_states\.0\.state\.0\.exp_avg_sq is 'large', not a tensor of shape \(2, 3\)",
    ),
    "missing": (
        lambda tree: [entry[1].pop("exp_avg") for entry in tree["optimizer_states"][0]["state"]["$items"]],
        r"this checkpoint cannot be resumed \(KeyError: 'exp_avg'\)",
    ),
    "group": (
        lambda tree: tree["optimizer_states"][0]["param_groups"][0].pop("betas"),
        r"its optimizer_states\.0\.param_groups\.0\.betas is absent",
    ),
    "method": (
        lambda tree: tree["lr_schedulers"][0].update(step=3),
        r"its lr_schedulers\.0\.step does not belong there",
    ),
    "schedule": (
        lambda tree: tree["lr_schedulers"][1].update(factor="half"),
        r"its lr_schedulers\.1\.factor is 'half', not a number",
    ),
    "steps": (
        lambda tree: tree["loops"]["fit_loop"]["epoch_progress"]["current"].update(processed=1),
        "the epochs and steps of this checkpoint are not those of its history",
    ),
    "average": (
        lambda tree: tree["callbacks"]["EMA"]["average"].pop("net.bias"),
        r"its EMA\.average\.net\.bias is absent",
    ),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs. Not to be changed."""
    out = tmp_path_factory.mktemp("trained")
    run(out, 2)
    return out


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_value_is_named_with_its_file(wrong: str, trained: Path, tmp_path: Path) -> None:
    change, sentence = WRONG[wrong]
    for folder, names in (("", ["metrics.csv"]), ("checkpoints", ["best.safetensors", "last.safetensors"])):
        (tmp_path / folder).mkdir(exist_ok=True)
        for name in names:
            (tmp_path / folder / name).write_bytes((trained / folder / name).read_bytes())
    path = tmp_path / "checkpoints" / "last.safetensors"
    tensors, tree = read(path)
    change(tree)
    write(path, tensors, tree)
    with pytest.raises(TrainingError, match=rf"last\.safetensors: {sentence}; start anew with another --out"):
        run(tmp_path, 3, resume=True)


def test_the_best_weights_must_be_those_of_the_model(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "best.safetensors"
    path.parent.mkdir()
    (path.parent / "last.safetensors").write_bytes((trained / "checkpoints" / "last.safetensors").read_bytes())
    tensors, tree = read(trained / "checkpoints" / "best.safetensors")
    del tree["state_dict"]["net.bias"]
    write(path, tensors, tree)
    with pytest.raises(TrainingError, match=r"best\.safetensors: its state_dict\.net\.bias is absent"):
        run(tmp_path, 2, resume=True)


@pytest.mark.parametrize(
    ("stored", "fresh"),
    [
        ({"a": 1}, {"a": 2}),
        ([1.5, 2], (0.0, 1.0)),
        (float("inf"), 0.5),
        (None, None),
        ("min", "min"),
        (True, False),
        ({0: "anything"}, ANY),
    ],
)
def test_later_states_of_the_same_form_pass(stored: Any, fresh: Any) -> None:
    require_form(stored, fresh)


@pytest.mark.parametrize(
    ("stored", "fresh", "said"),
    [
        ({}, {"a": 2}, "its a is absent"),
        ({"a": 1, "b": 1}, {"a": 2}, "its b does not belong there"),
        ([1], [1, 2], r"is \[1\], not a list of 2"),
        (True, 1, "is True, not a whole number"),
        (2**63, 1, "not a whole number"),
        (1.0, 1, "not a whole number"),
        (float("nan"), 1.0, "is nan, not a number"),
        ("max", "min", "is 'max', not 'min'"),
        (0, None, "is 0, not None"),
        (1, True, "is 1, not a bool"),
        ("x" * 1000, 1.0, r"'x+\.\.\., not a number"),
    ],
)
def test_other_forms_are_named(stored: Any, fresh: Any, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        require_form(stored, fresh)


def test_what_an_optimizer_keeps() -> None:
    first, second = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(4))
    optimizer = torch.optim.AdamW([{"params": [first]}, {"params": [second]}])
    require_state({}, optimizer, "state")
    second.sum().backward()
    optimizer.step()
    state = optimizer.state_dict()["state"]
    require_state(state, optimizer, "state")
    for wrong, said in (
        (3, "state is 3, not a dict"),
        (state | {2: state[1]}, r"state\.2 does not belong there"),
        (state | {0: state[1]}, r"state\.0\.exp_avg is a tensor of shape \(4,\)"),
        ({1: 5}, r"state\.1 is 5, not a dict"),
    ):
        with pytest.raises(TrainingError, match=said):
            require_state(wrong, optimizer, "state")
