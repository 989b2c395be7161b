"""Steps with a policy against a pass whose weights are restricted, and against steps without one."""

import pytest
import torch
from tolerances import assert_close
from torch import Tensor, nn

from attn.core import mixers
from attn.core.attention.watch import intervene
from attn.core.blocks.reuse import Noting, Reusing, attend_places, reusable, reusing
from attn.core.blocks.sequence import SequenceBlock
from attn.core.decoding.policy import Policy, restricting

LENGTH = 14


class Stack(nn.Module):
    def __init__(self, mixer: str, depth: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        made = [mixers.create(mixer, dims=1, causal=True, channels=8, heads=2, size=(12,)) for _ in range(depth)]
        self.blocks = nn.ModuleList(SequenceBlock(each, 8, 20) for each in made)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.4)
        self.eval()

    def forward(self, x_blc: Tensor) -> Tensor:
        for block in self.blocks:
            x_blc = block(x_blc)
        return x_blc


def policy(keys: int, *layers: int) -> Policy:
    return Policy(app="music", model="m", fingerprint="f", keys=keys, layers=layers)


def stepped(stack: Stack, x_blc: Tensor, how: Policy | None) -> Tensor:
    with torch.no_grad():
        states = [block.start(len(x_blc), LENGTH) for block in stack.blocks]
        if how is not None:
            states = reusing(list(stack.blocks), states, how, len(x_blc))
        steps = []
        for x_b1c in x_blc.split(1, 1):
            for block, state in zip(stack.blocks, states, strict=True):
                x_b1c = block(x_b1c, state)
            steps.append(x_b1c)
    return torch.cat(steps, 1)


@pytest.mark.parametrize("mixer", ["softmax", "relative:clip=true", "relative:max_distance=5"])
@pytest.mark.parametrize("layers", [(-1, 0, 0), (-1, -1, 1)])
@pytest.mark.parametrize("batch", [1, 2])
def test_steps_equal_a_pass_with_restricted_weights(mixer: str, layers: tuple[int, ...], batch: int) -> None:
    stack, x_blc = Stack(mixer), torch.randn(batch, LENGTH, 8, generator=torch.Generator().manual_seed(1))
    how = policy(4, *layers)
    with torch.no_grad(), intervene(stack, restricting([f"blocks.{n}.mixer" for n in range(3)], how)):
        expected = stack(x_blc)
    found = stepped(stack, x_blc, how)
    assert_close(found, expected)
    assert (found - stepped(stack, x_blc, None)).abs().max() > 0.01


def test_with_as_many_keys_as_tokens_steps_are_the_same_bits() -> None:
    stack, x_blc = Stack("relative"), torch.randn(1, LENGTH, 8, generator=torch.Generator().manual_seed(1))
    plain = stepped(stack, x_blc, None)
    assert torch.equal(stepped(stack, x_blc, policy(LENGTH, -1, 0, 0)), plain)
    assert torch.equal(stepped(stack, x_blc, policy(1, -1, -1, -1)), plain)


def test_all_places_are_attention_to_all() -> None:
    stack = Stack("relative", 1)
    block = stack.blocks[0]
    q_bhd, k_bhnd, v_bhnd = torch.randn(2, 2, 4), torch.randn(2, 2, 9, 4), torch.randn(2, 2, 9, 4)
    noting = Noting(block, block.start(2, 9).cache, 2, keys=9)
    places_bk = torch.stack([torch.randperm(9), torch.randperm(9)])
    found = attend_places(q_bhd, k_bhnd, v_bhnd, places_bk, block.mixer.relative)
    assert_close(found, noting.attend(q_bhd, k_bhnd, v_bhnd))


def test_layers_that_cannot_reuse_decode_as_they_do() -> None:
    local, places = Stack("relative_local:block=3", 2), Stack("relative_places", 2)
    assert not reusable(local.blocks[0]) and not reusable(places.blocks[0])
    for stack in (local, places):
        states = [block.start(1, LENGTH) for block in stack.blocks]
        changed = reusing(list(stack.blocks), states, policy(2, -1, 0), 1)
        assert not any(isinstance(state.token_step, Noting | Reusing) for state in changed)
